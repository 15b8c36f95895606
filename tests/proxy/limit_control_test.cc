#include "proxy/limit_control.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cache/store.h"
#include "tests/proxy/limiter_fixture.h"

namespace satchel::proxy {
namespace {

TEST(LimitMessageTest, IsASwitchOrAResetAndNothingElse) {
  const std::string id(22, 'a');
  const auto change = ParseLimitMessage("switch");
  ASSERT_TRUE(change);
  EXPECT_TRUE(change->id.empty());
  const std::string text = "reset " + id + " api";
  const auto reset = ParseLimitMessage(text);
  ASSERT_TRUE(reset);
  EXPECT_EQ(reset->id, id);
  EXPECT_EQ(reset->policy, "api");
  for (const std::string& other :
       {std::string(), std::string("switch "), "reset " + id, "reset " + id + " ",
        "reset a" + id + " api", "reset " + id + " api b", std::string("reset")}) {
    EXPECT_FALSE(ParseLimitMessage(other)) << other;
  }
}

rules::RateLimitPolicy Hourly(uint64_t limit) {
  return PolicyOf({Window(limit, std::chrono::hours(1))});
}

// A process's part in it; without an address, one that has no Redis.
struct Instance {
  explicit Instance(const std::string& address = "")
      : snapshot(SnapshotFor(address)),
        purger(loop, store, snapshot),
        control(loop, snapshot, shared, purger,
                [this](const std::string& id) { forgotten.push_back(id); }) {
    purger.Start();
    control.Start();
  }
  static SnapshotPtr SnapshotFor(const std::string& address) {
    auto snapshot = std::make_shared<Snapshot>();
    if (!address.empty()) {
      const net::Address server = *net::Address::Parse(address);
      rules::L2Config& config = snapshot->config.limits.emplace();
      config.redis = "redis://" + address;
      rules::Endpoint& endpoint = config.servers.emplace_back();
      endpoint.host = server.IpText();
      endpoint.port = server.port();
      endpoint.text = address;
    }
    return snapshot;
  }
  // All that it is to be told has been told.
  LimitControl::Outcome Switch(const std::string& policy, bool on) {
    return Outcome([&](auto done) { control.Switch(policy, on, done); });
  }
  LimitControl::Outcome Reset(const LimitCheck& check) {
    return Outcome([&](auto done) { control.Reset(snapshot, check, done); });
  }
  LimitControl::Outcome Outcome(const std::function<void(LimitControl::Done)>& ask) {
    std::optional<LimitControl::Outcome> outcome;
    ask([&outcome](const LimitControl::Outcome& told) { outcome = told; });
    EXPECT_FALSE(outcome);  // never before the call has returned
    EXPECT_TRUE(TurnUntil(loop, [&] { return outcome.has_value(); }));
    return outcome.value_or(LimitControl::Outcome{.error = "no answer"});
  }
  // Its subscription stands: what is published from now on is heard.
  bool Listens() {
    return TurnUntil(loop, [this] { return !forgotten.empty(); });
  }

