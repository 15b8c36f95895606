#include "proxy/net/backoff.h"

#include <gtest/gtest.h>

namespace satchel::net {
namespace {

TEST(BackoffTest, DoublesUpToTheCapAndStartsOver) {
  Backoff backoff({.first_ms = 50, .max_ms = 300, .factor = 2, .jitter = 0.5}, [] { return 0.0; });
  EXPECT_EQ(backoff.Next(), 50);
  EXPECT_EQ(backoff.Next(), 100);
  EXPECT_EQ(backoff.Next(), 200);
  EXPECT_EQ(backoff.Next(), 300);
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(backoff.Next(), 300);
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), 50);
}

TEST(BackoffTest, JitterOnlyShortens) {
  double random = 0;
  Backoff backoff({.first_ms = 1000, .max_ms = 1000, .factor = 2, .jitter = 0.5},
                  [&] { return random; });
  EXPECT_EQ(backoff.Next(), 1000);
  random = 0.5;
  EXPECT_EQ(backoff.Next(), 750);
  random = 0.999999;
  EXPECT_EQ(backoff.Next(), 500);
}

TEST(BackoffTest, NeverWaitsForNothing) {
  Backoff backoff({.first_ms = 1, .max_ms = 1, .factor = 2, .jitter = 1}, [] { return 0.99; });
  EXPECT_EQ(backoff.Next(), 1);
}

TEST(BackoffTest, RandomUnitStaysInItsRange) {
  for (int i = 0; i < 1000; ++i) {
    const double r = RandomUnit();
    EXPECT_GE(r, 0);
    EXPECT_LT(r, 1);
  }
}

}  // namespace
}  // namespace satchel::net
