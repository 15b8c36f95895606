#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cache/base/clock.h"
#include "cache/http/headers.h"
#include "proxy/rate_limiter.h"
#include "rules/rate_limit.h"

namespace satchel::proxy {

// What a client is told about its limits. Pure. These fields belong to one exchange: they must
// never be stored with a response.

// Sets, for the verdicts of one exchange that were decided by counting under policies that enforce:
//  - X-RateLimit-Limit, -Remaining, -Reset (epoch seconds, rounded up): of the window that refuses,
//    else of the one with the least room left;
//  - RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-10: every window. With
//    several policies a window's name stands behind that of its policy.
// Whether the one or the other is wanted is said by each policy.
void SetLimitFields(std::span<const LimitVerdict> verdicts, cache::Time now,
                    cache::HeaderMap& fields);

// Whole seconds after which the refused request fits, at least 1. Of a cost that never fits: the
// length of the window.
int64_t RetryAfterSeconds(const LimitVerdict& verdict);

// An answer of ours to a request that is not let through.
struct LimitAnswer {
  uint16_t status = 429;
  std::string retry_after;   // empty: no such field
  std::string authenticate;  // WWW-Authenticate of a 401
  std::string body;          // application/problem+json (RFC 9457), never to be cached
};

// 429, or 503 where it is refused because the store is down. The verdict is a refusal.
LimitAnswer RefusalOf(const LimitVerdict& verdict);

// 401: the request carries no (usable) key. Costs no quota.
LimitAnswer UnauthorizedOf(const rules::RateLimitPolicy& policy);

}  // namespace satchel::proxy