  net::EventLoop loop;
  cache::Store store{{}};
  SnapshotPtr snapshot;
  SharedLimits shared;
  std::vector<std::string> forgotten;
  Purger purger;
  LimitControl control;
};

TEST(LimitControlTest, WithoutRedisItConcernsThisProcess) {
  Instance alone;
  const auto policy = Hourly(1);
  EXPECT_EQ(alone.Switch("api", false).error, "");
  EXPECT_FALSE(alone.shared.kill_switch.IsOn("api"));
  EXPECT_TRUE(alone.shared.kill_switch.IsOn("other"));
  EXPECT_EQ(alone.Switch(std::string(LimitSwitch::kAll), true).error, "");
  EXPECT_TRUE(alone.shared.kill_switch.IsOn("api"));

  Node node(nullptr, alone.shared);
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
  EXPECT_FALSE(node.Ask(CheckOf(policy)).allowed);
  std::optional<int64_t> remaining;
  alone.control.Look(
      alone.snapshot, CheckOf(policy),
      [&](cache::Result<rules::LimitStates> states) { remaining = states->states[0].remaining; });
  EXPECT_FALSE(remaining);
  EXPECT_TRUE(TurnUntil(alone.loop, [&] { return remaining.has_value(); }));
  EXPECT_EQ(remaining, 0);
  EXPECT_EQ(alone.Reset(CheckOf(policy)).error, "");
  EXPECT_EQ(alone.forgotten, std::vector{std::string(CheckOf(policy).id_text())});
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
}

TEST(LimitControlTest, TheSwitchIsTheSameForAllInstancesAlsoForThoseThatComeLater) {
  testing::RedisProcess server;
  Instance one(server.address());
  Instance two(server.address());
  ASSERT_TRUE(one.Listens());
  ASSERT_TRUE(two.Listens());
  EXPECT_EQ(one.Switch("api", false).error, "");
  const auto off = [](Instance& instance, const char* policy) {
    return TurnUntil(instance.loop, [&] { return !instance.shared.kill_switch.IsOn(policy); });
  };
  const auto on = [](Instance& instance, const char* policy) {
    return TurnUntil(instance.loop, [&] { return instance.shared.kill_switch.IsOn(policy); });
  };
  EXPECT_TRUE(off(two, "api"));
  EXPECT_TRUE(two.shared.kill_switch.IsOn("other"));
  EXPECT_EQ(two.Switch(std::string(LimitSwitch::kAll), false).error, "");
  EXPECT_TRUE(off(one, "other"));
  Instance late(server.address());
  EXPECT_TRUE(off(late, "other"));
  EXPECT_GT(std::stol(server.Command({"PTTL", "satchel:rl:off"})), 0);
  // All turned on: also what was off by name.
  EXPECT_EQ(late.Switch(std::string(LimitSwitch::kAll), true).error, "");
  EXPECT_TRUE(on(one, "api"));
  EXPECT_TRUE(on(two, "other"));
}

TEST(LimitControlTest, ARedisThatForgotTheSwitchIsToldAgain) {
  testing::RedisProcess server;
  Instance one(server.address());
  ASSERT_TRUE(one.Listens());
  EXPECT_EQ(one.Switch("api", false).error, "");
  server.Command({"FLUSHALL"});
  EXPECT_TRUE(TurnUntil(one.loop, [&] {
    return server.Command({"ZSCORE", "satchel:rl:off", "api"}).find_first_of("0123456789") == 0;
  }));
  EXPECT_FALSE(one.shared.kill_switch.IsOn("api"));
}

TEST(LimitControlTest, ASwitchThatRedisCouldNotBeToldHoldsHereAndIsToldLater) {
  testing::RedisProcess server;
  Instance one(server.address());
  Instance two(server.address());
  ASSERT_TRUE(one.Listens());
  ASSERT_TRUE(two.Listens());
  server.Kill();
  EXPECT_NE(one.Switch("api", false).error, "");
  EXPECT_FALSE(one.shared.kill_switch.IsOn("api"));
  server.Restart();
  EXPECT_TRUE(TurnUntil(two.loop, [&] {
    one.loop.Turn(false);
    return !two.shared.kill_switch.IsOn("api");
  }));
  EXPECT_FALSE(one.shared.kill_switch.IsOn("api"));
}

TEST(LimitControlTest, AnIdentityBeginsAnewAtEveryInstance) {
  testing::RedisProcess server;
  Instance one(server.address());
  Instance two(server.address());
  ASSERT_TRUE(one.Listens());
  ASSERT_TRUE(two.Listens());
  const net::Address address = *net::Address::Parse(server.address());
  const auto policy = Hourly(1);
  Node node(&address, two.shared, Patient());
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
  EXPECT_TRUE(node.Ask(CheckOf(policy)).Refuses());
  EXPECT_EQ(node.Ask(CheckOf(policy)).source, Source::kRefusal);  // remembered

  two.forgotten.clear();
  const auto outcome = one.Reset(CheckOf(policy));
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.removed, 1);
  ASSERT_TRUE(TurnUntil(two.loop, [&] { return !two.forgotten.empty(); }));
  for (const std::string& id : two.forgotten) node.limiter->Forget(id);
  EXPECT_TRUE(node.Ask(CheckOf(policy)).allowed);
}

}  // namespace
}  // namespace satchel::proxy
