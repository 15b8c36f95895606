#include "proxy/limit_debts.h"

#include <gtest/gtest.h>

#include "proxy/limit_keys.h"

namespace satchel::proxy {
namespace {

constexpr int64_t kSecond = 1'000'000;

class LimitDebtsTest : public ::testing::Test {
 protected:
  LimitDebtsTest() {
    policy_.name = "api";
    policy_.plans.resize(1);
    policy_.plans[0].windows = {{"s", 10, std::chrono::seconds(1)},
                                {"h", 1000, std::chrono::hours(1)}};
  }
  LimitCheck Check(char who) const {
    LimitCheck check{.policy = &policy_, .plan = &policy_.plans[0]};
    check.id.fill(who);
    return check;
  }
  rules::RateLimitPolicy policy_;
};

TEST_F(LimitDebtsTest, OnlyWhatIsStillInItsWindowIsOwed) {
  LimitDebts debts;
  debts.Add(Check('a'), 3, 0);
  debts.Add(Check('a'), 2, 5 * kSecond);
  EXPECT_EQ(debts.size(), 1u);
  const auto owed = debts.Take(10, 5 * kSecond + kSecond / 2);
  ASSERT_EQ(owed.size(), 1u);
  EXPECT_EQ(owed[0].policy, "api");
  EXPECT_EQ(owed[0].units, (std::vector<int64_t>{2, 5}));
  EXPECT_TRUE(debts.empty());
}

TEST_F(LimitDebtsTest, WhatHasLeftAllItsWindowsIsForgiven) {
  LimitDebts debts;
  debts.Add(Check('a'), 3, 0);
  EXPECT_TRUE(debts.Take(10, 3601 * kSecond).empty());
  EXPECT_TRUE(debts.empty());
}

TEST_F(LimitDebtsTest, AChargeThatWasNotSentIsOwedAgain) {
  LimitDebts debts;
  debts.Add(Check('a'), 3, 0);
  debts.Add(Check('b'), 1, 0);
  const auto owed = debts.Take(10, 1);
  EXPECT_EQ(owed.size(), 2u);
  for (const auto& debt : owed) debts.PutBack(debt, 2);
  EXPECT_EQ(debts.size(), 2u);
  int64_t sum = 0;
  for (const auto& debt : debts.Take(10, 3)) sum += debt.units[1];
  EXPECT_EQ(sum, 4);
}

TEST_F(LimitDebtsTest, TheListIsBoundedAndWhatFindsNoRoomIsCounted) {
  LimitDebts debts(2);
  for (const char who : {'a', 'b', 'c', 'd'}) debts.Add(Check(who), 1, 0);
  debts.Add(Check('a'), 1, 0);
  EXPECT_EQ(debts.size(), 2u);
  EXPECT_EQ(debts.lost(), 2u);
}

TEST_F(LimitDebtsTest, ThoseOfOneIdentityCanBeForgotten) {
  LimitDebts debts;
  debts.Add(Check('a'), 1, 0);
  debts.Add(Check('b'), 1, 0);
  EXPECT_TRUE(debts.Forget(LocalKey(Check('a'))));
  EXPECT_FALSE(debts.Forget(LocalKey(Check('a'))));
  EXPECT_EQ(debts.size(), 1u);
}

}  // namespace
}  // namespace satchel::proxy
