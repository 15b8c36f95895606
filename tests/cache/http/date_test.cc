#include "cache/http/date.h"

#include <gtest/gtest.h>

namespace satchel::cache {
namespace {

constexpr Time kNow = TimeFromUnixSeconds(1767225600);  // 2026-01-01

std::optional<int64_t> Seconds(std::string_view text, Time now = kNow) {
  const std::optional<Time> time = ParseHttpDate(text, now);
  if (!time) return std::nullopt;
  return std::chrono::floor<std::chrono::seconds>(*time).time_since_epoch().count();
}

// RFC 9110 5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST accept all
// three HTTP-date formats."
TEST(DateTest, B4_TheThreeFormsMeanTheSame) {
  EXPECT_EQ(Seconds("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(Seconds("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  EXPECT_EQ(Seconds("Sun Nov  6 08:49:37 1994"), 784111777);
  EXPECT_EQ(Seconds("Wed Nov 16 08:49:37 1994"), 784975777);
}

TEST(DateTest, B4_LetterCaseDoesNotMatter) {
  EXPECT_EQ(Seconds("sun, 06 nov 1994 08:49:37 gmt"), 784111777);
  EXPECT_EQ(Seconds("SUNDAY, 06-NOV-94 08:49:37 GMT"), 784111777);
  EXPECT_EQ(Seconds("sUN nOV  6 08:49:37 1994"), 784111777);
}

// RFC 9110 5.6.7: "interpret a timestamp that appears to be more than 50 years in the future as
// representing the most recent year in the past that had the same last two digits".
TEST(DateTest, B4_TwoDigitYearsMoreThanFiftyAheadAreOfThePastCentury) {
  const Time now = *ParseHttpDate("Wed, 15 Jul 2026 12:00:00 GMT", kNow);
  const auto year = [&](std::string_view text) {
    return FormatHttpDate(*ParseHttpDate(text, now)).substr(12, 4);
  };
  EXPECT_EQ(year("Saturday, 15-Jul-75 12:00:00 GMT"), "2075");
  EXPECT_EQ(year("Wednesday, 15-Jul-76 12:00:00 GMT"), "2076");
  EXPECT_EQ(year("Wednesday, 15-Jul-76 12:00:01 GMT"), "1976");
  EXPECT_EQ(year("Friday, 15-Jul-77 12:00:00 GMT"), "1977");
  EXPECT_EQ(year("Friday, 15-Jul-26 12:00:00 GMT"), "2026");
  EXPECT_EQ(year("Friday, 15-Jul-00 12:00:00 GMT"), "2000");
}

TEST(DateTest, B4_YearsBeyondThirtyTwoBitsWork) {
  EXPECT_EQ(Seconds("Tue, 19 Jan 2038 03:14:08 GMT"), int64_t{1} << 31);
  EXPECT_EQ(Seconds("Sat, 20 Nov 2286 17:46:40 GMT"), 10'000'000'000);
  EXPECT_EQ(Seconds("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_EQ(Seconds("Fri, 31 Dec 9999 23:59:59 GMT"), 253402300799);
  EXPECT_EQ(Seconds("Wed, 31 Dec 1969 23:59:59 GMT"), -1);
}

TEST(DateTest, B4_WhatIsNotAnHttpDateIsRefused) {
  for (const std::string_view text : {
           "",
           "0",
           "Sun",
           "Sun,",
           "never",
           "Sun, 06 Nov 1994 08:49:37 AEST",
           "Sun, 06 Nov 1994 08:49:37 UTC",
           "Sun, 06 Nov 1994 08:49:37 +0000",
           "Sun, 06 Nov 1994 08:49:37",
           "Sun, 06 Nov 1994 08:49:37 GMT ",
           " Sun, 06 Nov 1994 08:49:37 GMT",
           "Sun, 06 Nov 1994 08:49:37 GMT+1",
           "Sun, 06 Nov 94 08:49:37 GMT",
           "Sun 06 Nov 1994 08:49:37 GMT",
           "Sun, 06  Nov 1994 08:49:37 GMT",
           "Sun,  06 Nov 1994 08:49:37 GMT",
           "Sun, 06-Nov-1994 08:49:37 GMT",
           "Sun, 06 Nov 1994 08.49.37 GMT",
           "Sun, 06 Nov 1994 8:49:37 GMT",
           "Sun, 6 Nov 1994 08:49:37 GMT",
           "Sun, 06 Nov 1994 08:49 GMT",
           "Sun, 06 Nov 1994 24:00:00 GMT",
           "Sun, 06 Nov 1994 08:60:37 GMT",
           "Sun, 06 Nov 1994 08:49:61 GMT",
           "Sun, 31 Nov 1994 08:49:37 GMT",
           "Sun, 00 Nov 1994 08:49:37 GMT",
           "Sun, 29 Feb 2023 08:49:37 GMT",
           "Son, 06 Nov 1994 08:49:37 GMT",
           "Sun, 06 Mai 1994 08:49:37 GMT",
           "Sun, 06 Nov 01994 08:49:37 GMT",
           "Sun, 06-Nov-94 08:49:37 GMT",
           "Sunday, 06 Nov 1994 08:49:37 GMT",
           "Sunday, 06-Nov-94 08:49:37",
           "Sunday 06-Nov-94 08:49:37 GMT",
           "Sun Nov 6 08:49:37 1994",
           "Sun Nov  6 08:49:37 1994 GMT",
           "Sun Nov  6 08:49:37 94",
           "Sunday Nov  6 08:49:37 1994",
           "Sun Nov  06 08:49:37 1994",
           "784111777",
       }) {
    EXPECT_EQ(Seconds(text), std::nullopt) << text;
  }
}

TEST(DateTest, LeapDaysAndLeapSecondsAreDates) {
  EXPECT_TRUE(Seconds("Thu, 29 Feb 2024 00:00:00 GMT"));
  EXPECT_EQ(Seconds("Sat, 31 Dec 2016 23:59:60 GMT"), Seconds("Sun, 01 Jan 2017 00:00:00 GMT"));
}

TEST(DateTest, FormattedDatesAreReadBack) {
  EXPECT_EQ(FormatHttpDate(TimeFromUnixSeconds(784111777)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatHttpDate(TimeFromUnixMillis(784111777999)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(FormatHttpDate(TimeFromUnixMillis(-1)), "Wed, 31 Dec 1969 23:59:59 GMT");
  for (int64_t seconds = -4'000'000'000; seconds < 20'000'000'000; seconds += 86'377'311) {
    const std::string text = FormatHttpDate(TimeFromUnixSeconds(seconds));
    EXPECT_EQ(text.size(), 29U);
    EXPECT_EQ(Seconds(text), seconds) << text;
  }
}

TEST(DateTest, WhatWasParsedBeforeIsNotTakenForWhatOnlyLooksLikeIt) {
  // All of one length, with the same units of day, minute and second.
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Seconds("Thu, 01 Jan 2026 00:00:00 GMT"), 1767225600);
    EXPECT_EQ(Seconds("Thu, 01 Jan 2026 00:00:10 GMT"), 1767225610);
    EXPECT_FALSE(ParseHttpDate("Thu, 01 Jan 2026 00:00:00 UTC", kNow));
    EXPECT_EQ(Seconds("Wed, 11 Feb 2026 10:00:00 GMT"), 1770804000);
    EXPECT_EQ(Seconds("thu, 01 jan 2026 00:00:00 gmt"), 1767225600);
  }
}

TEST(DateTest, TimesOutOfRangeAreClamped) {
  EXPECT_EQ(FormatHttpDate(TimeFromUnixSeconds(300'000'000'000)), "Fri, 31 Dec 9999 23:59:59 GMT");
  EXPECT_EQ(FormatHttpDate(TimeFromUnixSeconds(-80'000'000'000)), "Sat, 01 Jan 0000 00:00:00 GMT");
}

}  // namespace
}  // namespace satchel::cache
