#include "proxy/purge_schedule.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::proxy {
namespace {

using redis::TurnUntil;

constexpr int64_t kHour = 1'772'330'400;

rules::PurgeConfig Nightly() {
  rules::PurgeConfig config;
  rules::PurgeConfig::Scheduled entry;
  entry.name = "nightly";
  entry.at = {*rules::Cron::Parse("30 * * * *")};
  entry.tags = {"a", "b"};
  entry.soft = true;
  config.schedule = {entry};
  return config;
}

class PurgeScheduleTest : public ::testing::Test {
 protected:
  // One process of the fleet.
  struct Instance {
    std::vector<std::string> purged;
    std::vector<std::function<void(bool)>> open;  // not finished yet
    std::unique_ptr<redis::Client> client;
    std::unique_ptr<PurgeSchedule> schedule;
  };

  std::unique_ptr<Instance> Start(const std::string& name, bool shared = true) {
    auto instance = std::make_unique<Instance>();
    if (shared) {
      instance->client = std::make_unique<redis::Client>(
          loop, resolver,
          redis::PatientOptions<redis::Client::Options>(*net::Address::Parse(server.address())));
    }
    instance->schedule = std::make_unique<PurgeSchedule>(
        loop, instance->client.get(),
        PurgeSchedule::Options{.prefix = "satchel",
                               .instance = name,
                               .claim_ms = claim_ms,
                               .deadline_ms = 10'000,
                               .look_ms = 10},
        [this] { return now; },
        [raw = instance.get()](const PurgeRequest& request, const std::string& who,
                               std::function<void(bool)> done) {
          raw->purged.push_back(who + ": " + (request.soft ? "soft " : "hard ") +
                                request.Describe());
          raw->open.push_back(std::move(done));
        });
    if (shared) {
      instance->client->Start();
      EXPECT_TRUE(TurnUntil(loop, [&] { return instance->client->available(""); }));
    }
    instance->schedule->Configure(Nightly());
    return instance;
  }
  void Strike() { now = cache::TimeFromUnixSeconds(kHour + 1800); }

  testing::RedisProcess server;
  net::EventLoop loop;
  net::Resolver resolver{loop};
  cache::Time now = cache::TimeFromUnixSeconds(kHour);
  int64_t claim_ms = 60'000;
};

TEST_F(PurgeScheduleTest, OneInstancePurgesForAll) {
  claim_ms = 500;
  std::vector<std::unique_ptr<Instance>> all;
  for (const char* name : {"a", "b", "c"}) all.push_back(Start(name));
  Strike();
  const auto count = [&](uint64_t ScheduleStatus::* which) {
    uint64_t sum = 0;
    for (const auto& one : all) sum += one->schedule->status().*which;
    return sum;
  };
  ASSERT_TRUE(TurnUntil(loop, [&] { return count(&ScheduleStatus::ran) == 1; }));
  for (const auto& one : all) {
    for (const auto& done : one->open) done(true);
  }
  ASSERT_TRUE(TurnUntil(loop, [&] { return count(&ScheduleStatus::elsewhere) == 2; }));
  EXPECT_EQ(count(&ScheduleStatus::ran), 1u);
  EXPECT_EQ(count(&ScheduleStatus::alone) + count(&ScheduleStatus::lost), 0u);
  for (const auto& one : all) {
    if (one->purged.empty()) continue;
    EXPECT_EQ(one->purged, std::vector<std::string>{"schedule nightly: soft tags a, b"});
  }
  // What was claimed leaves the Redis by itself.
  const std::string key = "satchel:cron:nightly:" + std::to_string(kHour + 1800);
  EXPECT_EQ(server.Command({"GET", key}), "=done");
  EXPECT_GT(std::stol(server.Command({"PTTL", key})), 3'500'000);
}

TEST_F(PurgeScheduleTest, AnInstanceThatComesLateFindsItDone) {
  const auto first = Start("a");
  const auto second = Start("b");
  second->schedule->Configure({});
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() == 1; }));
  first->open[0](true);
  now = cache::TimeFromUnixSeconds(kHour);  // its clock is behind
  second->schedule->Configure(Nightly());
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return second->schedule->status().elsewhere == 1; }));
  EXPECT_TRUE(second->purged.empty());
}

TEST_F(PurgeScheduleTest, AnotherTakesOverFromOneThatDies) {
  claim_ms = 300;
  auto first = Start("a");
  const auto second = Start("b");
  second->schedule->Configure({});
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() == 1; }));
  first.reset();
  now = cache::TimeFromUnixSeconds(kHour);
  second->schedule->Configure(Nightly());
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return second->purged.size() == 1; }));
  EXPECT_EQ(second->schedule->status().ran, 1u);
}

TEST_F(PurgeScheduleTest, WhatCouldNotBeSharedIsLeftToOneThatCan) {
  claim_ms = 300;
  const auto first = Start("a");
  const auto second = Start("b");
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() + second->open.size() == 1; }));
  const auto& owner = first->open.empty() ? second : first;
  owner->open[0](false);
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() + second->open.size() == 2; }));
  EXPECT_EQ(first->purged.size(), 1u);
  EXPECT_EQ(second->purged.size(), 1u);
}

TEST_F(PurgeScheduleTest, WithoutAnAnswerOfRedisEachPurgesForItself) {
  const auto first = Start("a");
  const auto second = Start("b");
  server.Kill();
  ASSERT_TRUE(TurnUntil(
      loop, [&] { return !first->client->available("") && !second->client->available(""); }));
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() + second->open.size() == 2; }));
  EXPECT_EQ(first->schedule->status().alone, 1u);
  EXPECT_EQ(second->schedule->status().alone, 1u);
  first->open[0](false);
}

TEST_F(PurgeScheduleTest, WithoutASharedStoreItPurgesHere) {
  const auto only = Start("a", false);
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return only->open.size() == 1; }));
  only->open[0](true);
  EXPECT_EQ(only->schedule->status().ran, 1u);
  const auto next = only->schedule->status().next;
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].first, "nightly");
  EXPECT_EQ(next[0].second, (kHour + 5400) * 1000);
}

TEST_F(PurgeScheduleTest, ARunThatWaitsForAnotherGivesWayToTheNextOfItsName) {
  claim_ms = 1'000'000;
  const auto first = Start("a");
  const auto second = Start("b");
  Strike();
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() + second->open.size() == 1; }));
  now += std::chrono::hours(1);
  ASSERT_TRUE(TurnUntil(loop, [&] { return first->open.size() + second->open.size() == 2; }));
  EXPECT_EQ(server.Keys("satchel:cron:*").size(), 2u);
}

}  // namespace
}  // namespace satchel::proxy
