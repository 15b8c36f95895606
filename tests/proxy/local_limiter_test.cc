#include "proxy/local_limiter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "tests/support/concurrency.h"

namespace satchel::proxy {
namespace {

rules::Plan PlanOf(uint64_t limit, int64_t window_us) {
  rules::Plan plan;
  plan.windows.push_back({"w", limit, std::chrono::microseconds(window_us)});
  return plan;
}

TEST(LocalLimiterTest, ThreadsTogetherGetExactlyTheLimit) {
  LocalLimiter limiter;
  const rules::Plan plan = PlanOf(500, 60'000'000);
  std::atomic<int> admitted{0};
  testing::RunTogether(8, [&](size_t) {
    for (int i = 0; i < 1000; ++i) {
      admitted += static_cast<int>(limiter.Check("id", plan, {}, 1'000'000 + i).granted);
    }
  });
  EXPECT_EQ(admitted.load(), 500);
}

TEST(LocalLimiterTest, IdentitiesDoNotTouchEachOther) {
  LocalLimiter limiter;
  const rules::Plan plan = PlanOf(1, 60'000'000);
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "id" + std::to_string(i);
    EXPECT_EQ(limiter.Check(id, plan, {}, 1000).granted, 1);
    EXPECT_EQ(limiter.Check(id, plan, {}, 1001).granted, 0);
  }
  EXPECT_EQ(limiter.identities(), 1000u);
}

TEST(LocalLimiterTest, TheTableIsBounded) {
  LocalLimiter limiter(64);
  const rules::Plan plan = PlanOf(1, 60'000'000);
  for (int i = 0; i < 10'000; ++i) limiter.Check("id" + std::to_string(i), plan, {}, 1000);
  EXPECT_LE(limiter.identities(), 64u);
  EXPECT_GE(limiter.evictions(), 9000u);
}

}  // namespace
}  // namespace satchel::proxy
