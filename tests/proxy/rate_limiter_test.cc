#include "proxy/rate_limiter.h"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/sha256.h"
#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/concurrency.h"
#include "tests/support/redis_process.h"

namespace satchel::proxy {
namespace {

using redis::FakeRedis;
using redis::TurnFor;
using redis::TurnUntil;
using Source = LimitVerdict::Source;

rules::RateLimitPolicy PolicyOf(std::vector<rules::RateWindow> windows,
                                rules::StoreDown store_down = rules::StoreDown::kLocalShare) {
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = std::move(windows);
  policy.default_plan = 0;
  policy.store_down = store_down;
  return policy;
}

rules::RateWindow Window(uint64_t limit, std::chrono::microseconds window,
                         std::string name = "hour") {
  return {std::move(name), limit, window};
}

LimitCheck CheckOf(const rules::RateLimitPolicy& policy, std::string_view who = "alice",
                   int64_t cost = 1) {
  return {.policy = &policy, .plan = &policy.plans[0], .id = net::Digest22(who), .cost = cost};
}

// A worker with its limiter.
struct Node {
  Node(const net::Address* server, LocalLimiter& local, RateLimiter::Options options = {},
       redis::Client::Options client_options = {}) {
    if (server != nullptr) {
      client_options.host = server->IpText();
      client_options.port = server->port();
      client_options.backoff = {.first_ms = 10, .max_ms = 40};
      // The machine may be busy: what is tested here is not speed.
      client_options.connect_timeout_ms = 10'000;
      client_options.limits.stall_ms = 60'000;
      client = std::make_unique<redis::Client>(loop, resolver, client_options);
    }
    limiter = std::make_unique<RateLimiter>(loop, client.get(), local, options);
    if (client != nullptr) {
      client->Start();
      EXPECT_TRUE(TurnUntil(loop, [this] { return client->ready(); }));
    }
  }
  LimitVerdict Ask(const LimitCheck& check) {
    if (const auto known = limiter->TryLocal(check)) return *known;
    std::optional<LimitVerdict> verdict;
    const auto pending = limiter->Check(check, [&](const LimitVerdict& v) { verdict = v; });
    EXPECT_FALSE(verdict.has_value());
    EXPECT_TRUE(TurnUntil(loop, [&] { return verdict.has_value(); }));
    return verdict.value_or(LimitVerdict{});
  }
  net::EventLoop loop;
  net::Resolver resolver{loop};
  std::unique_ptr<redis::Client> client;
  std::unique_ptr<RateLimiter> limiter;
};

RateLimiter::Options Patient() { return {.deadline_ms = 10'000}; }

TEST(RateLimiterTest, WithoutRedisTheWindowIsInTheProcessAndKnownAtOnce) {
  LocalLimiter local;
  Node a(nullptr, local);
  Node b(nullptr, local);
  const auto policy = PolicyOf({Window(3, std::chrono::hours(1))});
  for (int i = 0; i < 3; ++i) {
    const auto verdict = (i % 2 == 0 ? a : b).limiter->TryLocal(CheckOf(policy));
    ASSERT_TRUE(verdict.has_value());
    EXPECT_TRUE(verdict->allowed);
    EXPECT_EQ(verdict->source, Source::kLocal);
    EXPECT_EQ(verdict->windows()[0].remaining, 2 - i);
  }
  const auto refused = b.limiter->TryLocal(CheckOf(policy));
  EXPECT_FALSE(refused->allowed);
  EXPECT_TRUE(refused->Refuses());
  EXPECT_EQ(refused->violated, 0);
  EXPECT_GT(refused->wait_us(), int64_t{3599} * 1'000'000);
  EXPECT_TRUE(a.limiter->TryLocal(CheckOf(policy, "bob"))->allowed);
}

TEST(RateLimiterTest, AShadowPolicyCountsAndNeverRefuses) {
  LocalLimiter local;
  Node node(nullptr, local);
  auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  policy.mode = rules::LimitMode::kShadow;
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
  const LimitVerdict verdict = node.Ask(CheckOf(policy));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_FALSE(verdict.Refuses());
}

class RateLimiterRedisTest : public ::testing::Test {
 protected:
  testing::RedisProcess server_;
  net::Address address_ = *net::Address::Parse(server_.address());
  LocalLimiter local_;
};

TEST_F(RateLimiterRedisTest, InstancesShareOneWindow) {
  Node a(&address_, local_, Patient());
  Node b(&address_, local_, Patient());
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
    Node node(&address_, local_, Patient());
    std::vector<std::unique_ptr<RateLimiter::Pending>> pending;
    int own = 0;
    int answered = 0;
    for (int i = 0; i < 50; ++i) {
      pending.push_back(node.limiter->Check(CheckOf(policy), [&](const LimitVerdict& verdict) {
        ++answered;
        EXPECT_EQ(verdict.source, Source::kRedis);
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
  Node node(&address_, local_, Patient());
  const auto policy =
      PolicyOf({Window(5, std::chrono::hours(1)), Window(100, std::chrono::hours(2), "two")});
  std::vector<LimitVerdict> verdicts;
  std::vector<std::unique_ptr<RateLimiter::Pending>> pending;
  for (int i = 0; i < 8; ++i) {
    pending.push_back(node.limiter->Check(
        CheckOf(policy), [&](const LimitVerdict& verdict) { verdicts.push_back(verdict); }));
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
  Node node(&address_, local_, Patient());
  const auto policy = PolicyOf({Window(10, std::chrono::hours(1))});
  EXPECT_TRUE(node.Ask(CheckOf(policy, "alice", 7)).allowed);
  EXPECT_FALSE(node.Ask(CheckOf(policy, "alice", 5)).allowed);
  const auto calls = node.limiter->counters().calls.Get();
  const auto again = node.limiter->TryLocal(CheckOf(policy, "alice", 6));
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(again->allowed);
  EXPECT_EQ(again->source, Source::kRefusal);
  EXPECT_GT(again->wait_us(), int64_t{3590} * 1'000'000);
  EXPECT_EQ(node.limiter->counters().calls.Get(), calls);
  EXPECT_TRUE(node.Ask(CheckOf(policy, "alice", 3)).allowed);  // a smaller cost may fit
  EXPECT_TRUE(node.Ask(CheckOf(policy, "bob", 6)).allowed);
  node.limiter->ForgetRefusals();
  EXPECT_FALSE(node.limiter->TryLocal(CheckOf(policy, "alice", 6)).has_value());
}

TEST_F(RateLimiterRedisTest, WhoWaitsAsToldGetsInAndTheRefusalIsForgottenByThen) {
  Node node(&address_, local_, Patient());
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
  Node node(&address_, local_, {.deadline_ms = 10'000, .refusal_cap_us = 50'000});
  const auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  node.Ask(CheckOf(policy));
  EXPECT_FALSE(node.Ask(CheckOf(policy)).allowed);
  server_.Command({"FLUSHALL"});
  TurnFor(node.loop, 60);
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
}

TEST_F(RateLimiterRedisTest, TheTableOfRefusalsIsBounded) {
  Node node(&address_, local_, {.deadline_ms = 10'000, .max_refusals = 8});
  const auto policy = PolicyOf({Window(1, std::chrono::hours(1))});
  for (int i = 0; i < 40; ++i) {
    const std::string who = std::to_string(i);
    node.Ask(CheckOf(policy, who));
    EXPECT_FALSE(node.Ask(CheckOf(policy, who)).allowed);
  }
  int remembered = 0;
  for (int i = 0; i < 40; ++i) {
    remembered += node.limiter->TryLocal(CheckOf(policy, std::to_string(i))).has_value() ? 1 : 0;
  }
  EXPECT_GE(remembered, 1);
  EXPECT_LE(remembered, 8);
}

TEST_F(RateLimiterRedisTest, ANewConnectionForgetsRefusals) {
  Node node(&address_, local_, Patient());
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

TEST_F(RateLimiterRedisTest, ACostAboveTheLimitNeverFits) {
  Node node(&address_, local_, Patient());
  const auto policy =
      PolicyOf({Window(3, std::chrono::hours(1)), Window(100, std::chrono::hours(1), "b")});
  const LimitVerdict verdict = node.Ask(CheckOf(policy, "alice", 4));
  EXPECT_FALSE(verdict.allowed);
  EXPECT_EQ(verdict.violated, 0);
  EXPECT_EQ(verdict.wait_us(), -1);
}

TEST_F(RateLimiterRedisTest, TheKeyNamesWindowAndPolicyAndHoldsNoSecret) {
  Node node(&address_, local_, {.prefix = "shop", .deadline_ms = 10'000});
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

TEST_F(RateLimiterRedisTest, AHungServerIsDecidedByThePolicyWithinTheDeadline) {
  Node node(&address_, local_, {.deadline_ms = 30});
  const auto share = PolicyOf({Window(1, std::chrono::hours(1))});
  const auto open = PolicyOf({Window(1, std::chrono::hours(1))}, rules::StoreDown::kOpen);
  const auto closed = PolicyOf({Window(1, std::chrono::hours(1))}, rules::StoreDown::kClosed);
  server_.Pause();
  const int64_t start = net::EventLoop::ReadClockMs();
  const LimitVerdict first = node.Ask(CheckOf(share));
  EXPECT_GE(net::EventLoop::ReadClockMs() - start, 30);
  EXPECT_LT(net::EventLoop::ReadClockMs() - start, 300);
  EXPECT_TRUE(first.allowed);
  EXPECT_EQ(first.source, Source::kLocal);
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
  EXPECT_TRUE(node.limiter->TryLocal(CheckOf(open)).has_value());
  EXPECT_GE(node.limiter->counters().store_down.Get(), 9u);
  server_.Continue();
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return node.client->available({}); }));
  EXPECT_EQ(node.Ask(CheckOf(open, "carol")).source, Source::kRedis);
}

TEST(RateLimiterFakeTest, AReplyOfTheWrongShapeIsDecidedByThePolicy) {
  LocalLimiter local;
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
    RateLimiter limiter(own, &client, local, Patient());
    client.Start();
    ASSERT_TRUE(TurnUntil(own, [&] { return client.ready(); }));
    server.auto_replies = {wire};
    std::optional<LimitVerdict> verdict;
    const auto pending =
        limiter.Check(CheckOf(policy), [&](const LimitVerdict& v) { verdict = v; });
    ASSERT_TRUE(TurnUntil(own, [&] { return verdict.has_value(); })) << wire;
    EXPECT_EQ(verdict->source, Source::kOpen) << wire;
  }
}

TEST_F(RateLimiterRedisTest, GoesAwayWhileChecksAreOnTheirWay) {
  Node node(&address_, local_, Patient());
  const auto policy = PolicyOf({Window(9, std::chrono::hours(1))});
  int answered = 0;
  const auto first = node.limiter->Check(CheckOf(policy), [&](const auto&) { ++answered; });
  node.loop.Turn(false);
  const auto second = node.limiter->Check(CheckOf(policy), [&](const auto&) { ++answered; });
  node.limiter.reset();
  TurnFor(node.loop, 50);
  EXPECT_LE(answered, 1);
}

TEST_F(RateLimiterRedisTest, ACallerMayDestroyTheLimiterFromItsFunction) {
  Node node(&address_, local_, Patient());
  const auto policy = PolicyOf({Window(9, std::chrono::hours(1))});
  int answered = 0;
  const auto function = [&](const LimitVerdict&) {
    ++answered;
    node.limiter.reset();
  };
  const auto first = node.limiter->Check(CheckOf(policy), function);
  const auto second = node.limiter->Check(CheckOf(policy), function);
  ASSERT_TRUE(TurnUntil(node.loop, [&] { return answered != 0; }));
  TurnFor(node.loop, 20);
  EXPECT_EQ(answered, 1);
}

}  // namespace
}  // namespace satchel::proxy
