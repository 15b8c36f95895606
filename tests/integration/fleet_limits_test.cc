// Several instances on one Redis, watched from outside: no window over, and nobody refused who
// should pass. What happens when Redis stops stands in limit_outage_test.cc.

#include <array>
#include <set>

#include "tests/support/limits_fixture.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

class FleetSizeTest : public FleetLimitsTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(FleetSizeTest, ABurstOfTenTimesTheLimitAdmitsExactlyTheLimit) {
  StartFleet(GetParam(), Limited("{name: hour, rate: 60/1h}", "5s"));
  std::atomic<int> let_in = 0;
  std::atomic<int> sent_away = 0;
  RunTogether(24, [&](size_t i) {
    RawClient client(fleet[i % fleet.size()]->address());
    for (int call = 0; call < 25; ++call) {
      const int status = client.Get("/x", {{"X-API-Key", "shared"}}).status;
      let_in += status == 200;
      sent_away += status == 429;
    }
  });
  EXPECT_EQ(let_in, 60);
  EXPECT_EQ(sent_away, 540);
  EXPECT_EQ(origin.RequestCount("/x"), 60u);
}

TEST_P(FleetSizeTest, NoWindowOfAnyAlignmentHoldsMoreAndEachIsUsedUp) {
  constexpr size_t kLimit = 40;
  constexpr std::chrono::milliseconds kWindow{700};
  StartFleet(GetParam(), Limited("{name: short, rate: 40/700ms}", "5s"));
  const auto began = Clock::now();
  Hammer(16, began + 5 * kWindow);
  EXPECT_EQ(failed, 0);
  EXPECT_LE(MostIn(kWindow), kLimit);
  // Five windows of calls without a pause: what is free is taken.
  EXPECT_GE(admitted.size(), 4 * kLimit);
  EXPECT_GT(refused, 0);
}

// Refused at one, they come back to another after what Retry-After said: as many as there is room
// for, and every one of them gets in.
TEST_P(FleetSizeTest, WhoeverWaitsAsToldGetsInAtAnyInstance) {
  constexpr size_t kLimit = 16;
  StartFleet(GetParam(), Limited("{name: short, rate: 16/2s}", "5s",
                                 "    cost: [{match: {path: /all}, units: 16}]\n"));
  const auto ask = [&](size_t i, const std::string& path) {
    return Fetch(fleet[i % fleet.size()]->address(), path, {{"X-API-Key", "shared"}});
  };
  ASSERT_EQ(ask(0, "/all").status, 200);
  std::atomic<size_t> sent_away = 0;
  std::atomic<size_t> back_in = 0;
  RunTogether(kLimit, [&](size_t i) {
    const Response refusal = ask(i, "/x");
    sent_away += refusal.status == 429;
    PassTime(std::chrono::seconds(std::strtol(refusal.Get("Retry-After").c_str(), nullptr, 10)));
    back_in += ask(i + 1, "/x").status == 200;
  });
  EXPECT_EQ(sent_away, kLimit);
  EXPECT_EQ(back_in, kLimit);
}

// Slots taken ahead: never one over the limit, and next to none lost.
TEST_P(FleetSizeTest, LeasesKeepTheBoundAndLoseNextToNothing) {
  constexpr size_t kLimit = 20'000;
  constexpr int kAtOnce = 25;
  StartFleet(GetParam(), Limited("{name: hour, rate: 20000/1h}", "5s", "    lease: auto\n"));
  ASSERT_TRUE(Eventually([&] {
    return std::all_of(fleet.begin(), fleet.end(), [&](const auto& one) {
      return one->ReadMetrics().Sum("satchel_rate_limit_instances") ==
             static_cast<double>(fleet.size());
    });
  }));
  std::string many;
  for (int i = 0; i < kAtOnce; ++i) many += Request("GET", "/x", {{"X-API-Key", "shared"}});
  std::atomic<size_t> passed = 0;
  RunTogether(2 * fleet.size(), [&](size_t i) {
    RawClient client(fleet[i % fleet.size()]->address());
    // An instance may hold slots when another is refused: on until nothing passes any more.
    for (int own = kAtOnce; own > 0;) {
      ASSERT_TRUE(client.Send(many));
      own = 0;
      for (int call = 0; call < kAtOnce; ++call) {
        const int status = client.Read().status;
        ASSERT_TRUE(status == 200 || status == 429) << status;
        own += status == 200;
      }
      passed += static_cast<size_t>(own);
    }
  });
  const auto sum = [&](const std::string& metric, const std::vector<std::string>& labels) {
    double all = 0;
    for (const auto& one : fleet) all += one->ReadMetrics().Sum(metric, labels);
    return all;
  };
  EXPECT_LE(passed, kLimit);
  EXPECT_GE(passed, kLimit - kLimit / 1000);
  // How many depends on the rate, which sanitizers and a busy machine hold down.
  EXPECT_TRUE(Eventually(
      [&] { return sum("satchel_rate_limit_saved_calls_total", {"by=\"lease\""}) > 0; }));
  EXPECT_TRUE(Eventually([&] {
    return sum("satchel_rate_limit_lease_lost_total", {}) == static_cast<double>(kLimit - passed);
  })) << "lost "
      << kLimit - passed;
}

