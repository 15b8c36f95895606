#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>

namespace satchel::cache {

// Policy works in milliseconds: ages kept in whole seconds come out one too small after two hops.
using Millis = std::chrono::milliseconds;

// A point of wall-clock time. Policy functions get it as a parameter and never read a clock.
using Time = std::chrono::sys_time<Millis>;

// A duration that is not negative, in four bytes: to the millisecond up to 24 days, to the second
// beyond, as long as a field can say. Rounds down.
class ShortMillis {
 public:
  constexpr ShortMillis() = default;
  constexpr ShortMillis(Millis value) {  // NOLINT(google-explicit-constructor)
    const int64_t millis = std::max<int64_t>(value.count(), 0);
    packed_ = millis < kSeconds ? static_cast<uint32_t>(millis)
                                : static_cast<uint32_t>(std::min(millis / 1000, kSeconds - 1)) |
                                      static_cast<uint32_t>(kSeconds);
  }
  constexpr operator Millis() const {  // NOLINT(google-explicit-constructor)
    if (packed_ < kSeconds) return Millis(packed_);
    return Millis((int64_t{packed_} - kSeconds) * 1000);
  }
  friend constexpr auto operator<=>(ShortMillis a, Millis b) { return Millis(a) <=> b; }
  friend constexpr bool operator==(ShortMillis a, Millis b) { return Millis(a) == b; }
  friend constexpr bool operator==(ShortMillis a, ShortMillis b) = default;

 private:
  static constexpr int64_t kSeconds = int64_t{1} << 31;
  uint32_t packed_ = 0;
};

constexpr Time TimeFromUnixSeconds(int64_t seconds) { return Time(std::chrono::seconds(seconds)); }

constexpr Time TimeFromUnixMillis(int64_t millis) { return Time(Millis(millis)); }

}  // namespace satchel::cache
