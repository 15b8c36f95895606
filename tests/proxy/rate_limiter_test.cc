#include "tests/proxy/limiter_fixture.h"

namespace satchel::proxy {
namespace {

TEST(RateLimiterTest, WithoutRedisTheWindowIsInTheProcessAndKnownAtOnce) {
  SharedLimits shared;
  Node a(nullptr, shared);
  Node b(nullptr, shared);
  const auto policy = PolicyOf({Window(3, std::chrono::hours(1))});
  for (int i = 0; i < 3; ++i) {
    const auto verdict = (i % 2 == 0 ? a : b).AskNow(CheckOf(policy));
    ASSERT_TRUE(verdict.has_value());
    EXPECT_TRUE(verdict->allowed);
    EXPECT_EQ(verdict->source, Source::kLocal);
    EXPECT_EQ(verdict->windows()[0].remaining, 2 - i);
  }
  const auto refused = b.AskNow(CheckOf(policy));
  EXPECT_FALSE(refused->allowed);
  EXPECT_TRUE(refused->Refuses());
  EXPECT_EQ(refused->violated, 0);
  EXPECT_GT(refused->wait_us(), int64_t{3599} * 1'000'000);
  EXPECT_TRUE(a.AskNow(CheckOf(policy, "bob"))->allowed);
}

TEST(RateLimiterTest, AShadowPolicyCountsAndNeverRefuses) {
  SharedLimits shared;
  Node node(nullptr, shared);
  auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  policy.mode = rules::LimitMode::kShadow;
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
  const LimitVerdict verdict = node.Ask(CheckOf(policy));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_FALSE(verdict.Refuses());
}

TEST_F(RateLimiterRedisTest, InstancesShareOneWindow) {
  Node a(&address_, shared_, Patient());
  Node b(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(4, std::chrono::hours(1))});
  for (int i = 0; i < 4; ++i) {
    const LimitVerdict verdict = (i % 2 == 0 ? a : b).Ask(CheckOf(policy));
    EXPECT_TRUE(verdict.allowed);
    EXPECT_EQ(verdict.source, Source::kRedis);
    ASSERT_EQ(verdict.windows().size(), 1u);
    EXPECT_EQ(verdict.windows()[0].remaining, 3 - i);
    EXPECT_EQ(verdict.windows()[0].limit, 4u);
    EXPECT_EQ(verdict.windows()[0].name, "hour");
  }
  const LimitVerdict refused = b.Ask(CheckOf(policy));
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.violated, 0);
  EXPECT_GT(refused.wait_us(), int64_t{3590} * 1'000'000);
  EXPECT_LE(refused.wait_us(), int64_t{3600} * 1'000'000);
}

TEST_F(RateLimiterRedisTest, ABurstFromManyThreadsAdmitsExactlyTheLimit) {
  const auto policy = PolicyOf({Window(40, std::chrono::hours(1))});
  std::mutex mutex;
  int admitted = 0;
  testing::RunTogether(8, [&](size_t) {
    Node node(&address_, shared_, Patient());
    std::vector<std::unique_ptr<Question>> pending;
    int own = 0;
    int answered = 0;
    for (int i = 0; i < 50; ++i) {
      pending.push_back(std::make_unique<Question>(
          *node.limiter, CheckOf(policy), [&](const LimitVerdict& verdict) {
            ++answered;
            EXPECT_TRUE(verdict.source == Source::kRedis || !verdict.allowed);
            own += verdict.allowed ? 1 : 0;
          }));
      if (i % 3 == 0) node.loop.Turn(false);
    }
    EXPECT_TRUE(TurnUntil(node.loop, [&] { return answered == 50; }));
    const std::lock_guard lock(mutex);
    admitted += own;
  });
  EXPECT_EQ(admitted, 40);
}

TEST_F(RateLimiterRedisTest, EqualChecksOfOneTurnAreOneCallWithTheirOwnRemainders) {
  Node node(&address_, shared_, Patient());
  const auto policy =
      PolicyOf({Window(5, std::chrono::hours(1)), Window(100, std::chrono::hours(2), "two")});
  std::vector<LimitVerdict> verdicts;
  std::vector<std::unique_ptr<Question>> pending;
  for (int i = 0; i < 8; ++i) {
    pending.push_back(std::make_unique<Question>(
        *node.limiter, CheckOf(policy),
        [&](const LimitVerdict& verdict) { verdicts.push_back(verdict); }));
  }
  pending[2].reset();  // changed its mind: charged nothing
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return verdicts.size() == 7; }));
  EXPECT_EQ(node.limiter->counters().calls.Get(), 1u);
  EXPECT_EQ(node.limiter->counters().coalesced.Get(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(verdicts[i].allowed, i < 5) << i;
    EXPECT_EQ(verdicts[i].windows()[0].remaining, i < 5 ? 4 - static_cast<int64_t>(i) : 0);
    EXPECT_EQ(verdicts[i].windows()[1].remaining, i < 5 ? 99 - static_cast<int64_t>(i) : 95);
    EXPECT_EQ(verdicts[i].violated, i < 5 ? -1 : 0);
  }
  EXPECT_EQ(server_.Calls("evalsha"), 1);
}

