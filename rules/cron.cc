#include "rules/cron.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

namespace satchel::rules {
namespace {

using cache::Millis;
using cache::Time;
using std::chrono::days;
using std::chrono::sys_days;

constexpr std::string_view kEvery = "@every ";

constexpr std::array<std::string_view, 12> kMonths = {"jan", "feb", "mar", "apr", "may", "jun",
                                                      "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"sun", "mon", "tue", "wed",
                                                       "thu", "fri", "sat"};

struct Field {
  std::string_view name;
  unsigned low;
  unsigned high;
  std::string_view example;
};
constexpr std::array<Field, 5> kFields = {{{"minute", 0, 59, "0, 0,30 or */15"},
                                           {"hour", 0, 23, "3, 8-18 or */6"},
                                           {"day of the month", 1, 31, "1, 1,15 or *"},
                                           {"month", 1, 12, "1, jan-mar or *"},
                                           {"day of the week", 0, 7, "0, mon-fri or *"}}};
constexpr size_t kMonthField = 3;
constexpr size_t kWeekdayField = 4;

std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find_first_of(separators);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool EqualsLower(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

template <size_t N>
std::optional<unsigned> NameIn(const std::array<std::string_view, N>& names, std::string_view text) {
  for (size_t i = 0; i < N; ++i) {
    if (EqualsLower(text, names[i])) return static_cast<unsigned>(i);
  }
  return std::nullopt;
}

std::optional<unsigned> ValueOf(size_t field, std::string_view text) {
  if (field == kMonthField) {
    if (const auto month = NameIn(kMonths, text)) return *month + 1;
  }
  if (field == kWeekdayField) {
    if (const auto weekday = NameIn(kWeekdays, text)) return weekday;
  }
  const auto number = ParseNumber(text, kFields[field].low, kFields[field].high);
  if (!number) return std::nullopt;
  return static_cast<unsigned>(*number);
}

// Nothing, or what is wrong.
std::optional<std::string> AddPart(size_t index, std::string_view part, uint64_t* bits) {
  const Field& field = kFields[index];
  const auto wrong = [&] {
    return "has no valid " + std::string(field.name) + "; write " + std::to_string(field.low) +
           " to " + std::to_string(field.high) + ", as in " + std::string(field.example);
  };
  const size_t slash = part.find('/');
  const std::string_view range = part.substr(0, slash);
  const size_t dash = range.find('-');
  unsigned low = field.low;
  unsigned high = field.high;
  if (range == "*") {
    if (index == kWeekdayField) high = 6;
  } else {
    const auto first = ValueOf(index, range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ValueOf(index, range.substr(dash + 1));
    if (!first || !last) return wrong();
    low = *first;
    high = *last;
    // "fri-sun" ends with the week.
    if (index == kWeekdayField && high == 0 && low > 0) high = 7;
    if (low > high) {
      return "has a range of the " + std::string(field.name) +
             " that runs backwards; write the smaller end first, or two ranges with a comma";
    }
    if (slash != std::string_view::npos && dash == std::string_view::npos) {
      return "has a step of the " + std::string(field.name) + " without a range; write */" +
             std::string(part.substr(slash + 1)) + ", or a range before the step";
    }
  }
  unsigned step = 1;
  if (slash != std::string_view::npos) {
    const auto number = ParseNumber(part.substr(slash + 1), 1, field.high);
    if (!number) return wrong();
    step = static_cast<unsigned>(*number);
  }
  for (unsigned value = low; value <= high; value += step) *bits |= uint64_t{1} << value;
  return std::nullopt;
}

bool Has(uint64_t bits, unsigned value) { return (bits >> value & 1) != 0; }

// The lowest set bit at or above `from`; 64 if there is none.
unsigned NextBit(uint64_t bits, unsigned from) {
  return from >= 64 ? 64 : static_cast<unsigned>(std::countr_zero(bits >> from << from));
}

}  // namespace

UnitResult<Cron> Cron::Parse(std::string_view text) {
  Cron cron;
  if (text.size() > kMaxText) return std::unexpected("is longer than 256 bytes; write fewer times");
  cron.text_ = text;
  if (text.starts_with(kEvery)) {
    const auto every = ParseDuration(text.substr(kEvery.size()));
    if (!every) return std::unexpected("holds what " + every.error());
    if (*every < kShortest) return std::unexpected("is too often; write @every 1s or longer");
    cron.every_ = *every;
    return cron;
  }
  std::vector<std::string_view> fields = SplitAt(text, " \t");
  std::erase_if(fields, [](std::string_view field) { return field.empty(); });
  if (fields.size() != kFields.size()) {
    return std::unexpected(
        "is no time; write five fields, minute hour day-of-month month day-of-week, as in "
        "\"*/30 * * * *\", or \"@every 10m\"");
  }
  uint64_t* const bits[] = {&cron.minutes_, &cron.hours_, &cron.days_, &cron.months_,
                            &cron.weekdays_};
  for (size_t i = 0; i < fields.size(); ++i) {
    for (const std::string_view part : SplitAt(fields[i], ",")) {
      if (auto why = AddPart(i, part, bits[i])) return std::unexpected(std::move(*why));
    }
  }
  if (Has(cron.weekdays_, 7)) cron.weekdays_ = (cron.weekdays_ | 1) & 0x7f;
  cron.either_day_ = !fields[2].starts_with('*') && !fields[kWeekdayField].starts_with('*');
  if (!cron.Next(cache::TimeFromUnixSeconds(0))) {
    return std::unexpected("never comes; write a day that one of its months has");
  }
  return cron;
}

bool Cron::DayMatches(sys_days day) const {
  const std::chrono::year_month_day date(day);
  const bool in_month = Has(days_, static_cast<unsigned>(date.day()));
  const bool in_week = Has(weekdays_, std::chrono::weekday(day).c_encoding());
  return either_day_ ? in_month || in_week : in_month && in_week;
}

std::optional<Time> Cron::Next(Time after) const {
  if (every_ > Millis(0)) {
    const Millis since = after.time_since_epoch();
    Millis past = since % every_;
    if (past < Millis(0)) past += every_;
    return after + (every_ - past);
  }
  // Whole minutes from the next one on.
  const auto start = std::chrono::floor<std::chrono::minutes>(after) + std::chrono::minutes(1);
  sys_days day = std::chrono::floor<days>(start);
  const sys_days end = day + days(kHorizonYears * 366);
  auto of_day = std::chrono::duration_cast<std::chrono::minutes>(start - day);
  while (day < end) {
    const std::chrono::year_month_day date(day);
    if (!Has(months_, static_cast<unsigned>(date.month()))) {
      day = sys_days((date.year() / date.month() + std::chrono::months(1)) / std::chrono::day(1));
      of_day = std::chrono::minutes(0);
      continue;
    }
    if (DayMatches(day)) {
      const auto from = static_cast<unsigned>(of_day.count());
      unsigned hour = NextBit(hours_, from / 60);
      unsigned minute = hour == from / 60 ? NextBit(minutes_, from % 60) : NextBit(minutes_, 0);
      if (minute >= 60) {
        hour = NextBit(hours_, hour + 1);
        minute = NextBit(minutes_, 0);
      }
      if (hour < 24) return Time(day + std::chrono::hours(hour) + std::chrono::minutes(minute));
    }
    day += days(1);
    of_day = std::chrono::minutes(0);
  }
  return std::nullopt;
}

}  // namespace satchel::rules
