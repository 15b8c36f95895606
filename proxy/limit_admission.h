#pragma once

#include <cstdint>
#include <string_view>

#include "cache/http/message.h"
#include "proxy/limit_request.h"
#include "proxy/limit_switch.h"
#include "proxy/metrics.h"
#include "proxy/snapshot.h"
#include "rules/rate_limit.h"

namespace satchel::proxy {

// What a request has to ask the limiter before it may go on.
struct Admission {
  enum class Outcome : uint8_t {
    kFree,          // nothing
    kAsk,           // the checks were added
    kUnauthorized,  // answer 401
    kForbidden,     // answer 403
  };
  Outcome outcome = Outcome::kFree;
  const rules::RateLimitPolicy* policy = nullptr;  // the last looked at
};

// Adds the checks of every policy that applies, the strictest first: `at_origin` says whether those
// that count what reaches the origin or those that count every request. `rule` is the one that
// matches; `client_ip` is the client's address behind trusted proxies. Reads no clock.
Admission PrepareLimits(const Snapshot& snapshot, const rules::Rule& rule,
                        const cache::RequestHead& head, std::string_view client_ip, bool at_origin,
                        const LimitSwitch& kill_switch, LimitRequest& request);

// What the access log and the metrics say of a verdict.
LimitOutcome OutcomeOf(const LimitVerdict& verdict);

// How many units more than those charged an answer turned out to cost, as its field says. 0: none,
// or no such field, or not a number.
int64_t CostAfter(const rules::RateLimitPolicy& policy, const cache::HeaderMap& answer,
                  int64_t charged);

}  // namespace satchel::proxy
