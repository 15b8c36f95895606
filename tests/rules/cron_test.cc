#include "rules/cron.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace satchel::rules {
namespace {

using std::chrono::sys_days;

// "2026-03-01 04:05:06" from its numbers.
cache::Time At(int year, unsigned month, unsigned day, int hour = 0, int minute = 0, int second = 0) {
  return sys_days(std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day)) +
         std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
}

std::string Show(cache::Time time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto of_day = std::chrono::duration_cast<std::chrono::seconds>(time - day).count();
  char text[40];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d", int(date.year()),
                unsigned(date.month()), unsigned(date.day()), int(of_day / 3600),
                int(of_day / 60 % 60), int(of_day % 60));
  return text;
}

// The next `count` moments.
std::string Next(std::string_view text, cache::Time after, int count = 1) {
  const auto cron = Cron::Parse(text);
  if (!cron) return "refused: " + cron.error();
  std::string all;
  for (int i = 0; i < count; ++i) {
    const auto next = cron->Next(after);
    if (!next) return all + "never";
    all += (i > 0 ? ", " : "") + Show(*next);
    after = *next;
  }
  return all;
}

std::string Mistake(std::string_view text) {
  const auto cron = Cron::Parse(text);
  return cron ? "none" : cron.error();
}

TEST(CronTest, EveryFieldHolds) {
  const cache::Time from = At(2026, 3, 1, 4, 5, 6);  // a Sunday
  EXPECT_EQ(Next("* * * * *", from), "2026-03-01 04:06:00");
  EXPECT_EQ(Next("5 4 * * *", from), "2026-03-02 04:05:00");
  EXPECT_EQ(Next("*/30 * * * *", from, 3),
            "2026-03-01 04:30:00, 2026-03-01 05:00:00, 2026-03-01 05:30:00");
  EXPECT_EQ(Next("0 8-18/5 * * *", from, 4),
            "2026-03-01 08:00:00, 2026-03-01 13:00:00, 2026-03-01 18:00:00, 2026-03-02 08:00:00");
  EXPECT_EQ(Next("15,45 3 * * *", from, 2), "2026-03-02 03:15:00, 2026-03-02 03:45:00");
  EXPECT_EQ(Next("0 0 31 * *", from, 3),
            "2026-03-31 00:00:00, 2026-05-31 00:00:00, 2026-07-31 00:00:00");
  EXPECT_EQ(Next("59 23 31 12 *", from), "2026-12-31 23:59:00");
  EXPECT_EQ(Next("0 0 1 JAN,jul *", from, 2), "2026-07-01 00:00:00, 2027-01-01 00:00:00");
}

TEST(CronTest, WhatIsDueNowIsNotNext) {
  EXPECT_EQ(Next("5 4 * * *", At(2026, 3, 1, 4, 4, 59)), "2026-03-01 04:05:00");
  EXPECT_EQ(Next("5 4 * * *", At(2026, 3, 1, 4, 5, 0)), "2026-03-02 04:05:00");
  EXPECT_EQ(Next("5 4 * * *", At(2026, 3, 1, 4, 5, 0) - cache::Millis(1)), "2026-03-01 04:05:00");
}

TEST(CronTest, SundayHasTwoNumbersAndWeeksEndWithIt) {
  const cache::Time from = At(2026, 3, 1, 4, 5, 6);
  EXPECT_EQ(Next("0 0 * * 0", from), "2026-03-08 00:00:00");
  EXPECT_EQ(Next("0 0 * * 7", from), "2026-03-08 00:00:00");
  EXPECT_EQ(Next("0 0 * * sat-sun", from, 3),
            "2026-03-07 00:00:00, 2026-03-08 00:00:00, 2026-03-14 00:00:00");
  EXPECT_EQ(Next("0 0 * * 5-7", from, 3),
            "2026-03-06 00:00:00, 2026-03-07 00:00:00, 2026-03-08 00:00:00");
  EXPECT_EQ(Next("0 12 * * Mon-Fri", from, 2), "2026-03-02 12:00:00, 2026-03-03 12:00:00");
  EXPECT_EQ(Next("0 0 * * */2", from, 2), "2026-03-03 00:00:00, 2026-03-05 00:00:00");
}

