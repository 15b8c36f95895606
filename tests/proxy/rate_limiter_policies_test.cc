// Several policies at once, and what is more than a window.
#include "tests/proxy/limiter_fixture.h"

namespace satchel::proxy {
namespace {

TEST_F(RateLimiterRedisTest, SeveralPoliciesAreOneCallWithRoomEverywhereOrNothingCharged) {
  Node node(&address_, shared_, Patient());
  const auto key = Named(PolicyOf({Window(2, std::chrono::hours(1))}), "key");
  const auto all = Named(PolicyOf({Window(100, std::chrono::hours(1))}), "all");
  const std::vector<LimitCheck> checks = {CheckOf(key, "alice"), CheckOf(all, "everyone", 3)};
  for (int i = 0; i < 2; ++i) {
    LimitRequest request;
    node.AskWith(request, checks);
    ASSERT_EQ(request.verdicts().size(), 2u);
    EXPECT_TRUE(request.verdicts()[0].allowed && request.verdicts()[1].allowed);
    EXPECT_EQ(request.verdicts()[1].windows()[0].remaining, 97 - 3 * i);
  }
  const LimitVerdict refused = node.Ask(checks);
  EXPECT_TRUE(refused.Refuses());
  EXPECT_EQ(refused.policy, &key);
  EXPECT_EQ(server_.Calls("evalsha"), 3);
  // The second policy was not charged for the refused request.
  EXPECT_EQ(node.Ask(CheckOf(all, "everyone")).windows()[0].remaining, 93);
}

TEST_F(RateLimiterRedisTest, AShadowPolicyStandsInNobodysWay) {
  Node node(&address_, shared_, Patient());
  auto shadow = Named(PolicyOf({Window(1, std::chrono::hours(1))}), "shadow");
  shadow.mode = rules::LimitMode::kShadow;
  const auto real = Named(PolicyOf({Window(3, std::chrono::hours(1))}), "real");
  const std::vector<LimitCheck> checks = {CheckOf(shadow), CheckOf(real)};
  for (int i = 0; i < 3; ++i) {
    LimitRequest request;
    node.AskWith(request, checks);
    EXPECT_EQ(request.refusal(), nullptr) << i;
    ASSERT_EQ(request.verdicts().size(), 2u);
    EXPECT_EQ(request.verdicts()[1].allowed, i == 0);
  }
  EXPECT_TRUE(node.Ask(checks).Refuses());
}

TEST_F(RateLimiterRedisTest, ASlotIsHeldUntilTheRequestIsAnsweredByAnyInstance) {
  Node a(&address_, shared_, Patient());
  Node b(&address_, shared_, {.deadline_ms = 10'000, .token = "b"});
  auto policy = PolicyOf({});
  policy.plans[0].concurrent = 2;
  auto first = std::make_unique<LimitRequest>();
  LimitRequest second;
  EXPECT_TRUE(a.AskWith(*first, {CheckOf(policy)}).allowed);
  EXPECT_TRUE(b.AskWith(second, {CheckOf(policy)}).allowed);
  const LimitVerdict refused = a.Ask(CheckOf(policy));
  EXPECT_TRUE(refused.Refuses());
  EXPECT_EQ(refused.windows()[0].name, "concurrent");
  EXPECT_EQ(a.limiter->slots_held(), 1u);
  first.reset();
  EXPECT_EQ(a.limiter->slots_held(), 0u);
  EXPECT_TRUE(a.Ask(CheckOf(policy)).allowed);  // on one connection, hence in order
  second.ReleaseSlots();
  EXPECT_EQ(b.limiter->slots_held(), 0u);
  EXPECT_TRUE(TurnUntil(b.loop, [&] {
    a.loop.Turn(false);  // its last slot is on its way, too
    return server_.Keys("*:concurrent").empty();
  }));
}

TEST_F(RateLimiterRedisTest, ASlotGrantedToARequestThatHasGoneIsGivenBack) {
  Node node(&address_, shared_, Patient());
  auto policy = PolicyOf({});
  policy.plans[0].concurrent = 1;
  auto request = std::make_unique<LimitRequest>();
  request->checks() = {CheckOf(policy)};
  EXPECT_FALSE(request->Begin(*node.limiter, [] {}));
  node.loop.Turn(false);  // sent
  EXPECT_TRUE(node.limiter->counters().calls.Get() == 1 ||
              TurnUntil(node.loop, [&] { return node.limiter->counters().calls.Get() == 1; }));
  request.reset();
  EXPECT_TRUE(TurnUntil(node.loop, [&] { return node.Ask(CheckOf(policy)).allowed; }));
}

TEST_F(RateLimiterRedisTest, APenaltyHoldsInEveryInstance) {
  Node a(&address_, shared_, Patient());
  Node b(&address_, shared_, Patient());
  auto policy = PolicyOf({Window(1, std::chrono::milliseconds(20))});
  policy.penalty = std::chrono::hours(1);
  EXPECT_TRUE(TurnUntil(a.loop, [&] {
    return a.Ask(CheckOf(policy)).Refuses();  // two of them fell into one window
  }));
  TurnFor(b.loop, 30);
  const LimitVerdict refused = b.Ask(CheckOf(policy));
  EXPECT_TRUE(refused.Refuses());
  EXPECT_EQ(refused.windows()[static_cast<size_t>(refused.violated)].name, "penalty");
  EXPECT_GT(refused.wait_us(), int64_t{3590} * 1'000'000);
}

TEST_F(RateLimiterRedisTest, WhatAnAnswerCostsIsChargedAboveTheLimit) {
  Node node(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(10, std::chrono::hours(1))});
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
  node.limiter->ChargeAfter(CheckOf(policy), 25);
  const LimitVerdict refused = node.Ask(CheckOf(policy));
  EXPECT_TRUE(refused.Refuses());
  EXPECT_GT(refused.wait_us(), 0);
}

TEST_F(RateLimiterRedisTest, LeasesSaveCallsForABusyIdentity) {
  Node node(&address_, shared_, Patient());
  auto policy = PolicyOf({Window(100'000, std::chrono::hours(1))});
  policy.lease = true;
  int64_t last = 100'000;
  for (int i = 0; i < 8000; ++i) {
    const LimitVerdict verdict = node.Ask(CheckOf(policy));
    ASSERT_TRUE(verdict.allowed);
    ASSERT_LT(verdict.windows()[0].remaining, last);
    last = verdict.windows()[0].remaining;
  }
  EXPECT_LT(node.limiter->counters().calls.Get(), 5000u);
  EXPECT_GT(node.limiter->counters().from_lease.Get(), 3000u);
}

TEST_F(RateLimiterRedisTest, ALogOfFewEntriesIsNeverOver) {
  Node node(&address_, shared_, Patient());
  auto policy = PolicyOf({Window(1000, std::chrono::hours(1))});
  policy.max_entries = 16;
  std::vector<std::unique_ptr<Question>> pending;
  int allowed = 0;
  int answered = 0;
  for (int i = 0; i < 1100; ++i) {
    pending.push_back(
        std::make_unique<Question>(*node.limiter, CheckOf(policy), [&](const LimitVerdict& v) {
          ++answered;
          allowed += v.allowed ? 1 : 0;
        }));
    if (i % 7 == 0) node.loop.Turn(false);
  }
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return answered == 1100; }));
  EXPECT_EQ(allowed, 1000);
  EXPECT_LE(std::stol(server_.Command({"ZCARD", server_.Keys().front()})), 17);
}

}  // namespace
}  // namespace satchel::proxy
