// What others say about limits: what an answer cost, the origin's own limit fields, messages
// between instances, whom an operator asks for.
#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/limit_admission.h"
#include "proxy/limit_control.h"
#include "proxy/limit_fields.h"
#include "proxy/limits_admin.h"
#include "tests/fuzz/require.h"

namespace {

using namespace satchel;

rules::RateLimitPolicy MakePolicy(rules::OriginFields origin) {
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = {{"hour", 10, std::chrono::hours(1)}};
  policy.default_plan = 0;
  policy.cost_field = {.name = "X-Cost", .max = 1000};
  policy.origin_fields = origin;
  return policy;
}

const rules::RateLimitPolicy& Policy(rules::OriginFields origin) {
  static const rules::RateLimitPolicy merge = MakePolicy(rules::OriginFields::kMerge);
  static const rules::RateLimitPolicy replace = MakePolicy(rules::OriginFields::kReplace);
  return origin == rules::OriginFields::kMerge ? merge : replace;
}

void Merge(std::string_view text, rules::OriginFields how) {
  const rules::RateLimitPolicy& policy = Policy(how);
  const proxy::LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  rules::LimitStates states;
  states.count = 1;
  states.states[0] = {.remaining = 4, .reset = 1'000'000, .wait = 0};
  const proxy::LimitVerdict verdict =
      proxy::VerdictOf(check, true, proxy::LimitVerdict::Source::kRedis, states);
  std::string ours;
  proxy::AppendLimitFields({&verdict, 1}, cache::Time{}, ours);
  cache::HeaderMap theirs;
  theirs.Add("X-RateLimit-Remaining", text);
  theirs.Add("X-RateLimit-Limit", text);
  theirs.Add("RateLimit", text);
  proxy::MergeOriginFields({&verdict, 1}, theirs, cache::Time{}, ours);
  // Nothing of theirs gets into lines of ours, and one set of X-RateLimit stands.
  Require(ours.find("RateLimit:") != std::string::npos);
  Require(theirs.First("X-RateLimit-Remaining").has_value() !=
          (ours.find("X-RateLimit-Remaining") != std::string::npos));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  cache::HeaderMap answer;
  answer.Add("X-Cost", text);
  const int64_t more = proxy::CostAfter(Policy(rules::OriginFields::kMerge), answer, 3);
  Require(more >= 0 && more <= 997);
  Merge(text, rules::OriginFields::kMerge);
  Merge(text, rules::OriginFields::kReplace);
  if (const auto message = proxy::ParseLimitMessage(text)) {
    Require(message->id.empty()
                ? text == "switch"
                : "reset " + std::string(message->id) + " " + std::string(message->policy) == text);
  }
  static const proxy::Snapshot nothing;
  std::string why;
  Require(proxy::ChecksFor(nothing, text, &why).empty() && !why.empty());
  return 0;
}
