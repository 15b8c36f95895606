#pragma once

#include <cstdint>

#include "cache/base/clock.h"

namespace satchel::cache {

// How long the origin takes, as it is kept with a response: one byte, exact up to 31 ms and within
// a sixteenth up to eight minutes, where it ends. 0: not known.
uint8_t PackFetchTime(Millis time);  // rounds up; what was measured is at least 1 ms
Millis UnpackFetchTime(uint8_t packed);

// The moving average after one more measurement; `before` is 0 if this is the first.
Millis SmoothFetchTime(Millis before, Millis measured);

// For how long one instance may keep the others of a fleet from fetching what it fetches, without
// giving a sign of life: twice what the fetch should take, at least two seconds. Where that is not
// known, so long that those who wait, for `wait` at most (0: no bound), still find an heir. Never
// longer than the origin may take to answer (0: no bound) or than `longest`.
struct LockBounds {
  Millis longest;
  Millis wait;
  Millis first_byte_timeout;
};
Millis LockLifetime(Millis expected, const LockBounds& bounds);

}  // namespace satchel::cache
