#include "rules/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

namespace satchel::rules {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array<Unit, 5> kTimeUnits = {
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<Unit, 4> kSizeUnits = {
    {{"B", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}}};
constexpr uint64_t kMaxMillis = 3650ULL * 86'400'000;
constexpr uint64_t kMaxBytes = 1ULL << 50;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Splits "1.5h" into the number and the unit. Nothing if it does not begin with a number.
struct Quantity {
  std::string_view number;
  std::string_view unit;
  double value = 0;
  bool whole = true;
};

std::optional<Quantity> Split(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && IsDigit(text[at])) ++at;
  if (at == 0 || at > 15) return std::nullopt;
  Quantity quantity;
  if (at + 1 < text.size() && text[at] == '.' && IsDigit(text[at + 1])) {
    quantity.whole = false;
    ++at;
    while (at < text.size() && IsDigit(text[at])) ++at;
    if (at > 24) return std::nullopt;
  }
  quantity.number = text.substr(0, at);
  quantity.unit = text.substr(at);
  const auto parsed =
      std::from_chars(quantity.number.data(), quantity.number.data() + at, quantity.value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return quantity;
}

template <size_t N>
std::optional<uint64_t> FactorOf(const std::array<Unit, N>& units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.factor;
  }
  return std::nullopt;
}

std::string NumberText(double value) {
  char buffer[40];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

}  // namespace

UnitResult<cache::Millis> ParseDuration(std::string_view text) {
  const auto quantity = Split(text);
  if (!quantity) {
    return std::unexpected("is not a duration; write a number with ms, s, m, h or d, as in 30s");
  }
  if (quantity->unit.empty()) {
    if (quantity->value == 0) return cache::Millis(0);
    return std::unexpected("has no unit; write ms, s, m, h or d behind it, as in " +
                           std::string(quantity->number) + "s");
  }
  const auto factor = FactorOf(kTimeUnits, quantity->unit);
  if (!factor) {
    return std::unexpected(
        "is not a duration; write one number with ms, s, m, h or d, as in 90m or 1.5h");
  }
  const double millis = quantity->value * static_cast<double>(*factor);
  if (millis > static_cast<double>(kMaxMillis)) {
    return std::unexpected("is too long; write at most 3650d");
  }
  if (std::abs(millis - std::round(millis)) > 1e-6) {
    return std::unexpected("is finer than a millisecond; write whole milliseconds");
  }
  return cache::Millis(std::llround(millis));
}

UnitResult<uint64_t> ParseSize(std::string_view text) {
  const auto quantity = Split(text);
  if (!quantity) {
    return std::unexpected("is not a size; write a number with B, KiB, MiB or GiB, as in 64MiB");
  }
  if (quantity->unit.empty()) {
    if (quantity->value == 0) return 0;
    return std::unexpected("has no unit; write B, KiB, MiB or GiB behind it, as in " +
                           std::string(quantity->number) + "MiB");
  }
  const auto factor = FactorOf(kSizeUnits, quantity->unit);
  if (!factor) {
    const char first = quantity->unit.front();
    const char* instead = first == 'k' || first == 'K'   ? "KiB"
                          : first == 'm' || first == 'M' ? "MiB"
                          : first == 'g' || first == 'G' ? "GiB"
                                                         : "MiB";
    return std::unexpected("is not a size; units are B, KiB, MiB and GiB, as in " +
                           std::string(quantity->number) + instead);
  }
  const double bytes = quantity->value * static_cast<double>(*factor);
  if (bytes > static_cast<double>(kMaxBytes)) {
    return std::unexpected("is too large; write at most 1048576GiB");
  }
  if (std::abs(bytes - std::round(bytes)) > 1e-6) {
    return std::unexpected("is not a whole number of bytes; write a smaller unit");
  }
  return static_cast<uint64_t>(std::llround(bytes));
}

UnitResult<double> ParseRatio(std::string_view text) {
  const auto quantity = Split(text);
  if (quantity && quantity->unit == "%") {
    if (quantity->value > 100) return std::unexpected("is above 100%; write 0% to 100%");
    return quantity->value / 100;
  }
  if (quantity && quantity->unit.empty() && quantity->value <= 1) return quantity->value;
  if (quantity && quantity->unit.empty()) {
    return std::unexpected("is above 1; write " + std::string(quantity->number) +
                           "% or a number from 0 to 1");
  }
  return std::unexpected("is not a ratio; write 10% or a number from 0 to 1");
}

UnitResult<std::pair<uint64_t, std::chrono::microseconds>> ParseRate(std::string_view text) {
  constexpr const char* kForm = "is not a rate; write a count and a duration, as in 1000/1h";
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::unexpected(kForm);
  const auto count = ParseNumber(text.substr(0, slash), 1, 1'000'000'000);
  if (!count) return std::unexpected(std::string("has a bad count: it ") + count.error());
  const std::string_view time = text.substr(slash + 1);
  if (FactorOf(kTimeUnits, time)) {
    return std::unexpected("has no number of " + std::string(time) + "; write " +
                           std::string(text.substr(0, slash)) + "/1" + std::string(time));
  }
  const auto duration = ParseDuration(time);
  if (!duration) return std::unexpected("has a bad duration: it " + duration.error());
  if (*duration < std::chrono::milliseconds(100) || *duration > std::chrono::days(366)) {
    return std::unexpected("has a window out of range; write 100ms to 366d");
  }
  return std::make_pair(*count, std::chrono::microseconds(*duration));
}

UnitResult<uint64_t> ParseNumber(std::string_view text, uint64_t low, uint64_t high) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (text.empty() || parsed.ptr != end || parsed.ec == std::errc::invalid_argument) {
    return std::unexpected("is not a whole number; write " + std::to_string(low) + " to " +
                           std::to_string(high));
  }
  if (parsed.ec != std::errc() || value < low || value > high) {
    return std::unexpected("is out of range; write " + std::to_string(low) + " to " +
                           std::to_string(high));
  }
  return value;
}

std::string DurationText(cache::Millis value) {
  const uint64_t millis = static_cast<uint64_t>(value.count());
  if (millis == 0) return "0s";
  for (size_t i = kTimeUnits.size(); i-- > 0;) {
    if (millis % kTimeUnits[i].factor == 0) {
      return std::to_string(millis / kTimeUnits[i].factor) + std::string(kTimeUnits[i].name);
    }
  }
  return std::to_string(millis) + "ms";
}

std::string SizeText(uint64_t bytes) {
  if (bytes == 0) return "0B";
  for (size_t i = kSizeUnits.size(); i-- > 0;) {
    if (bytes % kSizeUnits[i].factor == 0) {
      return std::to_string(bytes / kSizeUnits[i].factor) + std::string(kSizeUnits[i].name);
    }
  }
  return std::to_string(bytes) + "B";
}

std::string RatioText(double value) {
  // Twelve digits hide what the binary form adds: 0.07 * 100 is not 7.
  return NumberText(std::round(value * 100 * 1e10) / 1e10) + "%";
}

}  // namespace satchel::rules
