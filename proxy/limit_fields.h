#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cache/base/clock.h"
#include "cache/http/headers.h"
#include "proxy/limit_verdict.h"
#include "rules/rate_limit.h"

namespace satchel::proxy {

// What a client is told about its limits. Pure. These fields belong to one exchange: they must
// never be stored with a response.

// Appends whole lines, for the verdicts of one exchange that were decided by counting under
// policies that enforce:
//  - X-RateLimit-Limit, -Remaining, -Reset (epoch seconds or seconds from now, rounded up): of the
//    window that refuses, else of the one with the least room left;
//  - RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-10: every window. With
//    several policies a window's name stands behind that of its policy.
// Whether the one or the other is wanted is said by each policy.
void AppendLimitFields(std::span<const LimitVerdict> verdicts, cache::Time now, std::string& out);

// The origin's own limit fields, taken out of `fields`, and what clients get instead: both lists
// merged, ours alone or theirs alone, as the policies say. `ours` are lines made by
// AppendLimitFields() and is replaced. Of the X-RateLimit fields the stricter three stay. For
// answers that the origin made for this request; stored ones carry none.
void MergeOriginFields(std::span<const LimitVerdict> verdicts, cache::HeaderMap& fields,
                       cache::Time now, std::string& ours);

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

// 429, or 503 where it is refused because the store is down. The verdict is a refusal. `random` in
// [0, 1) is the share of the policy's jitter that is added to Retry-After.
LimitAnswer RefusalOf(const LimitVerdict& verdict, double random = 0);

// 401: the request carries no (usable) key. Costs no quota.
LimitAnswer UnauthorizedOf(const rules::RateLimitPolicy& policy);
// 403: it carries a key that nobody knows.
LimitAnswer ForbiddenOf();

}  // namespace satchel::proxy
