#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace re2 {
class RE2;
}

namespace satchel::rules {

// A compiled pattern: a glob, or behind "regex:" an RE2 that must match the whole text. Immutable;
// any thread. Matching takes time linear in the text for each wildcard and allocates nothing,
// except for a regex and for a glob with "**" before its end (which becomes one).
class Glob {
 public:
  enum class Kind : uint8_t {
    kPath,   // '*' stays within one segment, "**" does not, {name} and {name**} capture
    kHost,   // '*' stays within one label, "**" does not; compared in lower case
    kValue,  // '*' is any run of characters
  };
  static constexpr size_t kMaxCaptures = 8;
  static constexpr size_t kMaxLength = 1024;

  struct Span {
    uint32_t begin;
    uint32_t size;
  };
  using Spans = std::array<Span, kMaxCaptures>;

  // A mistake says what is wrong with the pattern and what to write instead. `\` makes the next
  // character literal.
  static std::expected<Glob, std::string> Compile(std::string_view pattern, Kind kind);

  Glob(Glob&&) noexcept;
  Glob& operator=(Glob&&) noexcept;
  ~Glob();

  bool Matches(std::string_view text) const { return Match(text, nullptr); }
  // Fills the first capture_names().size() spans if `spans` is not null and it matches.
  bool Match(std::string_view text, Spans* spans) const;

  const std::vector<std::string>& capture_names() const { return names_; }
  const std::string& pattern() const { return pattern_; }
  // What every match begins with; may be empty.
  const std::string& prefix() const { return prefix_; }
  // Whether every text that `other` matches is surely matched by this one. False if unsure.
  bool Covers(const Glob& other) const;

 private:
  enum class Op : uint8_t { kLiteral, kStar, kRest, kRestOfPath };
  struct Token {
    Op op = Op::kLiteral;
    bool one_or_more = false;
    int8_t capture = -1;
    std::string text;  // of a literal
  };

  Glob() = default;
  std::expected<void, std::string> Tokenize(Kind kind);
  std::expected<void, std::string> CompileRegex(const std::string& expression, bool captures);
  std::string ToRegex() const;
  bool MatchTokens(std::string_view text, Spans* spans) const;
  bool MatchRegex(std::string_view text, Spans* spans) const;

  std::string pattern_;
  std::string prefix_;  // every match begins with it
  std::string suffix_;  // of a host pattern "**.suffix": every match ends with it
  char separator_ = 0;  // 0: none
  bool suffix_only_ = false;
  bool literal_ = false;  // the prefix is everything
  std::vector<Token> tokens_;
  std::vector<std::string> names_;
  std::unique_ptr<const re2::RE2> regex_;
};

}  // namespace satchel::rules