TEST_F(RateLimiterRedisTest, ARefusalIsRememberedForItsCostAndAbove) {
  Node node(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(10, std::chrono::hours(1))});
  EXPECT_TRUE(node.Ask(CheckOf(policy, "alice", 7)).allowed);
  EXPECT_FALSE(node.Ask(CheckOf(policy, "alice", 5)).allowed);
  const auto calls = node.limiter->counters().calls.Get();
  const auto again = node.AskNow(CheckOf(policy, "alice", 6));
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->allowed);
  EXPECT_EQ(again->source, Source::kRefusal);
  EXPECT_GT(again->wait_us(), int64_t{3590} * 1'000'000);
  EXPECT_EQ(node.limiter->counters().calls.Get(), calls);
  EXPECT_TRUE(node.Ask(CheckOf(policy, "alice", 3)).allowed);  // a smaller cost may fit
  EXPECT_TRUE(node.Ask(CheckOf(policy, "bob", 6)).allowed);
  node.limiter->ForgetConfiguration();
  EXPECT_FALSE(node.AskNow(CheckOf(policy, "alice", 6)).has_value());
}

TEST_F(RateLimiterRedisTest, WhoWaitsAsToldGetsInAndTheRefusalIsForgottenByThen) {
  Node node(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(1, std::chrono::milliseconds(80))});
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(node.Ask(CheckOf(policy)).allowed) << round;
    const LimitVerdict refused = node.Ask(CheckOf(policy));
    if (refused.allowed) continue;  // the machine was busy for a whole window
    const int64_t until = net::EventLoop::ReadClockNs() / 1000 + refused.wait_us();
    while (net::EventLoop::ReadClockNs() / 1000 < until) node.loop.Turn(false);
  }
}

TEST_F(RateLimiterRedisTest, ARefusalIsHeldAtMostAsLongAsTheCap) {
  Node node(&address_, shared_, {.deadline_ms = 10'000, .refusals = {.cap_us = 50'000}});
  const auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  node.Ask(CheckOf(policy));
  EXPECT_FALSE(node.Ask(CheckOf(policy)).allowed);
  server_.Command({"FLUSHALL"});
  TurnFor(node.loop, 60);
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
}

TEST_F(RateLimiterRedisTest, TheTableOfRefusalsIsBounded) {
  Node node(&address_, shared_, {.deadline_ms = 10'000, .refusals = {.max = 8}});
  const auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  for (int i = 0; i < 40; ++i) {
    const std::string who = std::to_string(i);
    node.Ask(CheckOf(policy, who));
    EXPECT_FALSE(node.Ask(CheckOf(policy, who)).allowed);
  }
  int remembered = 0;
  for (int i = 0; i < 40; ++i) {
    remembered += node.AskNow(CheckOf(policy, std::to_string(i))).has_value() ? 1 : 0;
  }
  EXPECT_GE(remembered, 1);
  EXPECT_LE(remembered, 8);
}

TEST_F(RateLimiterRedisTest, ACostAboveTheLimitNeverFits) {
  Node node(&address_, shared_, Patient());
  const auto policy =
      PolicyOf({Window(3, std::chrono::hours(1)), Window(100, std::chrono::hours(1), "b")});
  const LimitVerdict verdict = node.Ask(CheckOf(policy, "alice", 4));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.violated, 0);
  EXPECT_EQ(verdict.wait_us(), -1);
}

TEST_F(RateLimiterRedisTest, TheKeyNamesWindowAndPolicyAndHoldsNoSecret) {
  Node node(&address_, shared_, {.prefix = "shop", .deadline_ms = 10'000});
  const auto policy =
      PolicyOf({Window(3, std::chrono::seconds(1)), Window(9, std::chrono::seconds(1), "b")});
  node.Ask(CheckOf(policy, "s3cret-key"));
  const auto keys = server_.Keys();
  ASSERT_EQ(keys.size(), 2u);  // windows of one length are told apart by name
  for (const std::string& key : keys) {
    EXPECT_TRUE(key.starts_with("shop:rl:{")) << key;
    EXPECT_TRUE(key.ends_with(":1000000")) << key;
    EXPECT_GT(std::stol(server_.Command({"PTTL", key})), 0);
  }
  EXPECT_EQ(server_.Dump().find("s3cret"), std::string::npos);
}

}  // namespace
}  // namespace satchel::proxy
