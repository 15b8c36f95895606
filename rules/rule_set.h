#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "cache/http/message.h"
#include "rules/rate_limit.h"
#include "rules/rule.h"

namespace satchel::rules {

// What {name} stood for in the path that matched. Reused from request to request.
struct Captures {
  static constexpr size_t kMax = 8;
  size_t size = 0;
  std::array<std::string_view, kMax> names;  // the rule set's
  std::array<std::string, kMax> values;      // of the normalised path
  void Clear() { size = 0; }
  // Null if there is no such name.
  const std::string* Find(std::string_view name) const;
};

struct MatchResult {
  enum class Status : uint8_t {
    kMatched,
    kNoRule,   // answer 404
    kBadPath,  // an invalid percent escape: answer 400
  };
  Status status = Status::kNoRule;
  const Rule* rule = nullptr;  // owned by the rule set
};

// Why a rule did not match, for `explain`.
struct Mismatch {
  const Rule* rule;
  std::string why;  // for example: path "/x" does not match "/api/**"
};

// The rules and rate limit policies of one configuration, compiled. The first rule that matches
// wins; of the policies all that match apply. Immutable: any thread, no locks. A match of a
// request whose path needs no normalisation allocates nothing.
class RuleSet {
 public:
  RuleSet();
  RuleSet(RuleSet&&) noexcept;
  RuleSet& operator=(RuleSet&&) noexcept;
  ~RuleSet();

  // Fails on a pattern that does not compile; the parser has already refused those.
  static cache::Result<RuleSet> Build(std::vector<Rule> rules,
                                      std::vector<RateLimitPolicy> policies);

  MatchResult Match(const cache::RequestHead& request) const;
  // The same, and fills `captures`, which must not be null.
  MatchResult Match(const cache::RequestHead& request, Captures* captures) const;

  // Every rule before the one that matches (all if none does), with the first reason.
  std::vector<Mismatch> Explain(const cache::RequestHead& request) const;

  // Appends the policies that apply, the strictest first: the one whose slowest window lets the
  // fewest units a second through. Nothing for a bad path.
  void MatchLimits(const cache::RequestHead& request,
                   std::vector<const RateLimitPolicy*>* policies) const;
  // The path pattern by which one of the set's own rules matches the request; empty if the rule has
  // none or does not match.
  std::string_view RouteOf(const Rule& rule, const cache::RequestHead& request) const;
  // Units that `request` costs under one of the set's own policies.
  uint32_t CostOf(const RateLimitPolicy& policy, const cache::RequestHead& request) const;

  const std::vector<Rule>& rules() const;
  const std::vector<RateLimitPolicy>& policies() const;

 private:
  struct Compiled;
  std::unique_ptr<const Compiled> compiled_;
};

// The target to send to the origin: the rule's rewrite with its captures filled in (percent-
// encoded where a path needs it) and the request's query, or the request's own target.
std::string RewriteTarget(const Rule& rule, const Captures& captures,
                          const cache::RequestHead& request);

}  // namespace satchel::rules
