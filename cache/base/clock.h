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
// beyond, as long as a field can say. What is in between goes down, or up.
template <bool kUp>
class PackedDuration {
 public:
  constexpr PackedDuration() = default;
  template <typename Rep, typename Period>
  constexpr PackedDuration(  // NOLINT(google-explicit-constructor)
      std::chrono::duration<Rep, Period> value) {
    const int64_t millis = std::max<int64_t>(Millis(value).count(), 0);
    const int64_t seconds = millis / 1000 + (kUp && millis % 1000 != 0 ? 1 : 0);
    packed_ = millis < kSeconds ? static_cast<uint32_t>(millis)
                                : static_cast<uint32_t>(std::min(seconds, kSeconds - 1)) |
                                      static_cast<uint32_t>(kSeconds);
  }
  constexpr operator Millis() const {  // NOLINT(google-explicit-constructor)
    if (packed_ < kSeconds) return Millis(packed_);
    return Millis((int64_t{packed_} - kSeconds) * 1000);
  }

  static constexpr PackedDuration FromBits(uint32_t bits) {
    PackedDuration duration;
    duration.packed_ = bits;
    return duration;
  }
  constexpr uint32_t bits() const { return packed_; }

  template <typename Rep, typename Period>
  friend constexpr auto operator<=>(PackedDuration a, std::chrono::duration<Rep, Period> b) {
    return Millis(a) <=> b;
  }
  template <typename Rep, typename Period>
  friend constexpr bool operator==(PackedDuration a, std::chrono::duration<Rep, Period> b) {
    return Millis(a) == b;
  }
  friend constexpr auto operator<=>(PackedDuration a, PackedDuration b) {
    return Millis(a) <=> Millis(b);
  }
  friend constexpr bool operator==(PackedDuration a, PackedDuration b) {
    return Millis(a) == Millis(b);
  }
  friend constexpr Millis operator+(PackedDuration a, Millis b) { return Millis(a) + b; }
  friend constexpr Millis operator-(PackedDuration a, Millis b) { return Millis(a) - b; }

 private:
  static constexpr int64_t kSeconds = int64_t{1} << 31;
  uint32_t packed_ = 0;
};
using ShortMillis = PackedDuration<false>;  // a right to use a response
using ShortAge = PackedDuration<true>;

constexpr Time TimeFromUnixSeconds(int64_t seconds) { return Time(std::chrono::seconds(seconds)); }

constexpr Time TimeFromUnixMillis(int64_t millis) { return Time(Millis(millis)); }

}  // namespace satchel::cache
