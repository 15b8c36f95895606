#include "cache/fetch_time.h"

#include <gtest/gtest.h>

namespace satchel::cache {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

TEST(FetchTimeTest, OneByteIsExactWhenSmallAndRoundsUpByASixteenthAtMost) {
  EXPECT_EQ(UnpackFetchTime(0), Millis(0));
  EXPECT_EQ(UnpackFetchTime(PackFetchTime(Millis(0))), Millis(1));
  EXPECT_EQ(UnpackFetchTime(PackFetchTime(Millis(-5))), Millis(1));
  for (int64_t ms = 1; ms < 500'000; ++ms) {
    const Millis kept = UnpackFetchTime(PackFetchTime(Millis(ms)));
    if (ms < 32) {
      ASSERT_EQ(kept, Millis(ms));
    }
    ASSERT_GE(kept, Millis(ms));
    ASSERT_LE(kept.count(), ms + ms / 16);
  }
  EXPECT_EQ(PackFetchTime(std::chrono::hours(1)), 255);
}

TEST(FetchTimeTest, EveryByteIsTheShortFormOfWhatItStandsFor) {
  for (int packed = 1; packed < 256; ++packed) {
    EXPECT_EQ(PackFetchTime(UnpackFetchTime(static_cast<uint8_t>(packed))), packed);
  }
}

TEST(FetchTimeTest, TheAverageMovesByAQuarter) {
  EXPECT_EQ(SmoothFetchTime(Millis(0), Millis(100)), Millis(100));
  EXPECT_EQ(SmoothFetchTime(Millis(100), Millis(500)), Millis(200));
}

constexpr LockBounds kBounds = {seconds(10), seconds(5), seconds(15)};

TEST(LockLifetimeTest, IsTwiceTheExpectedFetchWithinItsBounds) {
  EXPECT_EQ(LockLifetime(seconds(3), kBounds), seconds(6));
  EXPECT_EQ(LockLifetime(Millis(20), kBounds), seconds(2));
  EXPECT_EQ(LockLifetime(minutes(3), kBounds), seconds(10));
  EXPECT_EQ(LockLifetime(minutes(3), {minutes(9), seconds(5), seconds(15)}), seconds(16));
  EXPECT_EQ(LockLifetime(minutes(3), {minutes(9), seconds(5), Millis(0)}), minutes(6));
  EXPECT_EQ(LockLifetime(Millis(20), {Millis(500), seconds(5), seconds(15)}), Millis(500));
}

TEST(LockLifetimeTest, WhereNothingIsKnownThoseWhoWaitStillFindAnHeir) {
  EXPECT_EQ(LockLifetime(Millis(0), kBounds), seconds(4));
  EXPECT_EQ(LockLifetime(Millis(0), {seconds(10), Millis(0), seconds(15)}), seconds(10));
  EXPECT_EQ(LockLifetime(Millis(0), {seconds(10), Millis(1), seconds(15)}), Millis(1));
}

}  // namespace
}  // namespace satchel::cache
