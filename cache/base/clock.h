#pragma once

#include <chrono>

namespace satchel::cache {

// Policy works in milliseconds: ages kept in whole seconds come out one too small after two hops.
using Millis = std::chrono::milliseconds;

// A point of wall-clock time. Policy functions get it as a parameter and never read a clock.
using Time = std::chrono::sys_time<Millis>;

constexpr Time TimeFromUnixSeconds(int64_t seconds) { return Time(std::chrono::seconds(seconds)); }

constexpr Time TimeFromUnixMillis(int64_t millis) { return Time(Millis(millis)); }

}  // namespace satchel::cache
