#include "proxy/net/breaker.h"

#include <gtest/gtest.h>

namespace satchel::net {
namespace {

constexpr double kNoJitter = 0.5;

Breaker::Options Three() { return {.failures = 3, .open_ms = 1000, .max_open_ms = 3000}; }

void OpenIt(Breaker& breaker, int64_t now) {
  for (int i = 0; i < 3; ++i) breaker.Failure(now, kNoJitter);
}

TEST(BreakerTest, FewFailuresOpenItOnlyInARow) {
  Breaker breaker(Three());
  for (int i = 0; i < 6; ++i) {  // 12 of 18
    EXPECT_FALSE(breaker.Failure(0, kNoJitter));
    EXPECT_FALSE(breaker.Failure(0, kNoJitter));
    EXPECT_FALSE(breaker.Success(0));
  }
  EXPECT_FALSE(breaker.Failure(2000, kNoJitter));
  EXPECT_FALSE(breaker.Failure(2000, kNoJitter));
  EXPECT_TRUE(breaker.closed());
  EXPECT_TRUE(breaker.Failure(2000, kNoJitter));
  EXPECT_FALSE(breaker.closed());
}

TEST(BreakerTest, LetsOneProbeThroughAfterTheTime) {
  Breaker breaker(Three());
  EXPECT_FALSE(breaker.TryProbe(0));
  OpenIt(breaker, 100);
  EXPECT_EQ(breaker.probe_at_ms(), 1100);
  EXPECT_FALSE(breaker.TryProbe(1099));
  EXPECT_TRUE(breaker.TryProbe(1100));
  EXPECT_FALSE(breaker.TryProbe(1100));
  EXPECT_FALSE(breaker.closed());
  EXPECT_TRUE(breaker.Success(0));
  EXPECT_TRUE(breaker.closed());
}

TEST(BreakerTest, FailedProbesDoubleTheTimeUpToTheCapAndSuccessForgetsIt) {
  Breaker breaker(Three());
  OpenIt(breaker, 0);
  int64_t now = 1000;
  for (const int64_t wait : {2000, 3000, 3000}) {
    ASSERT_TRUE(breaker.TryProbe(now));
    EXPECT_FALSE(breaker.Failure(now, kNoJitter));
    EXPECT_EQ(breaker.probe_at_ms(), now + wait);
    now += wait;
  }
  ASSERT_TRUE(breaker.TryProbe(now));
  EXPECT_TRUE(breaker.Success(0));
  OpenIt(breaker, now);
  EXPECT_EQ(breaker.probe_at_ms(), now + 1000);
}

TEST(BreakerTest, OutcomesOfEarlierCallsChangeNothingWhileOpen) {
  Breaker breaker(Three());
  OpenIt(breaker, 0);
  EXPECT_FALSE(breaker.Success(0));
  EXPECT_FALSE(breaker.Failure(500, kNoJitter));
  EXPECT_EQ(breaker.state(), Breaker::State::kOpen);
  EXPECT_EQ(breaker.probe_at_ms(), 1000);
}

TEST(BreakerTest, HalfOfManyWithinAWindowOpensIt) {
  Breaker breaker({.failures = 100, .min_calls = 20, .window_ms = 1000});
  for (int i = 0; i < 9; ++i) {
    EXPECT_FALSE(breaker.Success(0));
    EXPECT_FALSE(breaker.Failure(400, kNoJitter));
  }
  EXPECT_FALSE(breaker.Success(600));
  EXPECT_TRUE(breaker.Failure(600, kNoJitter));  // 10 of 20
}

TEST(BreakerTest, AnOlderWindowIsForgotten) {
  Breaker breaker({.failures = 100, .min_calls = 20, .window_ms = 1000});
  for (int i = 0; i < 19; ++i) EXPECT_FALSE(breaker.Failure(0, kNoJitter));
  EXPECT_FALSE(breaker.Failure(1000, kNoJitter));
  Breaker healthy({.failures = 100, .min_calls = 20, .window_ms = 1000});
  for (int i = 0; i < 21; ++i) healthy.Success(0);
  for (int i = 0; i < 19; ++i) EXPECT_FALSE(healthy.Failure(0, kNoJitter));  // 19 of 40
}

TEST(BreakerTest, NewsOfTheServerAllowsAProbeBeforeItsTime) {
  Breaker breaker(Three());
  EXPECT_FALSE(breaker.ProbeNow());
  OpenIt(breaker, 0);
  EXPECT_TRUE(breaker.ProbeNow());
  EXPECT_FALSE(breaker.ProbeNow());
  EXPECT_TRUE(breaker.Success(1));
  EXPECT_TRUE(breaker.closed());
}

TEST(BreakerTest, JitterSpreadsTheProbesBothWays) {
  Breaker early(Three());
  Breaker late(Three());
  for (int i = 0; i < 3; ++i) {
    early.Failure(0, 0);
    late.Failure(0, 0.999999);
  }
  EXPECT_EQ(early.probe_at_ms(), 800);
  EXPECT_EQ(late.probe_at_ms(), 1199);
}

}  // namespace
}  // namespace satchel::net
