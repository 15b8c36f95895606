// purge.schedule, from the rule file to what clients get.

#include <atomic>

#include "tests/support/fleet_fixture.h"

namespace satchel::testing {
namespace {

class PurgeScheduleTest : public FleetTest {
 protected:
  void SetUp() override {
    origin.On("/", [this](OriginExchange& exchange) {
      Fields fields;
      fields.Add("Surrogate-Key", "prices");
      exchange.Respond(Fresh(std::to_string(++version), 600, fields));
    });
  }
  static double Runs(const SatchelProcess& at, const std::string& result) {
    return at.ReadMetrics().Sum("satchel_purge_schedule_runs_total", {"result=\"" + result + "\""});
  }

  std::atomic<int> version{0};
};

TEST_F(PurgeScheduleTest, WhatIsScheduledIsPurgedWithoutRedisToo) {
  SatchelConfig config = Config();
  config.rest = "purge: {schedule: [{name: prices, at: \"@every 1s\", tags: prices}]}\n";
  SatchelProcess satchel(config);
  const std::string first = satchel.Get("/").body;
  EXPECT_TRUE(Eventually([&] { return satchel.Get("/").body != first; }));
  EXPECT_GE(Runs(satchel, "here"), 1);
  EXPECT_TRUE(satchel.Status()["purge_schedule"]["prices"]["next_unix_s"].is_number());
  EXPECT_NE(satchel.process().err().find("by schedule prices"), std::string::npos);
}

TEST_F(PurgeScheduleTest, OfAFleetOneInstancePurgesAtEachMomentAndAllForget) {
  SatchelConfig config = FleetConfig();
  config.rest = "purge: {schedule: [{name: prices, at: \"@every 2s\", tags: prices}]}\n";
  StartFleet(config, 2);
  const std::string first = fleet[0]->Get("/", {{"Host", "shop.test"}}).body;
  for (const auto& one : fleet) {
    EXPECT_TRUE(Eventually([&] { return one->Get("/", {{"Host", "shop.test"}}).body != first; }));
  }
  // Each moment is one key, done once, and each instance knows of it.
  EXPECT_TRUE(Eventually([&] { return redis.Keys("satchel:cron:prices:*").size() >= 2; }));
  EXPECT_TRUE(Eventually([&] {
    return Runs(*fleet[0], "elsewhere") + Runs(*fleet[1], "elsewhere") >= 1;
  }));
  const auto total = [&](const std::string& result) {
    return Runs(*fleet[0], result) + Runs(*fleet[1], result);
  };
  const double ran = total("here");
  EXPECT_LE(ran, static_cast<double>(redis.Keys("satchel:cron:prices:*").size()));
  EXPECT_EQ(total("alone") + total("lost"), 0);
  for (const std::string& key : redis.Keys("satchel:cron:*")) {
    EXPECT_GT(std::stol(redis.Command({"PTTL", key})), 0) << key;
  }
}

TEST_F(PurgeScheduleTest, AScheduleThatAReloadBringsIsFollowed) {
  SatchelConfig config = Config();
  SatchelProcess satchel(config);
  const std::string first = satchel.Get("/").body;
  EXPECT_EQ(satchel.Get("/").body, first);
  EXPECT_FALSE(satchel.Status().contains("purge_schedule"));
  config.rest = "purge: {schedule: [{name: all, at: [\"0 0 1 1 *\", \"@every 1s\"], all: true}]}\n";
  satchel.Reload(config);
  EXPECT_TRUE(Eventually([&] { return satchel.Get("/").body != first; }));
}

}  // namespace
}  // namespace satchel::testing