INSTANTIATE_TEST_SUITE_P(Instances, FleetSizeTest, ::testing::Values(3, 8));

TEST_F(FleetLimitsTest, AnInstanceThatStandsStillForMoreThanAWindowBreaksNothing) {
  constexpr size_t kLimit = 40;
  constexpr std::chrono::milliseconds kWindow{700};
  StartFleet(3, Limited("{name: short, rate: 40/700ms}", "5s"));
  std::thread operators([&] {
    // With its calls and answers on their way, until the others have used up a window.
    EXPECT_TRUE(Eventually([&] { return let_in >= kLimit / 2; }));
    fleet[0]->process().Signal(SIGSTOP);
    const size_t then = let_in;
    EXPECT_TRUE(Eventually([&] { return let_in >= then + kLimit; }));
    fleet[0]->process().Signal(SIGCONT);
  });
  Hammer(12, Clock::now() + 5 * kWindow);
  operators.join();
  EXPECT_EQ(failed, 0);
  EXPECT_LE(MostIn(kWindow), kLimit);
  EXPECT_GE(admitted.size(), 3 * kLimit);
}

TEST_F(FleetLimitsTest, AClusterCountsAsExactly) {
  constexpr size_t kLimit = 40;
  constexpr std::chrono::milliseconds kWindow{700};
  RedisCluster cluster;
  StartFleet(3, LimitedBy(cluster.url(), "{name: short, rate: 40/700ms}", "5s",
                          "    match: {path: /x}\n"
                          "  - name: burst\n"
                          "    match: {path: /burst}\n"
                          "    identify: {header: X-API-Key}\n"
                          "    limits: [{name: hour, rate: 15/1h}]\n"));
  // Bursts of ten times the limit by identities that different masters count.
  std::array<std::atomic<int>, 4> passed{};
  RunTogether(10, [&](size_t i) {
    RawClient client(fleet[i % fleet.size()]->address());
    for (size_t call = 0; call < 60; ++call) {
      const std::string key = "k" + std::to_string(call % 4);
      passed[call % 4] += client.Get("/burst", {{"X-API-Key", key}}).status == 200;
    }
  });
  for (const auto& count : passed) EXPECT_EQ(count, 15);
  std::set<size_t> owners;
  for (const std::string& key : cluster.Keys("satchel:rl:*:burst:hour:*")) {
    owners.insert(cluster.OwnerOf(key));
  }
  EXPECT_GT(owners.size(), 1u);

  Hammer(12, Clock::now() + 3 * kWindow);
  EXPECT_EQ(failed, 0);
  EXPECT_LE(MostIn(kWindow), kLimit);
  EXPECT_GE(admitted.size(), 2 * kLimit);
}

TEST_F(FleetLimitsTest, ConcurrencyIsCountedOverAllInstances) {
  SatchelConfig config = Limited("{name: hour, rate: 1000/1h}", "5s", "    concurrent: 2\n");
  StartFleet(3, config);
  origin.On("/slow", [](OriginExchange& exchange) {
    if (exchange.Hold("slow")) exchange.Respond({.body = "ok"});
  });
  std::vector<RawClient> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back(fleet[static_cast<size_t>(i)]->address());
    ASSERT_TRUE(clients.back().Send(Request("GET", "/slow", {{"X-API-Key", "k"}})));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("slow", 2));
  const Response refusal = Fetch(fleet[2]->address(), "/x", {{"X-API-Key", "k"}});
  EXPECT_EQ(refusal.status, 429) << Describe(refusal);
  EXPECT_EQ(Problem(refusal)["violated-policies"], nlohmann::json::array({"concurrent"}));
  EXPECT_EQ(Fetch(fleet[2]->address(), "/x", {{"X-API-Key", "other"}}).status, 200);
  // A client that leaves gives its slot back, and so does one that is answered.
  clients[0].Close();
  EXPECT_TRUE(Eventually([&] {
    return Fetch(fleet[2]->address(), "/x", {{"X-API-Key", "k"}}).status == 200;
  }));
  origin.Release("slow");
  EXPECT_EQ(clients[1].Read().status, 200);
  EXPECT_TRUE(Eventually([&] { return redis.Keys("*:concurrent").empty(); }));
}

