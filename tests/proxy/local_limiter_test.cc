#include "proxy/local_limiter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "tests/support/concurrency.h"

namespace satchel::proxy {
namespace {

int64_t Ask(LocalLimiter& limiter, const std::string& key, const rules::Plan& plan, int64_t now) {
  const rules::LimitAsk ask{.key = key, .plan = &plan};
  rules::LimitStates states;
  return limiter.Check({&ask, 1}, {}, now, {&states, 1});
}

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
      admitted += static_cast<int>(Ask(limiter, "id", plan, 1'000'000 + i));
    }
  });
  EXPECT_EQ(admitted.load(), 500);
}

TEST(LocalLimiterTest, IdentitiesDoNotTouchEachOther) {
  LocalLimiter limiter;
  const rules::Plan plan = PlanOf(1, 60'000'000);
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "id" + std::to_string(i);
    EXPECT_EQ(Ask(limiter, id, plan, 1000), 1);
    EXPECT_EQ(Ask(limiter, id, plan, 1001), 0);
  }
  EXPECT_EQ(limiter.identities(), 1000u);
}

TEST(LocalLimiterTest, ThreadsThatAskForSeveralIdentitiesDoNotWaitForEachOther) {
  LocalLimiter limiter;
  const rules::Plan plan = PlanOf(300, 60'000'000);
  std::atomic<int> admitted{0};
  testing::RunTogether(8, [&](size_t thread) {
    for (int i = 0; i < 500; ++i) {
      // Every thread in another order.
      std::vector<rules::LimitAsk> asks;
      std::array<std::string, 3> keys = {"a", "b", "c"};
      std::rotate(keys.begin(), keys.begin() + thread % 3, keys.end());
      for (const std::string& key : keys) asks.push_back({.key = key, .plan = &plan});
      std::array<rules::LimitStates, 3> states;
      admitted += static_cast<int>(limiter.Check(asks, {}, 1000 + i, states));
    }
  });
  EXPECT_EQ(admitted.load(), 300);
}

TEST(LocalLimiterTest, TheTableIsBounded) {
  LocalLimiter limiter(64);
  const rules::Plan plan = PlanOf(1, 60'000'000);
  for (int i = 0; i < 10'000; ++i) Ask(limiter, "id" + std::to_string(i), plan, 1000);
  EXPECT_LE(limiter.identities(), 64u);
  EXPECT_GE(limiter.evictions(), 9000u);
}

}  // namespace
}  // namespace satchel::proxy
