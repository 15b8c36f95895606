// One fetch for the whole fleet, whatever becomes of the instance that makes it.

#include <csignal>

#include "tests/support/fault_relay.h"
#include "tests/support/fleet_fixture.h"

namespace satchel::testing {
namespace {

class FleetLockTest : public FleetTest {
 protected:
  // The origin answers "/" with x once `barrier` is released.
  void HoldAs(const std::string& barrier) {
    origin.On("/", [barrier](OriginExchange& exchange) {
      exchange.Hold(barrier);
      exchange.Respond(Fresh("x"));
    });
  }
};

TEST_F(FleetLockTest, HundredsOfClientsOfThreeInstancesMakeOneRequestForAColdKey) {
  const std::string body = Pattern(0, 50'000);
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Hold("cold");
    exchange.Respond(Fresh(body));
  });
  StartFleet(FleetConfig());
  std::vector<RawClient> clients = Crowd(70, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("cold"));
  ASSERT_TRUE(WaitForWaiters(2));
  origin.Release("cold");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, body);
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_EQ(Sum("satchel_fleet_followed_total"), 2);
  // Woken by the message, not by the end of the lock.
  EXPECT_EQ(Sum("satchel_fleet_heirs_total"), 0);
}

TEST_F(FleetLockTest, EveryColdKeyIsFetchedOnceHoweverTheRequestsFall) {
  origin.Otherwise(
      [](OriginExchange& exchange) { exchange.Respond(Fresh("of " + exchange.request().target)); });
  StartFleet(FleetConfig());
  constexpr int kKeys = 100;
  std::atomic<int> wrong = 0;
  RunTogether(6, [&](size_t who) {
    RawClient client = fleet[who % 3]->Connect();
    for (int i = 0; i < kKeys; ++i) {
      const std::string target = "/" + std::to_string(i);
      if (client.Get(target).body != "of " + target) ++wrong;
    }
  });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(origin.RequestCount(), static_cast<size_t>(kKeys));
}

TEST_F(FleetLockTest, AHolderThatDiesHasOneHeir) {
  HoldAs("first");
  StartFleet(FleetConfig("cluster_lock: 1s, wait: 60s"));
  RawClient doomed = fleet[0]->Connect();
  ASSERT_TRUE(doomed.Send(Request("GET", "/")));
  ASSERT_TRUE(origin.WaitUntilHeld("first"));
  std::vector<RawClient> clients;
  for (size_t i = 0; i < 200; ++i) {
    clients.emplace_back(fleet[1 + i % 2]->address());
    ASSERT_TRUE(clients.back().Send(Request("GET", "/")));
  }
  ASSERT_TRUE(WaitForWaiters(2));
  fleet[0]->ExpectNoCleanExit();
  fleet[0]->process().Signal(SIGKILL);
  // The lock outlives its holder until it expires; then one of the two takes over.
  ASSERT_TRUE(origin.WaitForRequests(2));
  origin.Release("first");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
  EXPECT_EQ(origin.RequestCount(), 2u);
  fleet.erase(fleet.begin());
  EXPECT_EQ(Sum("satchel_fleet_heirs_total"), 1);
}

TEST_F(FleetLockTest, AHolderWhoseFetchFailsHasAnHeirAtOnce) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Hold("first");
    exchange.SendHead(200, {{"Content-Length", "100"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("cut");
    exchange.Reset();
  });
  origin.On("/", Fresh("whole"));
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"), 2);
  RawClient first = fleet[0]->Connect();
  ASSERT_TRUE(first.Send(Request("GET", "/")));
  ASSERT_TRUE(origin.WaitUntilHeld("first"));
  RawClient second = fleet[1]->Connect();
  ASSERT_TRUE(second.Send(Request("GET", "/")));
  ASSERT_TRUE(WaitForWaiters(1));
  origin.Release("first");
  EXPECT_EQ(second.Read().body, "whole");
  EXPECT_FALSE(first.Read().complete);
}

