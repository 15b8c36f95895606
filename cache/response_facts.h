#pragma once

#include <cstdint>

#include "cache/base/clock.h"
#include "cache/reason.h"

namespace satchel::cache {

// What reuse decisions need to know of a stored response, worked out once when it was stored or
// updated. Plain data; copied between tiers with the record.
struct ResponseFacts {
  Time received;          // when the head arrived (response_time of RFC 9111 4.2.3)
  Time date;              // Date, or `received` where it was absent or unusable
  ShortAge initial_age;   // corrected_initial_age at `received`
  ShortMillis lifetime;   // freshness lifetime; 0 = validate at every use
  ShortMillis stale_while_revalidate;
  ShortMillis stale_if_error;

  uint16_t status = 0;
  Reason stored_because = Reason::kNone;
  uint8_t fetch_time = 0;  // of the origin, as PackFetchTime() puts it; 0: not known
  uint16_t rule = 0;  // RuleTag() of the rule that it was stored under; 0: none known

  bool no_cache : 1 = false;         // unqualified no-cache (5.2.2.4)
  bool must_revalidate : 1 = false;  // must-revalidate, proxy-revalidate or s-maxage
  // An explicit grant, by the response or the rule; never next to no-cache, must-revalidate and
  // proxy-revalidate, which forbid it.
  bool swr_granted : 1 = false;
  bool sie_granted : 1 = false;
  bool immutable : 1 = false;  // RFC 8246
  bool has_etag : 1 = false;
  bool strong_etag : 1 = false;
  bool has_last_modified : 1 = false;
  bool has_vary : 1 = false;
  bool partial : 1 = false;              // a 206; covers [range_first, range_last]
  bool has_unstored_fields : 1 = false;  // qualified no-cache names fields to leave out
  bool stale_by_purge : 1 = false;       // softly purged: stale from now on

  // current_age of 4.2.3. Never negative, whatever the clock did.
  Millis AgeAt(Time now) const {
    const Millis resident = now > received ? now - received : Millis(0);
    return initial_age + resident;
  }
  // "Fresh" is strict: a response whose age equals its lifetime is stale (4.2).
  bool IsFreshAt(Time now) const { return !stale_by_purge && lifetime > AgeAt(now); }
  // The same for a request that IsPlainLookup.
  bool ServesPlainLookup(Time now) const { return IsFreshAt(now) && !no_cache && !partial; }
  Millis StaleFor(Time now) const {
    const Millis age = AgeAt(now);
    return age > lifetime ? age - lifetime : Millis(0);
  }
};

}  // namespace satchel::cache
