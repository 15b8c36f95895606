#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "cache/base/clock.h"

namespace satchel::rules {

// Values with their units. A mistake says what is wrong and what to write instead; it quotes
// nothing, because the caller knows whether the text may be shown.
template <typename T>
using UnitResult = std::expected<T, std::string>;

// "250ms", "1.5h", "0". Units ms s m h d; at most ten years; whole milliseconds.
UnitResult<cache::Millis> ParseDuration(std::string_view text);
// "64KiB", "1.5GiB", "0". Units B KiB MiB GiB; at most 1 PiB.
UnitResult<uint64_t> ParseSize(std::string_view text);
// "10%" or "0.1": 0 to 1.
UnitResult<double> ParseRatio(std::string_view text);
// "1000/1h": the count and the time.
UnitResult<std::pair<uint64_t, std::chrono::microseconds>> ParseRate(std::string_view text);
// Decimal digits only, in [low, high].
UnitResult<uint64_t> ParseNumber(std::string_view text, uint64_t low, uint64_t high);

// The shortest text that parses to the same value.
std::string DurationText(cache::Millis value);
std::string SizeText(uint64_t bytes);
std::string RatioText(double value);

}  // namespace satchel::rules