TEST_F(FleetLockTest, AnUncacheableAnswerReleasesAllAtOnceAtItsHead) {
  std::atomic<int> number = 0;
  origin.On("/", [&](OriginExchange& exchange) {
    const int mine = ++number;
    if (mine == 1) exchange.Hold("head");
    exchange.SendHead(200, {{"Cache-Control", "no-store"}, {"Content-Length", "4"}});
    if (mine == 1) exchange.Hold("body");
    exchange.Send("mine");
  });
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"));
  RawClient first = fleet[0]->Connect();
  ASSERT_TRUE(first.Send(Request("GET", "/")));
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  std::vector<RawClient> others;
  for (size_t i = 0; i < 20; ++i) {
    others.emplace_back(fleet[1 + i % 2]->address());
    ASSERT_TRUE(others.back().Send(Request("GET", "/")));
  }
  ASSERT_TRUE(WaitForWaiters(2));
  origin.Release("head");
  // While the first one's body is still held.
  for (RawClient& client : others) EXPECT_EQ(client.Read().body, "mine");
  origin.Release("body");
  EXPECT_EQ(first.Read().body, "mine");
  EXPECT_EQ(origin.RequestCount(), 21u);
}

TEST_F(FleetLockTest, WhatIsTooLargeForTheSharedTierIsFetchedByEachWithoutWaiting) {
  const std::string body = Pattern(0, 300'000);
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Hold("large");
    exchange.Respond(Fresh(body));
  });
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m", "max_object: 100KiB"));
  std::vector<RawClient> clients = Crowd(5, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("large"));
  ASSERT_TRUE(WaitForWaiters(2));
  origin.Release("large");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, body);
  EXPECT_EQ(origin.RequestCount(), 3u);
  for (const auto& instance : fleet) EXPECT_TRUE(CacheStatus(instance->Get("/")).hit());
}

TEST_F(FleetLockTest, VariantsWaitOnlyForTheirOwn) {
  origin.On("/", [](OriginExchange& exchange) {
    const std::string lang = exchange.request().fields.Get("X-Lang");
    exchange.Hold(lang);
    exchange.Respond(Fresh("in " + lang, 60, {{"Vary", "X-Lang"}}));
  });
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"));
  const auto ask = [&](size_t who, const std::string& lang) {
    RawClient client = fleet[who]->Connect();
    EXPECT_TRUE(client.Send(Request("GET", "/", {{"X-Lang", lang}})));
    return client;
  };
  RawClient de = ask(0, "de");
  ASSERT_TRUE(origin.WaitUntilHeld("de"));
  // Nobody knows yet that there are variants.
  RawClient en = ask(1, "en");
  RawClient de_too = ask(2, "de");
  ASSERT_TRUE(WaitForWaiters(2));
  origin.Release("de");
  EXPECT_EQ(de.Read().body, "in de");
  EXPECT_EQ(de_too.Read().body, "in de");
  ASSERT_TRUE(origin.WaitUntilHeld("en"));
  // Now it is known: another variant is fetched beside it.
  RawClient fr = ask(2, "fr");
  ASSERT_TRUE(origin.WaitUntilHeld("fr"));
  origin.Release("fr");
  EXPECT_EQ(fr.Read().body, "in fr");
  origin.Release("en");
  EXPECT_EQ(en.Read().body, "in en");
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(FleetLockTest, AStaleResponseIsRefreshedOnceForTheFleetAndServedMeanwhile) {
  origin.Next("/", StaleSince(5, "old", "stale-while-revalidate=600"));
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("refresh");
    exchange.Respond(Fresh("new"));
  });
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"));
  ASSERT_EQ(fleet[0]->Get("/").body, "old");
  ASSERT_TRUE(Eventually([&] { return !redis.Records().empty(); }));
  for (int round = 0; round < 5; ++round) {
    for (const auto& instance : fleet) EXPECT_EQ(instance->Get("/").body, "old");
  }
  ASSERT_TRUE(origin.WaitUntilHeld("refresh"));
  ASSERT_TRUE(WaitForWaiters(2));
  for (const auto& instance : fleet) EXPECT_EQ(instance->Get("/").body, "old");
  origin.Release("refresh");
  for (const auto& instance : fleet) {
    EXPECT_TRUE(Eventually([&] { return instance->Get("/").body == "new"; }));
  }
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(FleetLockTest, ABusyResponseIsRefreshedBeforeItExpiresOnceForTheFleet) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Hold("slow");
    exchange.Respond(Fresh("old", 100, {{"Age", "80"}}));
  });
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("refresh");
    exchange.Respond(Fresh("new", 1000));
  });
  StartFleet(FleetConfig("early_refresh: 10, cluster_lock: 10m, wait: 10m"));
  RawClient first = fleet[0]->Connect();
  ASSERT_TRUE(first.Send(Request("GET", "/")));
  ASSERT_TRUE(origin.WaitUntilHeld("slow"));
  PassTime(std::chrono::seconds(1));  // what the fetch takes
  origin.Release("slow");
  EXPECT_EQ(first.Read().body, "old");
  ASSERT_TRUE(Eventually([&] { return !redis.Records().empty(); }));
  // Twenty seconds before the end one hit in seven draws the refresh; nobody waits for it.
  EXPECT_TRUE(Eventually([&] {
    for (const auto& instance : fleet) {
      const Response response = instance->Get("/");
      EXPECT_EQ(response.body, "old");
      EXPECT_TRUE(CacheStatus(response).hit()) << Describe(response);
    }
    return Sum("satchel_early_refreshes_total") >= 3 && Sum("satchel_fleet_waits_total") >= 2;
  }));
  EXPECT_EQ(origin.RequestCount(), 2u);
  origin.Release("refresh");
  for (const auto& instance : fleet) {
    EXPECT_TRUE(Eventually([&] { return instance->Get("/").body == "new"; }));
  }
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(FleetLockTest, ARequestThatWantsAnAnswerOfItsOwnWaitsForNobody) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Hold("held");
    exchange.Respond(Fresh("first"));
  });
  origin.On("/", Fresh("second"));
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"), 2);
  RawClient first = fleet[0]->Connect();
  ASSERT_TRUE(first.Send(Request("GET", "/")));
  ASSERT_TRUE(origin.WaitUntilHeld("held"));
  EXPECT_EQ(fleet[1]->Get("/", {{"Cache-Control", "no-cache"}}).body, "second");
  origin.Release("held");
  EXPECT_EQ(first.Read().body, "first");
}

