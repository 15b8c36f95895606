#include "cache/fetch_time.h"

#include <algorithm>
#include <bit>

namespace satchel::cache {
namespace {

constexpr int64_t kExact = 32;  // below it a value stands for itself
constexpr Millis kShortestLock{2000};

}  // namespace

// Four bits of exponent, four of mantissa with the highest one implied, as far as there is one.
Millis UnpackFetchTime(uint8_t packed) {
  const int64_t mantissa = packed & 15;
  const int exponent = packed >> 4;
  return Millis(exponent == 0 ? mantissa : (16 + mantissa) << (exponent - 1));
}

uint8_t PackFetchTime(Millis time) {
  const int64_t millis = std::clamp(time, Millis(1), UnpackFetchTime(255)).count();
  if (millis < kExact) return static_cast<uint8_t>(millis);
  const int shift = static_cast<int>(std::bit_width(static_cast<uint64_t>(millis))) - 5;
  const int64_t mantissa = (millis + (int64_t{1} << shift) - 1) >> shift;  // 16 to 32
  // Rounded up to 32 it is the next exponent's 16, which the sum says by itself.
  return static_cast<uint8_t>(((shift + 1) << 4) + (mantissa - 16));
}

Millis SmoothFetchTime(Millis before, Millis measured) {
  return before <= Millis(0) ? measured : (before * 3 + measured) / 4;
}

Millis LockLifetime(Millis expected, const LockBounds& bounds) {
  Millis lifetime = std::max(expected * 2, kShortestLock);
  if (expected <= Millis(0)) {
    lifetime = bounds.wait > Millis(0) ? bounds.wait * 4 / 5 : bounds.longest;
  }
  if (bounds.first_byte_timeout > Millis(0)) {
    lifetime = std::min(lifetime, bounds.first_byte_timeout + std::chrono::seconds(1));
  }
  // Redis takes no zero.
  return std::max(std::min(lifetime, bounds.longest), Millis(1));
}

}  // namespace satchel::cache
