#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/base/clock.h"
#include "rules/units.h"

namespace satchel::rules {

// When something is due, in UTC: the five fields of crontab(5), "minute hour day-of-month month
// day-of-week", or "@every 10m", which means the multiples of that time since 1970, so that all who
// read it mean the same moments. Pure.
//
// A field is "*", a number, a range "1-5", a list "1,15", with a step "*/15" or "8-18/2"; months and
// days of the week also by the first three letters of their English names; 7 is Sunday as 0 is. As in
// crontab(5), where neither day field begins with "*", one of the two is enough.
class Cron {
 public:
  static constexpr size_t kMaxText = 256;                      // bytes
  static constexpr cache::Millis kShortest{1000};              // of @every
  static constexpr int kHorizonYears = 40;  // what does not come within them never does

  // The error says what is wrong and what to write instead, without quoting the text. Times that
  // never come, such as 30 February, are mistakes.
  static UnitResult<Cron> Parse(std::string_view text);

  // The first moment later than `after`; nothing if none comes within kHorizonYears.
  std::optional<cache::Time> Next(cache::Time after) const;

  const std::string& text() const { return text_; }  // as written
  bool operator==(const Cron& other) const { return text_ == other.text_; }

 private:
  Cron() = default;
  bool DayMatches(std::chrono::sys_days day) const;

  std::string text_;
  cache::Millis every_{0};  // 0: the fields below. One bit for each value
  uint64_t minutes_ = 0;
  uint64_t hours_ = 0;
  uint64_t days_ = 0;
  uint64_t months_ = 0;
  uint64_t weekdays_ = 0;  // 0 to 6, from Sunday
  bool either_day_ = false;
};

}  // namespace satchel::rules