TEST_F(FleetLockTest, WhoHasWaitedLongEnoughFetchesForItself) {
  origin.On("/", [](OriginExchange& exchange) {
    // The first bytes keep the lock alive beyond the wait.
    exchange.SendHead(200, {{"Cache-Control", "max-age=60"}, {"Content-Length", "2"}});
    exchange.Send("x");
    exchange.Hold("both");
    exchange.Send("y");
  });
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 1s"), 2);
  std::vector<RawClient> clients = Crowd(1, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("both", 2));
  EXPECT_GE(Sum("satchel_bounds_hit_total", {"bound=\"fleet-wait\""}), 1);
  origin.Release("both");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "xy");
}

TEST_F(FleetLockTest, SwitchedOffEachInstanceFetchesForItself) {
  HoldAs("all");
  StartFleet(FleetConfig("cluster_lock: off"));
  std::vector<RawClient> clients = Crowd(5, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("all", 3));
  origin.Release("all");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(FleetLockTest, ARedisThatGoesAwayKeepsNobodyWaiting) {
  HoldAs("all");
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"));
  std::vector<RawClient> clients = Crowd(5, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("all"));
  ASSERT_TRUE(WaitForWaiters(2));
  redis.Kill();
  ASSERT_TRUE(origin.WaitUntilHeld("all", 3));
  origin.Release("all");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
}

TEST_F(FleetLockTest, AHolderThatLivesKeepsTheLockHoweverSlowItsOrigin) {
  HoldAs("slow");
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"));
  std::vector<RawClient> clients = Crowd(1, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("slow"));
  ASSERT_TRUE(WaitForWaiters(2));
  // Every 200 ms of a lease of 600 ms.
  ASSERT_TRUE(
      Eventually([&] { return Sum("satchel_fleet_locks_total", {"result=\"renewed\""}) >= 8; }));
  origin.Release("slow");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_EQ(Sum("satchel_fleet_let_downs_total"), 0);
  EXPECT_EQ(Sum("satchel_fleet_wait_seconds_count"), 2);
  EXPECT_GE(Sum("satchel_fleet_wait_seconds_sum"), 2.0);
}

TEST_F(FleetLockTest, AHolderThatLosesRedisKeepsOthersForItsLeaseAlone) {
  HoldAs("all");
  FaultRelay relay(redis.address());
  SatchelConfig behind = FleetConfig("cluster_lock: 10m, wait: 10m");
  behind.l2 = "redis: \"redis://" + relay.address() + "/0\", deadline: 5s";
  StartFleet(behind, 1);
  StartFleet(FleetConfig("cluster_lock: 10m, wait: 10m"), 2);
  RawClient holder = fleet[0]->Connect();
  ASSERT_TRUE(holder.Send(Request("GET", "/")));
  ASSERT_TRUE(origin.WaitUntilHeld("all"));
  std::vector<RawClient> others;
  for (size_t i = 1; i < fleet.size(); ++i) {
    others.push_back(fleet[i]->Connect());
    ASSERT_TRUE(others.back().Send(Request("GET", "/")));
  }
  ASSERT_TRUE(WaitForWaiters(2));
  relay.Set({.hold = true});
  const auto lost = std::chrono::steady_clock::now();
  ASSERT_TRUE(origin.WaitUntilHeld("all", 2));
  // Its lease is over in 600 ms, its deadline in 5 s.
  EXPECT_LT(std::chrono::steady_clock::now() - lost, std::chrono::seconds(4));
  EXPECT_EQ(Sum("satchel_fleet_heirs_total"), 1);
  origin.Release("all");
  for (RawClient& client : others) EXPECT_EQ(client.Read().body, "x");
  EXPECT_EQ(holder.Read().body, "x");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(FleetLockTest, WordsThatAreNotTrueAreBelievedOnceOnly) {
  std::atomic<int> number = 0;
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Hold(std::to_string(++number));
    exchange.Respond(Fresh("x", 60, {{"Vary", "X-Lang"}}));
  });
  std::vector<std::unique_ptr<FaultRelay>> relays;
  for (size_t i = 0; i < 4; ++i) {
    relays.push_back(std::make_unique<FaultRelay>(redis.address()));
    SatchelConfig config = FleetConfig("cluster_lock: 10m, wait: 10m");
    config.l2 = "redis: \"redis://" + relays[i]->address() + "/0\", deadline: 5s";
    StartFleet(config, 1);
  }
  std::vector<RawClient> clients = Crowd(1, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("1"));
  ASSERT_TRUE(WaitForWaiters(3));
  // Stores of variants fail, locks and their words go through.
  for (const auto& relay : relays) {
    relay->Set({.error = [](const std::string& command) -> std::optional<std::string> {
      if (command == "EVAL") return "OOM command not allowed when used memory > 'maxmemory'.";
      return std::nullopt;
    }});
  }
  origin.Release("1");
  ASSERT_TRUE(origin.WaitUntilHeld("2"));
  ASSERT_TRUE(Eventually([&] { return Sum("satchel_fleet_let_downs_total") == 3; }));
  EXPECT_EQ(origin.RequestCount(), 2u);
  origin.Release("2");
  // Together: neither waits for the other.
  ASSERT_TRUE(origin.WaitUntilHeld("3"));
  ASSERT_TRUE(origin.WaitUntilHeld("4"));
  origin.Release("3");
  origin.Release("4");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
  EXPECT_EQ(Sum("satchel_fleet_heirs_total"), 1);
}

TEST_F(FleetLockTest, NoKeyStaysWithoutATimeToLive) {
  HoldAs("held");
  StartFleet(FleetConfig());
  std::vector<RawClient> clients = Crowd(1, "/");
  ASSERT_TRUE(origin.WaitUntilHeld("held"));
  const std::vector<std::string> during = redis.Keys("*:lock");
  ASSERT_EQ(during.size(), 1u);
  EXPECT_GT(std::stol(redis.Command({"PTTL", during[0]})), 0);
  origin.Release("held");
  for (RawClient& client : clients) client.Read();
  EXPECT_TRUE(Eventually([&] { return redis.Keys("*:lock").empty(); }));
  for (const std::string& key : redis.Keys()) {
    EXPECT_GT(std::stol(redis.Command({"PTTL", key})), 0) << key;
  }
}

}  // namespace
}  // namespace satchel::testing
