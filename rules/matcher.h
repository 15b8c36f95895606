#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "rules/glob.h"
#include "rules/rule.h"

namespace satchel::rules {

// A request as rules see it: split once, matched against many rules. Views of the request and of
// the normalised path; valid as long as both.
struct RequestView {
  const cache::RequestHead* request = nullptr;
  std::string_view path;       // normalised
  std::string_view host;       // without port
  std::string_view host_port;  // as in the authority

  RequestView(const cache::RequestHead& head, std::string_view normal_path);
};

// The first 16 bytes of a path, padded with zeros.
struct PathHead {
  uint64_t words[2] = {0, 0};
  explicit PathHead(std::string_view path);
};

// What rejects most rules without looking at them: 40 bytes instead of several cache lines. False
// means that the rule surely does not match.
struct QuickFilter {
  uint32_t methods = ~uint32_t{0};  // bit per cache::Method
  uint64_t mask[2] = {0, 0};        // of the bytes every matching path begins with
  uint64_t head[2] = {0, 0};

  bool MayMatch(uint32_t method_bit, const PathHead& path) const {
    return (methods & method_bit) != 0 &&
           (((path.words[0] & mask[0]) ^ head[0]) | ((path.words[1] & mask[1]) ^ head[1])) == 0;
  }
};

constexpr uint32_t MethodBit(cache::Method method) {
  return uint32_t{1} << static_cast<unsigned>(method);
}

// One `match:` block, compiled. Immutable; any thread.
class Matcher {
 public:
  static std::expected<Matcher, std::string> Compile(const MatchSpec& spec);

  // `spans` may be null; else the captures of the path that matched are filled in, and *path
  // points to its pattern.
  bool Matches(const RequestView& view, Glob::Spans* spans, const Glob** path) const;
  // The first part that does not hold, as text for people; empty if all hold.
  std::string WhyNot(const RequestView& view) const;
  // Whether every request that `other` matches is surely matched by this one. False if unsure.
  bool Covers(const Matcher& other) const;
  QuickFilter MakeFilter() const;

 private:
  struct HostPattern {
    Glob glob;
    bool with_port;
  };
  struct Condition {
    std::string name;
    cache::FieldId id = cache::FieldId::kOther;
    std::vector<Glob> values;  // empty: present
    bool Accepts(std::string_view value) const;
  };

  bool MethodMatches(const cache::RequestHead& request) const;
  bool HostMatches(const RequestView& view) const;
  const Glob* FindPath(const RequestView& view, Glob::Spans* spans) const;
  static bool HeaderMatches(const Condition& condition, const cache::RequestHead& request);
  static bool QueryMatches(const Condition& condition, const cache::RequestHead& request);
  static bool CookieMatches(const Condition& condition, const cache::RequestHead& request);
  static std::expected<std::vector<Condition>, std::string> CompileConditions(
      const std::vector<FieldCondition>& from, const char* kind);

  uint32_t methods_ = 0;  // bit per cache::Method; 0 and no others: any
  std::vector<std::string> other_methods_;
  std::vector<std::string> method_texts_;
  std::vector<HostPattern> hosts_;
  std::vector<Glob> paths_;
  std::vector<Condition> headers_;
  std::vector<Condition> queries_;
  std::vector<Condition> cookies_;
};

}  // namespace satchel::rules
