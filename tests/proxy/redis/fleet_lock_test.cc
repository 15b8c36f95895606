#include "proxy/redis/fleet_lock.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/redis/announcements.h"
#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/fault_relay.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using News = FleetLock::News;
using Outcome = FleetLock::Outcome;

constexpr const char* kSlot = "satchel:3:{h}";

// One worker of one instance.
struct Instance {
  Instance(net::EventLoop& the_loop, const net::Address& server, std::string holder,
           int64_t deadline_ms = 10'000)
      : loop(the_loop), resolver(loop) {
    client = std::make_unique<Client>(loop, resolver, PatientOptions<Client::Options>(server));
    lock = std::make_unique<FleetLock>(
        loop, *client,
        FleetLock::Options{
            .prefix = "satchel", .holder = std::move(holder), .deadline_ms = deadline_ms});
    client->Start();
    EXPECT_TRUE(TurnUntil(loop, [this] { return client->ready(); }));
  }
  Outcome Take(FleetLock::Turn& turn) {
    std::optional<Outcome> outcome;
    turn.Take([&](Outcome what) { outcome = what; });
    EXPECT_FALSE(outcome.has_value());
    EXPECT_TRUE(TurnUntil(loop, [&] { return outcome.has_value(); }));
    return outcome.value_or(Outcome::kUnknown);
  }
  int64_t Left(FleetLock::Turn& turn) {
    std::optional<int64_t> left;
    turn.AskLeft([&](int64_t ms) { left = ms; });
    EXPECT_TRUE(TurnUntil(loop, [&] { return left.has_value(); }));
    return left.value_or(-2);
  }

  net::EventLoop& loop;
  net::Resolver resolver;
  std::unique_ptr<Client> client;
  std::unique_ptr<FleetLock> lock;
};

class FleetLockTest : public ::testing::Test {
 protected:
  testing::RedisProcess server;
  net::Address address = *net::Address::Parse(server.address());
  net::EventLoop loop;
};

TEST_F(FleetLockTest, OneHoldsItAndOthersSeeForHowLong) {
  Instance a(loop, address, "a");
  Instance b(loop, address, "b");
  FleetLock::Turn mine(*a.lock, kSlot, 60'000);
  FleetLock::Turn theirs(*b.lock, kSlot, 60'000);
  EXPECT_EQ(b.Left(theirs), 0);
  EXPECT_EQ(a.Take(mine), Outcome::kTaken);
  EXPECT_EQ(b.Take(theirs), Outcome::kBusy);
  EXPECT_GT(b.Left(theirs), 0);
  EXPECT_LE(b.Left(theirs), 60'000);
  mine.Conclude(News::kStored);
  EXPECT_TRUE(TurnUntil(loop, [&] { return b.Take(theirs) == Outcome::kTaken; }));
  EXPECT_EQ(a.lock->counters().taken.Get(), 1u);
  EXPECT_GE(b.lock->counters().busy.Get(), 1u);
}

TEST_F(FleetLockTest, WhoComesTooLateDoesNotTakeItFromItsHeir) {
  Instance a(loop, address, "a");
  Instance b(loop, address, "b");
  FleetLock::Turn mine(*a.lock, kSlot, 60'000);
  ASSERT_EQ(a.Take(mine), Outcome::kTaken);
  server.Command({"DEL", std::string(kSlot) + ":lock"});  // as if it had expired
  FleetLock::Turn theirs(*b.lock, kSlot, 60'000);
  ASSERT_EQ(b.Take(theirs), Outcome::kTaken);
  const std::string token = server.Command({"GET", std::string(kSlot) + ":lock"});
  mine.Conclude(News::kFailed);
  FleetLock::Turn fence(*a.lock, "satchel:3:{g}", 60'000);
  ASSERT_EQ(a.Take(fence), Outcome::kTaken);
  EXPECT_EQ(server.Command({"GET", std::string(kSlot) + ":lock"}), token);
}

TEST_F(FleetLockTest, WhatIsHeldIsGivenBackByTheOneWhoGoes) {
  Instance a(loop, address, "a");
  {
    FleetLock::Turn turn(*a.lock, kSlot, 60'000);
    ASSERT_EQ(a.Take(turn), Outcome::kTaken);
  }
  FleetLock::Turn next(*a.lock, kSlot, 60'000);
  EXPECT_EQ(a.Take(next), Outcome::kTaken);
}

TEST_F(FleetLockTest, ItIsALeaseThatALivingHolderProlongs) {
  testing::FaultRelay relay(server.address());
  Instance a(loop, *net::Address::Parse(relay.address()), "a");
  Instance b(loop, address, "b");
  FleetLock::Turn mine(*a.lock, kSlot, 60'000);
  FleetLock::Turn theirs(*b.lock, kSlot, 60'000);
  ASSERT_EQ(a.Take(mine), Outcome::kTaken);
  ASSERT_TRUE(TurnUntil(loop, [&] { return a.lock->counters().renewed.Get() >= 6; }));
  EXPECT_EQ(b.Take(theirs), Outcome::kBusy);
  EXPECT_LE(b.Left(theirs), 600);
  // One that cannot reach the server any more has it for no longer than that.
  relay.Set({.hold = true});
  EXPECT_TRUE(TurnUntil(loop, [&] { return b.Take(theirs) == Outcome::kTaken; }));
}

TEST_F(FleetLockTest, ItIsKeptWhileThereIsProgressAndExpiresWithout) {
  Instance a(loop, address, "a");
  Instance b(loop, address, "b");
  FleetLock::Turn mine(*a.lock, kSlot, 400);
  ASSERT_EQ(a.Take(mine), Outcome::kTaken);
  ASSERT_TRUE(TurnUntil(loop, [&] {
    mine.Progress();
    return a.lock->counters().renewed.Get() >= 4;  // twice its first lifetime
  }));
  FleetLock::Turn theirs(*b.lock, kSlot, 400);
  EXPECT_EQ(b.Take(theirs), Outcome::kBusy);
  EXPECT_TRUE(TurnUntil(loop, [&] { return b.Take(theirs) == Outcome::kTaken; }));
  // Too late: it is another's.
  ASSERT_TRUE(TurnUntil(loop, [&] {
    mine.Progress();
    return a.lock->counters().lost.Get() >= 1;
  }));
}

TEST_F(FleetLockTest, WhoWaitsHearsHowItEnded) {
  Instance a(loop, address, "a");
  net::Resolver resolver(loop);
  Subscriber::Options options;
  options.host = address.IpText();
  options.port = address.port();
  options.connect_timeout_ms = 10'000;
  Subscriber subscriber(loop, resolver, options, {});
  subscriber.Start();
  Announcements announcements(loop, subscriber);
  FleetLock::Turn waiting(*a.lock, kSlot, 60'000);
  bool confirmed = false;
  std::vector<News> heard;
  auto listening = announcements.Listen(
      loop, waiting.channel(),
      {.confirmed = [&] { confirmed = true; },
       .message = [&](std::string_view word) { heard.push_back(FleetLock::Parse(word)); }});
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed; }));
  const std::vector<News> all = {News::kStored, News::kFailed, News::kEach, News::kUncacheable};
  for (const News news : all) {
    FleetLock::Turn turn(*a.lock, kSlot, 60'000);
    ASSERT_EQ(a.Take(turn), Outcome::kTaken);
    turn.Conclude(news);
    ASSERT_TRUE(TurnUntil(loop, [&] { return !heard.empty() && heard.back() == news; }));
  }
  EXPECT_EQ(heard, all);
  server.Command({"PUBLISH", waiting.channel(), "something new"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return heard.size() == 5; }));
  EXPECT_EQ(heard.back(), News::kUnknown);
  listening.reset();
  EXPECT_TRUE(TurnUntil(
      loop, [&] { return server.Command({"PUBLISH", waiting.channel(), "stored"}) == "0"; }));
  EXPECT_EQ(heard.size(), 5u);
}

TEST_F(FleetLockTest, AHungServerGivesNoAnswerAndTheLockIsGivenBackLater) {
  Instance a(loop, address, "a", 50);
  FleetLock::Turn turn(*a.lock, kSlot, 60'000);
  server.Pause();
  EXPECT_EQ(a.Take(turn), Outcome::kUnknown);
  EXPECT_EQ(a.Left(turn), -1);
  turn.Conclude(News::kFailed);
  server.Continue();
  // What was sent has happened all the same, the release too.
  EXPECT_TRUE(TurnUntil(loop, [&] {
    return server.Command({"EXISTS", std::string(kSlot) + ":lock"}) == "0" &&
           server.Calls("set") >= 1;
  }));
}

}  // namespace
}  // namespace satchel::redis
