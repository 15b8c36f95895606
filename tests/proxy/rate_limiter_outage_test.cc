// The limiter while Redis is away, and what becomes of questions then.
#include "tests/proxy/limiter_fixture.h"

namespace satchel::proxy {
namespace {

using redis::FakeRedis;

TEST_F(RateLimiterRedisTest, ANewConnectionForgetsRefusals) {
  Node node(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  node.Ask(CheckOf(policy));
  EXPECT_FALSE(node.Ask(CheckOf(policy)).allowed);
  server_.Restart();  // empty
  const auto generation = node.client->generation();
  ASSERT_TRUE(TurnUntil(node.loop, [&] {
    return node.client->generation() != generation && node.client->available({});
  }));
  const LimitVerdict verdict = node.Ask(CheckOf(policy));
  EXPECT_TRUE(verdict.allowed);
  EXPECT_EQ(verdict.source, Source::kRedis);
}

TEST_F(RateLimiterRedisTest, AHungServerIsDecidedByThePolicyWithinTheDeadline) {
  Node node(&address_, shared_, {.deadline_ms = 30});
  const auto share = PolicyOf({Window(1, std::chrono::hours(1))});
  const auto open = PolicyOf({Window(1, std::chrono::hours(1))}, rules::StoreDown::kOpen);
  const auto closed = PolicyOf({Window(1, std::chrono::hours(1))}, rules::StoreDown::kClosed);
  server_.Pause();
  const int64_t start = net::EventLoop::ReadClockMs();
  const LimitVerdict first = node.Ask(CheckOf(share));
  EXPECT_GE(net::EventLoop::ReadClockMs() - start, 30);
  EXPECT_LT(net::EventLoop::ReadClockMs() - start, 300);
  EXPECT_TRUE(first.allowed);
  EXPECT_EQ(first.source, Source::kShare);
  EXPECT_FALSE(node.Ask(CheckOf(share)).allowed);
  for (int i = 0; i < 5; ++i) {
    const LimitVerdict verdict = node.Ask(CheckOf(open));
    EXPECT_TRUE(verdict.allowed);
    EXPECT_EQ(verdict.source, Source::kOpen);
    EXPECT_TRUE(verdict.windows().empty());
  }
  const LimitVerdict verdict = node.Ask(CheckOf(closed));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_TRUE(verdict.Refuses());
  EXPECT_EQ(verdict.source, Source::kClosed);
  // The breaker is open by now: nobody waits any more.
  EXPECT_TRUE(node.AskNow(CheckOf(open)).has_value());
  EXPECT_GE(node.limiter->counters().store_down.Get(), 9u);
  server_.Continue();
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return node.client->available({}); }));
  EXPECT_EQ(node.Ask(CheckOf(open, "carol")).source, Source::kRedis);
}

TEST_F(RateLimiterRedisTest, TheShareThatIsUsedAlreadyCountsWhenRedisGoes) {
  Node node(&address_, shared_, {.deadline_ms = 200});
  shared_.instances = 2;
  const auto policy = PolicyOf({Window(10, std::chrono::hours(1))});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(node.Ask(CheckOf(policy)).source, Source::kRedis);
  server_.Kill();
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return !node.client->available({}); }));
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);  // the fifth of its half
  const LimitVerdict refused = node.Ask(CheckOf(policy));
  EXPECT_TRUE(refused.Refuses());
  EXPECT_EQ(refused.source, Source::kShare);
}

