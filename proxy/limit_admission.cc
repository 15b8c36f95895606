#include "proxy/limit_admission.h"

#include <algorithm>
#include <charconv>

#include "proxy/net/sha256.h"

namespace satchel::proxy {

Admission PrepareLimits(const Snapshot& snapshot, const rules::Rule& rule,
                        const cache::RequestHead& head, std::string_view client_ip, bool at_origin,
                        const LimitSwitch& kill_switch, LimitRequest& request) {
  Admission admission;
  thread_local std::vector<const rules::RateLimitPolicy*> policies;  // kept for its memory
  policies.clear();
  snapshot.rules.MatchLimits(head, &policies);
  if (policies.empty()) return admission;
  const rules::IpAddress client = rules::ParseIp(client_ip).value_or(rules::IpAddress{});
  for (const rules::RateLimitPolicy* policy : policies) {
    if ((policy->count == rules::CountWhat::kOrigin) != at_origin) continue;
    if (!kill_switch.IsOn(policy->name)) continue;
    rules::RequestPlace place{.rule = rule.name, .route = {}};
    if (policy->per.route) place.route = snapshot.rules.RouteOf(rule, head);
    const rules::Identity identity = rules::FindIdentity(*policy, head, client, net::Sha256, place);
    if (identity.outcome == rules::Identity::Outcome::kSkip) continue;
    admission.policy = policy;
    if (identity.outcome != rules::Identity::Outcome::kKnown) {
      if (policy->mode == rules::LimitMode::kShadow) continue;
      admission.outcome = identity.outcome == rules::Identity::Outcome::kForbidden
                              ? Admission::Outcome::kForbidden
                              : Admission::Outcome::kUnauthorized;
      return admission;
    }
    admission.outcome = Admission::Outcome::kAsk;
    request.checks().push_back({.policy = policy,
                                .plan = identity.plan,
                                .id = identity.id,
                                .cost = snapshot.rules.CostOf(*policy, head)});
  }
  return admission;
}

LimitOutcome OutcomeOf(const LimitVerdict& verdict) {
  using Source = LimitVerdict::Source;
  if (verdict.source == Source::kOpen) return LimitOutcome::kOpen;
  if (verdict.source == Source::kClosed) {
    return verdict.Refuses() ? LimitOutcome::kClosed : LimitOutcome::kShadow;
  }
  if (!verdict.allowed) {
    return verdict.Refuses() ? LimitOutcome::kRefused : LimitOutcome::kShadow;
  }
  return verdict.source == Source::kShare ? LimitOutcome::kLocalShare : LimitOutcome::kAllowed;
}

int64_t CostAfter(const rules::RateLimitPolicy& policy, const cache::HeaderMap& answer,
                  int64_t charged) {
  if (policy.cost_field.name.empty()) return 0;
  const auto text = answer.First(policy.cost_field.name);
  if (!text) return 0;
  uint64_t units = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), units);
  if (end != text->data() + text->size() || error == std::errc::invalid_argument) return 0;
  // More digits than a number has are more than is allowed, too.
  if (error == std::errc::result_out_of_range) units = policy.cost_field.max;
  units = std::min<uint64_t>(units, policy.cost_field.max);
  return std::max<int64_t>(0, static_cast<int64_t>(units) - charged);
}

}  // namespace satchel::proxy
