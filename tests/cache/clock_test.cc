#include "cache/base/clock.h"

#include <gtest/gtest.h>

namespace satchel::cache {
namespace {

using std::chrono::days;
using std::chrono::seconds;

TEST(PackedDurationTest, UpToTwentyFourDaysNothingIsLost) {
  for (const int64_t millis : {0, 1, 999, 1000, 1001, 2'073'599'999, 2'147'483'647}) {
    EXPECT_EQ(Millis(ShortMillis(Millis(millis))).count(), millis);
    EXPECT_EQ(Millis(ShortAge(Millis(millis))).count(), millis);
  }
}

TEST(PackedDurationTest, BeyondThemARightGoesDownAndAnAgeUp) {
  constexpr int64_t kFirst = int64_t{1} << 31;  // 2,147,483.648 s
  EXPECT_EQ(Millis(ShortMillis(Millis(kFirst))), seconds(2'147'483));
  EXPECT_EQ(Millis(ShortAge(Millis(kFirst))), seconds(2'147'484));
  EXPECT_EQ(Millis(ShortMillis(days(365))), days(365));
  EXPECT_EQ(Millis(ShortAge(days(365))), days(365));
  EXPECT_EQ(Millis(ShortAge(Millis(days(365)) + Millis(1))), days(365) + seconds(1));
  EXPECT_EQ(Millis(ShortMillis(Millis(days(365)) + Millis(999))), days(365));
}

TEST(PackedDurationTest, WhatIsLongerThanSixtyEightYearsOrNegativeIsTheNextThatCanBeKept) {
  constexpr seconds kLongest((int64_t{1} << 31) - 1);
  EXPECT_EQ(Millis(ShortMillis(days(365) * 100)), kLongest);
  EXPECT_EQ(Millis(ShortAge(days(365) * 100)), kLongest);
  EXPECT_EQ(Millis(ShortMillis(seconds(-1))), Millis(0));
  EXPECT_EQ(Millis(ShortAge(Millis::min())), Millis(0));
}

TEST(PackedDurationTest, ItsBitsAreTheDuration) {
  const ShortMillis year(days(365));
  EXPECT_EQ(ShortMillis::FromBits(year.bits()), year);
  EXPECT_GT(year, days(364));
  EXPECT_EQ(year - Millis(days(360)), Millis(days(5)));
}

}  // namespace
}  // namespace satchel::cache
