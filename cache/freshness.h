#pragma once

#include "cache/base/clock.h"
#include "cache/cache_control.h"
#include "cache/http/headers.h"
#include "cache/overrides.h"
#include "cache/reason.h"

namespace satchel::cache {

// The Date of a response (RFC 9110 6.6.1), or `response_time` where it is absent or unusable.
Time DateOf(const HeaderMap& response_fields, Time response_time);

// The Age field (RFC 9111 5.1, 1.2.2): the first member of the first line. 0 if absent or
// unusable.
Millis AgeField(const HeaderMap& response_fields);

// corrected_initial_age of RFC 9111 4.2.3 at `response_time`. Never negative.
Millis InitialAge(const HeaderMap& response_fields, Time request_time, Time response_time);

// True for status codes whose responses may get a heuristic lifetime without being marked public
// (RFC 9110 15.1).
bool IsHeuristicallyCacheable(uint16_t status);

struct Lifetime {
  Millis value{0};
  // kExplicitLifetime, kHeuristicLifetime, kRuleLifetime, kNegativeLifetime; kNoLifetime if there
  // is nothing to go by: `value` is then 0.
  Reason source = Reason::kNoLifetime;
  // The origin said something explicit, even if the rule or an unusable value made it nothing.
  bool explicit_by_origin = false;
};

// What the origin itself grants (RFC 9111 4.2.1, 4.2.2): s-maxage, max-age, Expires minus Date,
// else the heuristic.
Lifetime LifetimeByOrigin(uint16_t status, const HeaderMap& response_fields,
                          const ResponseDirectives& directives, Time response_time,
                          const Overrides& overrides);

// The same with the rule's ttl, negative, ttl_min, ttl_max and jitter applied. The rule's durations
// count from receipt, so the result is at least `initial_age` plus them. `random` in [0, 1).
Lifetime LifetimeFor(uint16_t status, const HeaderMap& response_fields,
                     const ResponseDirectives& directives, Millis initial_age, Time response_time,
                     double random, const Overrides& overrides);

}  // namespace satchel::cache