TEST(CronTest, OneOfTwoDayFieldsIsEnoughUnlessOneIsAStar) {
  const cache::Time from = At(2026, 3, 1, 4, 5, 6);
  EXPECT_EQ(Next("0 0 13 * fri", from, 4),
            "2026-03-06 00:00:00, 2026-03-13 00:00:00, 2026-03-20 00:00:00, 2026-03-27 00:00:00");
  EXPECT_EQ(Next("0 0 13 * *", from, 2), "2026-03-13 00:00:00, 2026-04-13 00:00:00");
  // A step over all days is a star too: odd days that are Fridays.
  EXPECT_EQ(Next("0 0 */2 * fri", from, 2), "2026-03-13 00:00:00, 2026-03-27 00:00:00");
  EXPECT_EQ(Next("0 0 30 2 mon", from), "2027-02-01 00:00:00");
}

TEST(CronTest, LeapDaysComeWhenTheyCome) {
  EXPECT_EQ(Next("0 0 29 2 *", At(2026, 3, 1), 2), "2028-02-29 00:00:00, 2032-02-29 00:00:00");
  EXPECT_EQ(Next("0 0 29 2 *", At(2096, 3, 1)), "2104-02-29 00:00:00");
  EXPECT_EQ(Next("0 0 1 * *", At(2026, 12, 31, 23, 59, 59)), "2027-01-01 00:00:00");
}

TEST(CronTest, EveryMeansMultiplesSince1970) {
  EXPECT_EQ(Next("@every 10m", At(2026, 3, 1, 4, 5, 6), 2),
            "2026-03-01 04:10:00, 2026-03-01 04:20:00");
  EXPECT_EQ(Next("@every 1s", At(2026, 3, 1, 4, 5, 6)), "2026-03-01 04:05:07");
  EXPECT_EQ(Next("@every 1d", At(2026, 3, 1, 4, 5, 6)), "2026-03-02 00:00:00");
  EXPECT_EQ(Next("@every 10s", At(1969, 12, 31, 23, 59, 55)), "1970-01-01 00:00:00");
}

TEST(CronTest, MistakesSayWhatToWriteInstead) {
  const auto says = [](std::string_view text, std::string_view what) {
    EXPECT_NE(Mistake(text).find(what), std::string::npos) << text << "\n" << Mistake(text);
  };
  says("", "write five fields");
  says("* * * *", "write five fields");
  says("* * * * * *", "write five fields");
  says("@daily", "write five fields");
  says("60 * * * *", "no valid minute; write 0 to 59");
  says("* 24 * * *", "no valid hour; write 0 to 23");
  says("* * 0 * *", "no valid day of the month; write 1 to 31");
  says("* * * 13 *", "no valid month; write 1 to 12");
  says("* * * foo *", "jan-mar");
  says("* * * * 8", "no valid day of the week; write 0 to 7");
  says("1, * * * *", "no valid minute");
  says("-1 * * * *", "no valid minute");
  says("1- * * * *", "no valid minute");
  says("*/0 * * * *", "no valid minute");
  says("5/10 * * * *", "write */10, or a range");
  says("30-10 * * * *", "runs backwards");
  says("0 0 * * fri-mon", "runs backwards");
  says("0 0 30 2 *", "never comes");
  says("0 0 31 4,6,9,11 *", "never comes");
  says("@every 999ms", "write @every 1s or longer");
  says("@every", "write five fields");
  says("@every 5", "has no unit");
  says(std::string(257, '*'), "longer than 256 bytes");
  EXPECT_EQ(Mistake("  0\t3  * * *  "), "none");
  EXPECT_EQ(Mistake("0 0 * * *" + std::string(247, ' ')), "none");  // 256 bytes
  says("0 0 * * *" + std::string(248, ' '), "longer than 256 bytes");
}

}  // namespace
}  // namespace satchel::rules