TEST_F(RateLimiterRedisTest, WhatWasLetThroughMeanwhileIsChargedOnReturn) {
  Node node(&address_, shared_, {.deadline_ms = 10'000});
  const auto policy = PolicyOf({Window(10, std::chrono::hours(1))});
  server_.Kill();
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return !node.client->available({}); }));
  for (int i = 0; i < 6; ++i) {
    const LimitVerdict verdict = node.Ask(CheckOf(policy));
    EXPECT_TRUE(verdict.allowed);
    EXPECT_EQ(verdict.source, Source::kShare);
  }
  EXPECT_EQ(shared_.debts.size(), 1u);
  server_.Restart();
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return node.client->ready(); }));
  const LimitVerdict verdict = node.Ask(CheckOf(policy));
  EXPECT_EQ(verdict.source, Source::kRedis);
  EXPECT_EQ(verdict.windows()[0].remaining, 3);
  EXPECT_TRUE(shared_.debts.empty());
  EXPECT_TRUE(TurnUntil(node.loop, [&] { return node.limiter->counters().debts_paid.Get() == 6; }));
}

TEST_F(RateLimiterRedisTest, AClosedPolicyRefusesBeforeAnotherIsCharged) {
  Node node(&address_, shared_, Patient());
  const auto closed =
      Named(PolicyOf({Window(9, std::chrono::hours(1))}, rules::StoreDown::kClosed), "closed");
  const auto share = Named(PolicyOf({Window(9, std::chrono::hours(1))}), "share");
  server_.Kill();
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return !node.client->available({}); }));
  const LimitVerdict refused = node.Ask({CheckOf(share), CheckOf(closed)});
  EXPECT_TRUE(refused.Refuses());
  EXPECT_EQ(refused.source, Source::kClosed);
  EXPECT_TRUE(shared_.debts.empty());
  EXPECT_EQ(node.Ask(CheckOf(share)).windows()[0].remaining, 8);
}

TEST(RateLimiterFakeTest, AReplyOfTheWrongShapeIsDecidedByThePolicy) {
  SharedLimits shared;
  const auto policy = PolicyOf({Window(9, std::chrono::hours(1))}, rules::StoreDown::kOpen);
  for (const char* wire : {"+OK\r\n", "*0\r\n", "*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n$1\r\nx\r\n",
                           "*2\r\n:1\r\n:1\r\n", "$-1\r\n", "-OOM no\r\n"}) {
    net::EventLoop own;
    FakeRedis server(own);
    net::Resolver resolver(own);
    redis::Client::Options options;
    options.host = server.address().IpText();
    options.port = server.address().port();
    redis::Client client(own, resolver, options);
    RateLimiter limiter(own, &client, shared, Patient());
    client.Start();
    ASSERT_TRUE(TurnUntil(own, [&] { return client.ready(); }));
    server.auto_replies = {wire};
    std::optional<LimitVerdict> verdict;
    const Question question(limiter, CheckOf(policy), [&](const LimitVerdict& v) { verdict = v; });
    ASSERT_TRUE(TurnUntil(own, [&] { return verdict.has_value(); })) << wire;
    EXPECT_EQ(verdict->source, Source::kOpen) << wire;
  }
}

TEST_F(RateLimiterRedisTest, GoesAwayWhileChecksAreOnTheirWay) {
  Node node(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(9, std::chrono::hours(1))});
  int answered = 0;
  const Question first(*node.limiter, CheckOf(policy), [&](const auto&) { ++answered; });
  node.loop.Turn(false);
  const Question second(*node.limiter, CheckOf(policy), [&](const auto&) { ++answered; });
  node.limiter.reset();
  TurnFor(node.loop, 50);
  EXPECT_LE(answered, 1);
}

TEST_F(RateLimiterRedisTest, ACallerMayDestroyTheLimiterFromItsFunction) {
  Node node(&address_, shared_, Patient());
  const auto policy = PolicyOf({Window(9, std::chrono::hours(1))});
  int answered = 0;
  const auto function = [&](const LimitVerdict&) {
    ++answered;
    node.limiter.reset();
  };
  const Question first(*node.limiter, CheckOf(policy), function);
  const Question second(*node.limiter, CheckOf(policy), function);
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return answered != 0; }));
  TurnFor(node.loop, 20);
  EXPECT_EQ(answered, 1);
}

}  // namespace
}  // namespace satchel::proxy