TEST_F(FleetLimitsTest, SlotsOfAnInstanceThatWasKilledRunOut) {
  StartFleet(2, Limited("{name: hour, rate: 1000/1h}", "5s", "    concurrent: 2\n"));
  origin.On("/slow", [](OriginExchange& exchange) { exchange.Hold("slow"); });
  std::vector<RawClient> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back(fleet[0]->address());
    ASSERT_TRUE(clients.back().Send(Request("GET", "/slow", {{"X-API-Key", "k"}})));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("slow", 2));
  fleet[0]->ExpectNoCleanExit();
  fleet[0]->process().Signal(SIGKILL);
  ASSERT_TRUE(fleet[0]->process().WaitForExit());
  // Nobody gives them back, and nobody renews them: they end within thirty seconds.
  EXPECT_EQ(Fetch(fleet[1]->address(), "/x", {{"X-API-Key", "k"}}).status, 429);
  const std::vector<std::string> keys = redis.Keys("*:concurrent");
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_EQ(redis.Command({"ZCARD", keys[0]}), "2");
  const std::string now_s = redis.Command({"TIME"}).substr(0, 10);
  const std::string latest = std::to_string(std::stol(now_s) + 31) + "000000";
  EXPECT_EQ(redis.Command({"ZCOUNT", keys[0], latest, "+inf"}), "0");
  EXPECT_GT(std::stol(redis.Command({"PTTL", keys[0]})), 0);
  // As if that time had passed.
  for (const std::string& member : {redis.Command({"ZRANGE", keys[0], "0", "0"}),
                                    redis.Command({"ZRANGE", keys[0], "1", "1"})}) {
    redis.Command({"ZADD", keys[0], "XX", now_s + "000000", member.substr(0, member.find('\n'))});
  }
  EXPECT_EQ(Fetch(fleet[1]->address(), "/x", {{"X-API-Key", "k"}}).status, 200);
  origin.Release("slow");
}

TEST_F(FleetLimitsTest, OperatorsReachEveryInstanceByAnyOfThem) {
  StartFleet(3, Limited("{name: hour, rate: 2/1h}", "5s"));
  const auto status = [&](size_t i, const std::string& key = "k") {
    return Fetch(fleet[i]->address(), "/x", {{"X-API-Key", key}}).status;
  };
  const auto tell = [&](size_t i, std::vector<std::string> what) {
    what.insert(what.begin(), "limits");
    what.insert(what.end(), {"--admin", fleet[i]->admin()});
    return RunSatchel(what);
  };
  EXPECT_EQ(status(0), 200);
  EXPECT_EQ(status(1), 200);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(status(i), 429);  // and remembered there
  const CommandResult reset = tell(0, {"reset", "k"});
  EXPECT_EQ(reset.status, 0) << reset.err;
  EXPECT_THAT(reset.out, ::testing::HasSubstr("\"removed_keys\": 1"));
  EXPECT_TRUE(Eventually([&] { return status(2) == 200; }));

  const CommandResult off = tell(1, {"off", "--policy", "api"});
  EXPECT_THAT(off.out, ::testing::HasSubstr("\"everywhere\": true"));
  EXPECT_TRUE(Eventually([&] { return status(0) == 200 && status(0) == 200 && status(0) == 200; }));
  EXPECT_TRUE(Eventually([&] { return status(2) == 200 && status(2) == 200 && status(2) == 200; }));
  EXPECT_EQ(fleet[2]->ReadMetrics().Sum("satchel_rate_limit_switched_off"), 1);
  tell(2, {"on"});
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(Eventually([&] { return status(i) == 429; })) << i;
  }
}

TEST_F(FleetLimitsTest, LimitsMayHaveARedisOfTheirOwn) {
  RedisProcess other;
  SatchelConfig config = Limited("{name: hour, rate: 3/1h}", "5s");
  config.stores = "  limits: {redis: \"" + other.url() + "\", deadline: 5s}\n";
  StartFleet(1, config);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Eventually([&] {
      return Fetch(fleet[0]->address(), "/x", {{"X-API-Key", "k"}}).status == 200;
    }));
  }
  EXPECT_FALSE(other.Keys("satchel:rl:*:api:hour:*").empty());
  EXPECT_TRUE(redis.Keys("satchel:rl:*:api:hour:*").empty());
}

TEST_F(FleetLimitsTest, AnEvictingRedisIsWarnedOf) {
  RedisProcess evicting({"--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"});
  SatchelConfig config = Limited("{name: hour, rate: 3/1h}", "5s");
  config.l2 = "redis: \"" + evicting.url() + "\"";
  StartFleet(1, config);
  EXPECT_TRUE(Eventually([&] {
    return fleet[0]->process().err().find("maxmemory-policy is allkeys-lru") != std::string::npos;
  }));
}

}  // namespace
}  // namespace satchel::testing
