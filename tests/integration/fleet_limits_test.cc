// Several instances on one Redis, watched from outside: no window over, nobody refused who should
// pass, and what happens when Redis stops.

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <set>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

using Clock = std::chrono::steady_clock;

// An admitted call: it was counted at some moment between the two.
struct Admission {
  Clock::time_point sent;
  Clock::time_point answered;
};

class FleetLimitsTest : public ProxyTest {
 protected:
  void SetUp() override {
    origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "ok"}); });
  }

  SatchelConfig Limited(const std::string& limits, const std::string& deadline,
                        const std::string& more = "") const {
    return LimitedBy(redis.url(), limits, deadline, more);
  }
  SatchelConfig LimitedBy(const std::string& url, const std::string& limits,
                          const std::string& deadline, const std::string& more = "") const {
    SatchelConfig config = Config();
    config.workers = "1";
    config.l2 = "redis: \"" + url + "\", deadline: " + deadline +
                ", breaker: {failures: 3, open_for: 200ms}";
    config.rest =
        "rate_limits:\n"
        "  - name: api\n"
        "    identify: {header: X-API-Key}\n"
        "    limits: [" +
        limits + "]\n" + more;
    return config;
  }

  void StartFleet(size_t count, const SatchelConfig& config) {
    for (size_t i = 0; i < count; ++i) fleet.push_back(std::make_unique<SatchelProcess>(config));
    ASSERT_TRUE(Eventually([&] {
      return std::all_of(fleet.begin(), fleet.end(), [&](const auto& one) {
        const Metrics metrics = one->ReadMetrics();
        return metrics.Sum("satchel_redis_connections_up") >= 1;
      });
    }));
  }

  // Clients, spread over the instances, that ask without a pause until `until`.
  void Hammer(size_t clients, Clock::time_point until) {
    std::mutex mutex;
    RunTogether(clients, [&](size_t i) {
      RawClient client(fleet[i % fleet.size()]->address());
      std::vector<Admission> own;
      int own_refused = 0;
      int own_failed = 0;
      while (Clock::now() < until) {
        const auto sent = Clock::now();
        const Response response = client.Get("/x", {{"X-API-Key", "shared"}});
        if (response.status == 200) {
          own.push_back({sent, Clock::now()});
          ++let_in;
        } else if (response.status == 429) {
          ++own_refused;
        } else {
          ++own_failed;
        }
      }
      const std::lock_guard lock(mutex);
      admitted.insert(admitted.end(), own.begin(), own.end());
      refused += own_refused;
      failed += own_failed;
    });
  }

  // Calls that were surely counted within one stretch of `window`, wherever it begins.
  size_t MostIn(std::chrono::milliseconds window) const {
    size_t most = 0;
    for (const Admission& first : admitted) {
      const auto end = first.sent + window;
      const auto inside = std::count_if(
          admitted.begin(), admitted.end(),
          [&](const Admission& other) { return other.sent >= first.sent && other.answered < end; });
      most = std::max(most, static_cast<size_t>(inside));
    }
    return most;
  }

  RedisProcess redis;
  std::vector<std::unique_ptr<SatchelProcess>> fleet;
  std::vector<Admission> admitted;
  std::atomic<size_t> let_in = 0;  // while Hammer() is at it
  int refused = 0;
  int failed = 0;
};

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

TEST_F(FleetLimitsTest, WhoeverWaitsAsToldGetsInAtAnyInstance) {
  StartFleet(3, Limited("{name: short, rate: 6/1s}", "5s"));
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(Fetch(fleet[0]->address(), "/x", {{"X-API-Key", "shared"}}).status, 200);
  }
  // Refused at one, they come back to another.
  std::atomic<int> back_in = 0;
  RunTogether(6, [&](size_t i) {
    const Response response = Fetch(fleet[i % 3]->address(), "/x", {{"X-API-Key", "shared"}});
    if (response.status == 200) {  // the machine was busy for a second
      ++back_in;
      return;
    }
    EXPECT_EQ(response.status, 429);
    PassTime(std::chrono::seconds(std::strtol(response.Get("Retry-After").c_str(), nullptr, 10)));
    back_in += Fetch(fleet[(i + 1) % 3]->address(), "/x", {{"X-API-Key", "shared"}}).status == 200;
  });
  EXPECT_EQ(back_in, 6);
}

TEST_F(FleetLimitsTest, ARedisThatStopsFailsNoRequestAndLetsNoMoreThanTheBoundThrough) {
  constexpr size_t kLimit = 60;
  constexpr std::chrono::milliseconds kWindow{1000};
  StartFleet(3, Limited("{name: short, rate: 60/1s}", "20ms"));
  const auto decided_without = [&](const SatchelProcess& one) {
    return one.ReadMetrics().Sum("satchel_rate_limit_checks_total", {"verdict=\"local-share\""});
  };
  // The instances know of each other before it happens.
  ASSERT_TRUE(Eventually([&] {
    return std::all_of(fleet.begin(), fleet.end(), [](const auto& one) {
      return one->ReadMetrics().Sum("satchel_rate_limit_instances") == 3;
    });
  }));
  std::atomic<bool> stop = false;
  std::mutex mutex;
  std::thread operators([&] {
    redis.Pause();
    EXPECT_TRUE(Eventually([&] {
      return std::all_of(fleet.begin(), fleet.end(),
                         [&](const auto& one) { return decided_without(*one) > 0; });
    }));
    redis.Continue();
    // Back: every instance asks Redis again.
    EXPECT_TRUE(Eventually([&] {
      return std::all_of(fleet.begin(), fleet.end(), [&](const auto& one) {
        const Metrics metrics = one->ReadMetrics();
        return metrics.Sum("satchel_redis_breaker_open") == 0 &&
               metrics.Sum("satchel_rate_limit_debts") == 0;
      });
    }));
    stop = true;
  });
  RunTogether(12, [&](size_t i) {
    RawClient client(fleet[i % fleet.size()]->address());
    while (!stop) {
      const auto sent = Clock::now();
      const Response response = client.Get("/x", {{"X-API-Key", "shared"}});
      const std::lock_guard lock(mutex);
      if (response.status == 200) {
        admitted.push_back({sent, Clock::now()});
      } else if (response.status == 429) {
        ++refused;
      } else {
        ++failed;
      }
    }
  });
  operators.join();
  EXPECT_EQ(failed, 0);
  EXPECT_LE(MostIn(kWindow), 2 * kLimit);
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
