#include "rules/limit_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace satchel::rules {
namespace {

constexpr int64_t kSecond = 1'000'000;

Plan PlanOf(std::initializer_list<std::pair<uint64_t, int64_t>> limits, uint32_t concurrent = 0) {
  Plan plan;
  for (const auto& [limit, window] : limits) {
    plan.windows.push_back({std::to_string(window), limit, std::chrono::microseconds(window)});
  }
  plan.concurrent = concurrent;
  return plan;
}

struct Verdict {
  int64_t granted = 0;
  LimitStates states;
};

Verdict Ask(LimitTable& table, LimitAsk ask, int64_t now, Charge charge = {}) {
  Verdict verdict;
  LimitTable::Node* const node = table.Find(ask, now);
  verdict.granted = LimitTable::Check({&node, 1}, {&ask, 1}, charge, now, {&verdict.states, 1});
  return verdict;
}

TEST(LimitTableTest, IdentitiesDoNotShareTheirWindows) {
  LimitTable table(10);
  const Plan plan = PlanOf({{1, kSecond}});
  EXPECT_EQ(Ask(table, {"a", &plan}, 0).granted, 1);
  EXPECT_EQ(Ask(table, {"a", &plan}, 1).granted, 0);
  EXPECT_EQ(Ask(table, {"b", &plan}, 1).granted, 1);
}

TEST(LimitTableTest, TheLeastRecentlyUsedIdentityIsForgotten) {
  LimitTable table(2);
  const Plan plan = PlanOf({{1, kSecond}});
  Ask(table, {"a", &plan}, 0);
  Ask(table, {"b", &plan}, 1);
  Ask(table, {"a", &plan}, 2);
  Ask(table, {"c", &plan}, 3);  // b goes
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(table.evictions(), 1U);
  EXPECT_EQ(Ask(table, {"a", &plan}, 4).granted, 0);
  EXPECT_EQ(Ask(table, {"b", &plan}, 5).granted, 1);
}

TEST(LimitTableTest, IdleIdentitiesLeaveWithoutCountingAsEvicted) {
  LimitTable table(100);
  const Plan plan = PlanOf({{1, kSecond}});
  for (int i = 0; i < 50; ++i) Ask(table, {std::to_string(i), &plan}, i);
  for (int i = 0; i < 50; ++i) Ask(table, {"x" + std::to_string(i), &plan}, 10 * kSecond + i);
  EXPECT_EQ(table.size(), 50U);
  EXPECT_EQ(table.evictions(), 0U);
}

TEST(LimitTableTest, ARaisedLimitKeepsWhatWasCounted) {
  LimitTable table(10);
  const Plan before = PlanOf({{1, kSecond}});
  const Plan after = PlanOf({{9, 5 * kSecond}, {3, kSecond}});
  EXPECT_EQ(Ask(table, {"a", &before}, 0).granted, 1);
  const Verdict verdict = Ask(table, {"a", &after}, 1);
  EXPECT_EQ(verdict.granted, 1);
  ASSERT_EQ(verdict.states.count, 2U);
  EXPECT_EQ(verdict.states.states[0].remaining, 8);
  EXPECT_EQ(verdict.states.states[1].remaining, 1);
}

TEST(LimitTableTest, AllPoliciesOfARequestHaveRoomOrNoneIsCharged) {
  LimitTable table(10);
  const Plan wide = PlanOf({{10, kSecond}});
  const Plan narrow = PlanOf({{1, kSecond}});
  const std::vector<LimitAsk> asks = {{"k:narrow", &narrow}, {"k:wide", &wide, 3}};
  std::vector<LimitStates> states(2);
  const auto check = [&](int64_t now) {
    const std::vector<LimitTable::Node*> nodes = {table.Find(asks[0], now),
                                                  table.Find(asks[1], now, 1)};
    return LimitTable::Check(nodes, asks, {}, now, states);
  };
  EXPECT_EQ(check(0), 1);
  EXPECT_EQ(check(1), 0);
  EXPECT_EQ(states[1].states[0].remaining, 7);
  EXPECT_GT(states[0].states[0].wait, 0);
  EXPECT_EQ(states[1].states[0].wait, 0);
}

TEST(LimitTableTest, NodesInUseAreNotForgottenForOneAnother) {
  LimitTable table(1);
  const Plan plan = PlanOf({{1, kSecond}});
  const std::vector<LimitAsk> asks = {{"a", &plan}, {"b", &plan}, {"c", &plan}};
  std::vector<LimitTable::Node*> nodes;
  for (const LimitAsk& ask : asks) nodes.push_back(table.Find(ask, 0, nodes.size()));
  std::vector<LimitStates> states(3);
  EXPECT_EQ(LimitTable::Check(nodes, asks, {}, 0, states), 1);
  EXPECT_EQ(table.size(), 3U);
  Ask(table, {"d", &plan}, 1);
  EXPECT_EQ(table.size(), 1U);
}

TEST(LimitTableTest, SlotsAreTakenAndGivenBack) {
  LimitTable table(10);
  const Plan plan = PlanOf({}, 2);
  EXPECT_EQ(Ask(table, {"a", &plan}, 0).granted, 1);
  EXPECT_EQ(Ask(table, {"a", &plan}, 0).granted, 1);
  const Verdict refused = Ask(table, {"a", &plan}, 0);
  EXPECT_EQ(refused.granted, 0);
  ASSERT_EQ(refused.states.count, 1U);
  EXPECT_EQ(refused.states.states[0], (WindowState{0, 0, LimitStates::kSlotWait}));
  table.GiveBack("a", 1);
  EXPECT_EQ(Ask(table, {"a", &plan}, 0).granted, 1);
  table.GiveBack("a", 99);  // more than there are
  EXPECT_EQ(Ask(table, {"a", &plan}, 0, {.count = 5}).granted, 2);
}

TEST(LimitTableTest, ASlotIsOnlyTakenWhereTheWindowsHaveRoom) {
  LimitTable table(10);
  const Plan plan = PlanOf({{1, kSecond}}, 5);
  EXPECT_EQ(Ask(table, {"a", &plan}, 0).granted, 1);
  const Verdict refused = Ask(table, {"a", &plan}, 1);
  EXPECT_EQ(refused.granted, 0);
  EXPECT_EQ(refused.states.states[1].remaining, 4);
}

TEST(LimitTableTest, WhoIsRefusedStaysRefusedForThePenalty) {
  LimitTable table(10);
  const Plan plan = PlanOf({{1, kSecond}});
  const LimitAsk ask{.key = "a", .plan = &plan, .penalty = 5 * kSecond};
  EXPECT_EQ(Ask(table, ask, 0).granted, 1);
  const Verdict refused = Ask(table, ask, 100);
  EXPECT_EQ(refused.granted, 0);
  EXPECT_EQ(refused.states.states[1].wait, 5 * kSecond);
  EXPECT_EQ(Ask(table, ask, 2 * kSecond).granted, 0);  // and asking does not make it longer
  EXPECT_EQ(Ask(table, ask, 100 + 5 * kSecond - 1).granted, 0);
  EXPECT_EQ(Ask(table, ask, 100 + 5 * kSecond).granted, 1);
}

TEST(LimitTableTest, AForgottenIdentityBeginsAnewButKeepsItsSlots) {
  LimitTable table(10);
  const Plan plan = PlanOf({{1, kSecond}}, 1);
  EXPECT_FALSE(table.Forget("a"));
  EXPECT_EQ(Ask(table, {"a", &plan}, 0).granted, 1);
  EXPECT_TRUE(table.Forget("a"));
  const Verdict verdict = Ask(table, {"a", &plan}, 1);
  EXPECT_EQ(verdict.granted, 0);
  EXPECT_EQ(verdict.states.states[0].remaining, 1);  // the window is empty
  table.GiveBack("a", 1);
  EXPECT_EQ(Ask(table, {"a", &plan}, 2).granted, 1);
}

TEST(LimitTableTest, DebtIsChargedToWindowsAlone) {
  LimitTable table(10);
  const Plan plan = PlanOf({{3, kSecond}}, 1);
  LimitAsk ask{.key = "a", .plan = &plan, .slots = false};
  EXPECT_EQ(Ask(table, ask, 0, {.count = 7, .force = true}).granted, 7);
  const Verdict look = Ask(table, {"a", &plan}, 1, {.count = 0});
  EXPECT_EQ(look.states.states[0].remaining, -4);
  EXPECT_EQ(look.states.states[1].remaining, 1);
}

}  // namespace
}  // namespace satchel::rules
