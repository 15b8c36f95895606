#include "proxy/limit_leases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <queue>
#include <random>
#include <vector>

namespace satchel::proxy {
namespace {

constexpr int64_t kSecond = 1'000'000;

rules::RateLimitPolicy PolicyOf(uint64_t limit, int64_t window_us, bool lease = true) {
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = {{"w", limit, std::chrono::microseconds(window_us)}};
  policy.default_plan = 0;
  policy.lease = lease;
  return policy;
}

// Instances that lease from one exact log, on one clock. A call takes some time to arrive and some
// to return.
struct Fleet {
  Fleet(const rules::RateLimitPolicy& policy, size_t instances)
      : check{.policy = &policy, .plan = &policy.plans[0]}, leases(instances) {
    spec = rules::SpecOf(policy.plans[0].windows[0], policy.max_entries, 1);
  }

  // One request at `instance` at `now`: when it was admitted, or nothing.
  bool Ask(size_t instance, int64_t now) {
    const std::span<const LimitCheck> group(&check, 1);
    if (leases[instance].Use(7, group, now) != nullptr) return true;
    const int64_t length = LimitLeases::LengthFor(group);
    const int64_t ahead = length > 0 ? leases[instance].Ahead(7, group, 1, leases.size(), now) : 0;
    ++calls;
    rules::WindowLog* const one = &log;
    std::vector<rules::LimitStates> states(1);
    states[0].count = 1;
    const int64_t granted = rules::CheckWindows(
        {&one, 1}, {&spec, 1}, {.count = 1 + ahead, .lease = ahead > 0 ? length : 0}, now,
        {states[0].states.data(), 1});
    if (length > 0) {
      leases[instance].Store(7, group, std::max<int64_t>(0, granted - 1), now, states);
    }
    return granted > 0;
  }

  LimitCheck check;
  std::vector<LimitLeases> leases;
  rules::WindowLog log;
  rules::WindowSpec spec;
  int64_t calls = 0;
};

struct Result {
  std::vector<int64_t> admitted;
  int64_t calls = 0;
};

Result Simulate(const rules::RateLimitPolicy& policy, size_t instances, double per_second,
                int64_t length_us, unsigned seed) {
  Fleet fleet(policy, instances);
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(per_second / 1e6);
  Result result;
  double at = 1000;
  while (at < static_cast<double>(length_us)) {
    at += gap(random);
    const auto now = static_cast<int64_t>(at);
    if (fleet.Ask(random() % instances, now)) result.admitted.push_back(now);
  }
  result.calls = fleet.calls;
  return result;
}

void ExpectNoWindowOver(const Result& result, size_t limit, int64_t window) {
  for (size_t i = limit; i < result.admitted.size(); ++i) {
    ASSERT_GE(result.admitted[i] - result.admitted[i - limit], window) << i;
  }
}

TEST(LimitLeasesTest, NoWindowHoldsMoreThanTheLimitHoweverSlotsAreUsed) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    for (const double load : {0.3, 0.7, 1.0, 1.5, 5.0}) {
      const auto policy = PolicyOf(500, kSecond);
      const Result result = Simulate(policy, 1 + seed % 8, 500 * load, 4 * kSecond, seed);
      ASSERT_NO_FATAL_FAILURE(ExpectNoWindowOver(result, 500, kSecond)) << seed << " " << load;
    }
  }
}

TEST(LimitLeasesTest, HardlyAnySlotIsLost) {
  const auto with = PolicyOf(10'000, kSecond);
  const auto without = PolicyOf(10'000, kSecond, false);
  for (const size_t instances : {1, 3, 8}) {
    for (const double load : {0.7, 1.2, 3.0}) {
      const Result leased = Simulate(with, instances, 10'000 * load, 5 * kSecond, 5);
      const Result exact = Simulate(without, instances, 10'000 * load, 5 * kSecond, 5);
      EXPECT_GE(static_cast<double>(leased.admitted.size()),
                0.999 * static_cast<double>(exact.admitted.size()))
          << instances << " instances at " << load;
    }
  }
}

TEST(LimitLeasesTest, ABusyIdentityNeedsFewerCalls) {
  const Result result = Simulate(PolicyOf(1'000'000, 3600 * kSecond), 2, 5000, 5 * kSecond, 3);
  EXPECT_LT(static_cast<double>(result.calls), 0.3 * static_cast<double>(result.admitted.size()));
}

TEST(LimitLeasesTest, ARareIdentityTakesNothingAhead) {
  const Result result = Simulate(PolicyOf(1000, 10 * kSecond), 2, 5, 60 * kSecond, 3);
  EXPECT_EQ(result.calls, static_cast<int64_t>(result.admitted.size()));
}

TEST(LimitLeasesTest, SlotsAreNotUsedAfterTheLease) {
  const auto policy = PolicyOf(100, 10 * kSecond);
  const LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  const std::span<const LimitCheck> group(&check, 1);
  LimitLeases leases;
  leases.Ahead(1, group, 1, 1, 0);
  std::vector<rules::LimitStates> states(1);
  states[0].count = 1;
  leases.Store(1, group, 5, 1000, states);
  EXPECT_NE(leases.Use(1, group, 1000 + LimitLeases::kLongestUs - 1), nullptr);
  EXPECT_EQ(leases.Use(1, group, 1000 + LimitLeases::kLongestUs), nullptr);
  EXPECT_EQ(leases.Use(2, group, 1001), nullptr);
}

TEST(LimitLeasesTest, TheTableIsBounded) {
  const auto policy = PolicyOf(100, 10 * kSecond);
  const LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  LimitLeases leases;
  for (uint64_t i = 0; i < 2 * LimitLeases::kMax; ++i) leases.Ahead(i, {&check, 1}, 1, 1, 0);
  EXPECT_LE(leases.size(), LimitLeases::kMax);
}

TEST(LimitLeasesTest, AGroupLeasesOnlyIfAllItsPoliciesDo) {
  const auto with = PolicyOf(100, 10 * kSecond);
  const auto without = PolicyOf(100, 10 * kSecond, false);
  auto slots = with;
  slots.plans[0].concurrent = 3;
  const auto length = [](const rules::RateLimitPolicy& a, const rules::RateLimitPolicy& b) {
    const std::array<LimitCheck, 2> group = {LimitCheck{&a, &a.plans[0]},
                                             LimitCheck{&b, &b.plans[0]}};
    return LimitLeases::LengthFor(group);
  };
  EXPECT_EQ(length(with, with), LimitLeases::kLongestUs);
  EXPECT_EQ(length(with, without), 0);
  EXPECT_EQ(length(with, slots), 0);
  EXPECT_EQ(length(PolicyOf(9, 50'000), with), 500);
}

}  // namespace
}  // namespace satchel::proxy
