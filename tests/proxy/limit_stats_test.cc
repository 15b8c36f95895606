#include "proxy/limit_stats.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "proxy/limit_admission.h"
#include "proxy/limit_switch.h"
#include "proxy/net/sha256.h"

namespace satchel::proxy {
namespace {

rules::RateLimitPolicy PolicyOf(std::string name) {
  rules::RateLimitPolicy policy;
  policy.name = std::move(name);
  policy.plans.resize(1);
  policy.plans[0].windows = {{"w", 10, std::chrono::seconds(1)}};
  return policy;
}

LimitVerdict Verdict(const LimitCheck& check, bool allowed, int64_t remaining) {
  rules::LimitStates states;
  states.count = 1;
  states.states[0] = {remaining, 1, allowed ? 0 : 5};
  return VerdictOf(check, allowed, LimitVerdict::Source::kRedis, states);
}

TEST(LimitStatsTest, VerdictsAreCountedByPolicyAndPlan) {
  LimitStats stats;
  auto policy = PolicyOf("api");
  const LimitCheck check{.policy = &policy, .plan = &policy.plans[0], .cost = 3};
  LimitStats::Series& series = stats.For(check);
  EXPECT_EQ(&series, &stats.For(check));
  EXPECT_EQ(series.plan, "inline");
  stats.Count(series, check, Verdict(check, true, 5), 0);
  stats.Count(series, check, Verdict(check, true, 1), 0);
  stats.Count(series, check, Verdict(check, false, 0), 0);
  policy.mode = rules::LimitMode::kShadow;
  stats.Count(series, check, Verdict(check, false, 0), 0);
  EXPECT_EQ(series.allowed.load(), 2u);
  EXPECT_EQ(series.near_limit.load(), 1u);
  EXPECT_EQ(series.refused.load(), 1u);
  EXPECT_EQ(series.shadow.load(), 1u);
  EXPECT_EQ(series.units.load(), 6u);
}

TEST(LimitStatsTest, LabelsAreBounded) {
  LimitStats stats;
  for (size_t i = 0; i < 2 * LimitStats::kMaxSeries; ++i) {
    const auto policy = PolicyOf("p" + std::to_string(i));
    const LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
    stats.Count(stats.For(check), check, Verdict(check, true, 5), 0);
  }
  const auto all = stats.All();
  ASSERT_EQ(all.size(), LimitStats::kMaxSeries + 1);
  EXPECT_EQ(all.back()->policy, "other");
  EXPECT_EQ(all.back()->allowed.load(), LimitStats::kMaxSeries);
}

TEST(LimitStatsTest, WhoAsksMostIsFoundAmongMany) {
  LimitStats stats;
  const auto policy = PolicyOf("api");
  LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  LimitStats::Series& series = stats.For(check);
  const auto heavy = net::Digest22("heavy");
  for (int i = 0; i < 20'000; ++i) {
    check.id = i % 10 == 0 ? heavy : net::Digest22(std::to_string(i));
    stats.Count(series, check, Verdict(check, i % 20 != 0, 5), i);
  }
  const auto top = stats.Top(3);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].id, heavy);
  EXPECT_GE(top[0].checks, 2000u);
  EXPECT_GE(top[0].refused, 900u);
}

TEST(LimitStatsTest, WhatWasLongAgoWeighsLess) {
  LimitStats stats;
  const auto policy = PolicyOf("api");
  const LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  LimitStats::Series& series = stats.For(check);
  for (int i = 0; i < 1000; ++i) stats.Count(series, check, Verdict(check, true, 5), 1);
  stats.Count(series, check, Verdict(check, true, 5), 120'000);
  EXPECT_LE(stats.Top(1)[0].checks, 501u);
}

TEST(LimitSwitchTest, OnePolicyOrAllCanBeTurnedOff) {
  LimitSwitch kill;
  EXPECT_TRUE(kill.IsOn("a"));
  kill.Set("a", false);
  EXPECT_FALSE(kill.IsOn("a"));
  EXPECT_TRUE(kill.IsOn("b"));
  EXPECT_EQ(kill.off(), LimitSwitch::Names{"a"});
  kill.Set(LimitSwitch::kAll, false);
  EXPECT_FALSE(kill.IsOn("b"));
  kill.Set("b", true);  // all is all
  EXPECT_FALSE(kill.IsOn("b"));
  kill.Set(LimitSwitch::kAll, true);
  EXPECT_TRUE(kill.IsOn("a"));
  EXPECT_EQ(kill.Replace({"c"}), LimitSwitch::Names());
  EXPECT_FALSE(kill.IsOn("c"));
  EXPECT_EQ(kill.Replace({}), LimitSwitch::Names{"c"});
  EXPECT_TRUE(kill.IsOn("c"));
}

TEST(CostAfterTest, WhatTheAnswerSaysBeyondWhatWasChargedIsCharged) {
  auto policy = PolicyOf("api");
  cache::HeaderMap answer;
  answer.Add("X-Cost", "12");
  EXPECT_EQ(CostAfter(policy, answer, 1), 0);  // nobody asked for it
  policy.cost_field = {.name = "x-cost", .max = 50};
  EXPECT_EQ(CostAfter(policy, answer, 2), 10);
  EXPECT_EQ(CostAfter(policy, answer, 20), 0);
  EXPECT_EQ(CostAfter(policy, {}, 1), 0);
  for (const auto& [text, more] :
       std::initializer_list<std::pair<const char*, int64_t>>{{"0", 0},
                                                              {"-5", 0},
                                                              {"", 0},
                                                              {"9x", 0},
                                                              {"1e3", 0},
                                                              {"99", 49},
                                                              {"99999999999999999999999", 49}}) {
    answer.Set("X-Cost", text);
    EXPECT_EQ(CostAfter(policy, answer, 1), more) << text;
  }
}

}  // namespace
}  // namespace satchel::proxy
