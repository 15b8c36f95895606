#include "proxy/live_count.h"

#include <gtest/gtest.h>

namespace satchel::proxy {
namespace {

TEST(LiveCountTest, MoreHoldsAtOnce) {
  LiveCount live;
  EXPECT_EQ(live.count(), 1U);
  live.Update(8, true, 0);
  EXPECT_EQ(live.count(), 8U);
  live.Update(9, false, 1);  // heard just before it went away
  EXPECT_EQ(live.count(), 9U);
}

TEST(LiveCountTest, FewerHoldsAfterRedisHasSaidSoLongEnough) {
  LiveCount live;
  live.Update(8, true, 0);
  live.Update(3, true, 1000);
  live.Update(3, true, 20'999);
  EXPECT_EQ(live.count(), 8U);
  live.Update(3, true, 21'000);
  EXPECT_EQ(live.count(), 3U);
}

TEST(LiveCountTest, ARedisThatWasEmptiedIsNotBelievedUntilAllHaveHadTheTimeToTell) {
  LiveCount live;
  live.Update(8, true, 0);
  live.Update(1, true, 1000);
  live.Update(5, true, 4000);
  live.Update(8, true, 6000);
  live.Update(7, true, 22'000);  // from here on
  live.Update(7, true, 41'000);
  EXPECT_EQ(live.count(), 8U);
  live.Update(7, true, 42'000);
  EXPECT_EQ(live.count(), 7U);
}

TEST(LiveCountTest, WhileRedisIsAwayTheCountHolds) {
  LiveCount live;
  live.Update(8, true, 0);
  live.Update(1, true, 1000);
  live.Update(1, false, 2000);
  live.Update(1, false, 60'000);
  live.Update(1, true, 61'000);
  EXPECT_EQ(live.count(), 8U);
}

}  // namespace
}  // namespace satchel::proxy
