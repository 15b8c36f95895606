// Warming: lists, history, readiness, the fleet.

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/support/fleet_fixture.h"

namespace satchel::testing {
namespace {

constexpr int kPages = 10;

class WarmTest : public FleetTest {
 protected:
  void SetUp() override {
    origin.Otherwise([](OriginExchange& exchange) {
      Fields fields;
      fields.Add("Vary", "Accept-Language");
      exchange.Respond(Fresh("page " + exchange.request().target + " " +
                                 exchange.request().fields.Get("Accept-Language"),
                             600, fields));
    });
  }

  static std::string Page(int i) { return "/page/" + std::to_string(i); }
  static Response Ask(const SatchelProcess& at, const std::string& target, Fields fields = {}) {
    fields.Add("Host", "shop.test");
    return at.Get(target, fields);
  }
  static double Warmed(const SatchelProcess& at, const std::string& result) {
    return at.ReadMetrics().Sum("satchel_warm_requests_total", {"result=\"" + result + "\""});
  }
  // The urls of a list, as a flow list's inside.
  static std::string Urls(int count) {
    std::string urls;
    for (int i = 0; i < count; ++i) urls += (i > 0 ? ", " : "") + ("\"http://shop.test" + Page(i) + "\"");
    return urls;
  }
  static SatchelConfig With(SatchelConfig config, const std::string& entry) {
    config.rest += "warmup: [{" + entry + "}]\n";
    return config;
  }
  // The hours of popularity that a reader looks at, now and in a moment.
  void SeedHistory(const std::vector<std::string>& recipes) {
    const auto hour = std::chrono::duration_cast<std::chrono::hours>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
    double score = 1000;
    for (const std::string& recipe : recipes) {
      redis.Command({"ZADD", "satchel:pop:" + std::to_string(hour), std::to_string(score--), recipe});
    }
  }
  static void ExpectHit(const SatchelProcess& at, const std::string& target, Fields fields = {}) {
    const Response response = Ask(at, target, std::move(fields));
    const CacheStatus status(response);
    EXPECT_TRUE(status.hit()) << target << "\n" << Describe(response);
    EXPECT_NE(status.Get("detail").find("/l1"), std::string::npos) << Describe(response);
  }
};

TEST_F(WarmTest, ARestartedInstanceIsWarmBeforeItIsReadyAndTheOriginKnowsNothingOfIt) {
  const SatchelConfig config = With(FleetConfig(), "name: hot, from: history, at: startup");
  StartFleet(config, 1);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kPages; ++i) {
      Ask(*fleet[0], Page(i), {{"Accept-Language", "de"}, {"Cookie", "sid=s3cret"}});
    }
  }
  Ask(*fleet[0], "/account", {{"Authorization", "Bearer s3cret"}});
  Ask(*fleet[0], "/page?token=s3cret&Authorization=s3cret");
  // Told every ten seconds.
  ASSERT_TRUE(Eventually([&] {
    return fleet[0]->ReadMetrics().Sum("satchel_popularity_told_total") >= kPages;
  }));
  const std::string dump = redis.Dump();
  EXPECT_NE(dump.find("1 GET http://shop.test/page/3\naccept-language: de"), std::string::npos);
  for (const std::string& key : redis.Keys("satchel:pop:*")) {
    EXPECT_EQ(redis.Command({"ZRANGE", key, "0", "-1"}).find("Authorization"), std::string::npos);
    EXPECT_EQ(redis.Command({"ZRANGE", key, "0", "-1"}).find("sid"), std::string::npos);
    EXPECT_GT(std::stol(redis.Command({"TTL", key})), 24 * 3600);
  }
  fleet.clear();
  const size_t before = origin.RequestCount();
  origin.Down();
  StartFleet(config, 1);
  EXPECT_EQ(Warmed(*fleet[0], "shared"), kPages);
  for (int i = 0; i < kPages; ++i) ExpectHit(*fleet[0], Page(i), {{"Accept-Language", "de"}});
  EXPECT_EQ(origin.RequestCount(), before);
}

TEST_F(WarmTest, WhatOthersWroteIntoTheHistoryHarmsNobody) {
  SeedHistory({"1 GET http://shop.test/page/1\nauthorization: Bearer x", "junk", "1 GET file:///etc",
               "1 GET http://shop.test/page/2\nx-forwarded-host: evil.test",
               "1 GET http://shop.test/page/3"});
  StartFleet(With(FleetConfig(), "name: hot, from: history, at: startup, ready_at: 100%"), 1);
  EXPECT_EQ(fleet[0]->ReadMetrics().Sum("satchel_popularity_bad_recipes_total"), 4);
  EXPECT_EQ(Warmed(*fleet[0], "fetched"), 1);
  EXPECT_EQ(origin.RequestCount(), 1u);
  ExpectHit(*fleet[0], Page(3));
}

TEST_F(WarmTest, ReadinessWaitsForItsShareOfAList) {
  StartFleet(With(FleetConfig(), "name: list, urls: [" + Urls(kPages) +
                                     "], at: startup, rate: 1000/1s, ready_at: 100%"),
             1);
  EXPECT_EQ(origin.RequestCount(), static_cast<size_t>(kPages));
  EXPECT_EQ(Warmed(*fleet[0], "fetched"), kPages);
  for (int i = 0; i < kPages; ++i) ExpectHit(*fleet[0], Page(i));
  EXPECT_EQ(origin.RequestCount(), static_cast<size_t>(kPages));
  const nlohmann::json run = fleet[0]->Status()["warm"]["runs"][0];
  EXPECT_EQ(run["name"], "list");
  EXPECT_EQ(run["fetched"], kPages);
  EXPECT_TRUE(run["finished"].get<bool>());
}

TEST_F(WarmTest, ReadinessComesWithItsTimeoutThoughTheOriginHangs) {
  origin.On(Page(0), [](OriginExchange& exchange) { exchange.Hold("slow"); });
  const auto begun = std::chrono::steady_clock::now();
  Start(With(Config(), "name: list, urls: [" + Urls(1) +
                           "], at: startup, ready_at: 100%, ready_timeout: 400ms"));
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(400));
  EXPECT_TRUE(origin.WaitUntilHeld("slow"));
  EXPECT_EQ(satchel->Status()["warm"]["runs"][0]["done"], 0);
  origin.Release("slow");
}

TEST_F(WarmTest, WithoutRedisItIsReadyAndWarmsByTheOrigin) {
  SatchelConfig config = FleetConfig();
  config.l1 = "size: 64MiB, incoherent_ttl: 60s";  // what was warmed is to be there yet
  redis.Kill();
  config.rest =
      "warmup:\n"
      "  - {name: hot, from: history, at: startup, ready_at: 100%}\n"
      "  - {name: list, urls: [" + Urls(3) + "], at: startup, rate: 1000/1s, ready_at: 100%}\n";
  Start(config);
  EXPECT_EQ(Warmed(*satchel, "fetched"), 3);
  for (int i = 0; i < 3; ++i) ExpectHit(*satchel, Page(i));
}

TEST_F(WarmTest, AFleetThatWarmsAtOnceAsksTheOriginOnceForEach) {
  StartFleet(With(FleetConfig(), "name: list, urls: [" + Urls(kPages) +
                                     "], at: \"@every 2s\", rate: 1000/1s"),
             3);
  for (const auto& one : fleet) {
    EXPECT_TRUE(Eventually([&] {
      const Metrics metrics = one->ReadMetrics();
      return metrics.Sum("satchel_warm_requests_total", {"result=\"fetched\""}) +
                 metrics.Sum("satchel_warm_requests_total", {"result=\"shared\""}) >=
             kPages;
    }));
  }
  for (const auto& one : fleet) {
    for (int i = 0; i < kPages; ++i) ExpectHit(*one, Page(i));
  }
  for (int i = 0; i < kPages; ++i) EXPECT_EQ(origin.RequestCount(Page(i)), 1u) << i;
}

TEST_F(WarmTest, EveryCombinationOfTheValuesIsWarmed) {
  Start(With(Config(), "name: list, urls: [" + Urls(2) +
                           "], headers: {Accept-Language: [en, de, fr]}, at: startup, "
                           "rate: 1000/1s, ready_at: 100%"));
  EXPECT_EQ(origin.RequestCount(), 6u);
  for (const char* language : {"en", "de", "fr"}) {
    ExpectHit(*satchel, Page(0), {{"Accept-Language", language}});
    ExpectHit(*satchel, Page(1), {{"Accept-Language", language}});
  }
}

TEST_F(WarmTest, AllVariantsAreThoseThatTheRuleTellsApart) {
  SatchelConfig config = With(Config(), "name: list, urls: [" + Urls(1) +
                                            "], all_variants: true, at: startup, rate: 1000/1s, "
                                            "ready_at: 100%");
  config.cache = "normalize: {Accept-Language: [en, de]}";
  Start(config);
  EXPECT_EQ(origin.RequestCount(), 2u);
  ExpectHit(*satchel, Page(0), {{"Accept-Language", "de-CH, de;q=0.9"}});
  ExpectHit(*satchel, Page(0), {{"Accept-Language", "en-GB"}});
}

TEST_F(WarmTest, TheOriginIsAskedNoFasterThanTheRate) {
  std::mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> times;
  origin.Otherwise([&](OriginExchange& exchange) {
    {
      const std::lock_guard lock(mutex);
      times.push_back(std::chrono::steady_clock::now());
    }
    exchange.Respond(Fresh("x", 600));
  });
  Start(With(Config(), "name: list, urls: [" + Urls(kPages) +
                           "], at: startup, rate: 10/1s, concurrency: 8, ready_at: 100%"));
  ASSERT_EQ(times.size(), static_cast<size_t>(kPages));
  EXPECT_GE(times.back() - times.front(), std::chrono::milliseconds(100 * (kPages - 1) - 50));
}

TEST_F(WarmTest, TheBudgetOfBytesEndsARun) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond(Fresh(std::string(1024, 'x'), 600)); });
  Start(With(Config(), "name: list, urls: [" + Urls(kPages) +
                           "], at: startup, rate: 1000/1s, concurrency: 1, max_bytes: 3KiB, "
                           "ready_at: 100%"));
  EXPECT_EQ(Warmed(*satchel, "fetched"), 3);
  EXPECT_EQ(Warmed(*satchel, "skipped"), kPages - 3);
  EXPECT_EQ(satchel->Status()["warm"]["runs"][0]["stopped_by"], "bytes");
}

TEST_F(WarmTest, WarmingIsInternalAndChargedToNobody) {
  SatchelConfig config = With(Config(), "name: list, urls: [" + Urls(5) +
                                            ", \"http://shop.test/gone\", \"http://shop.test/private\"], "
                                            "at: startup, rate: 1000/1s, ready_at: 100%");
  origin.On("/gone", [](OriginExchange& exchange) { exchange.Respond({.status = 500}); });
  origin.On("/private", [](OriginExchange& exchange) {
    Fields fields;
    fields.Add("Cache-Control", "no-store");
    exchange.Respond({.status = 200, .fields = fields, .body = "mine"});
  });
  config.rest +=
      "rate_limits: [{name: all, identify: everyone, limits: [{rate: 2/1h}]}]\n";
  Start(config);
  EXPECT_EQ(Warmed(*satchel, "fetched"), 5);
  EXPECT_EQ(Warmed(*satchel, "failed"), 1);
  EXPECT_EQ(Warmed(*satchel, "uncacheable"), 1);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_requests_total"), 0);
  EXPECT_TRUE(satchel->WaitForLogEntry(
      {{"client", "internal"}, {"listener", "internal"}, {"target", Page(2)}, {"status", 200}}));
  EXPECT_TRUE(satchel->WaitForLogEntry({{"client", "internal"}, {"target", "/gone"}}));
  // The whole of the limit is there for clients.
  EXPECT_EQ(Ask(*satchel, Page(0)).status, 200);
  EXPECT_EQ(Ask(*satchel, Page(1)).status, 200);
  EXPECT_EQ(Ask(*satchel, Page(2)).status, 429);
}

TEST_F(WarmTest, AListThatAReloadBringsIsWarmedAtItsTimes) {
  Start(Config());
  EXPECT_EQ(origin.RequestCount(), 0u);
  satchel->Reload(With(Config(), "name: list, urls: [" + Urls(3) + "], at: \"@every 1s\", rate: 1000/1s"));
  EXPECT_TRUE(Eventually([&] { return Warmed(*satchel, "fetched") == 3; }));
  EXPECT_TRUE(Eventually([&] { return Warmed(*satchel, "fresh") >= 3; }));  // and is so the next time
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(WarmTest, AListInAFileIsReadAgainWhenItChanges) {
  TempDir dir;
  dir.Write("urls.txt", "http://shop.test/page/0\n");
  Start(With(Config(), "name: list, urls: \"" + dir.path("urls.txt") +
                           "\", at: [startup, \"@every 1s\"], rate: 1000/1s, ready_at: 100%"));
  EXPECT_EQ(origin.RequestCount(), 1u);
  dir.Write("urls.txt", "# two now\nhttp://shop.test/page/0\nhttp://shop.test/page/1\n");
  EXPECT_TRUE(Eventually([&] { return Warmed(*satchel, "fetched") == 2; }));
  ExpectHit(*satchel, Page(1));
}

TEST_F(WarmTest, WhatWasPurgedIsNotBroughtBackFromTheSharedTier) {
  StartFleet(FleetConfig(), 1);
  for (int i = 0; i < 2; ++i) Ask(*fleet[0], Page(i));
  ASSERT_TRUE(Eventually([&] { return redis.Records().size() >= 2; }));
  ASSERT_EQ(Fetch(fleet[0]->admin(), "POST", "/purge", {{"Host", "localhost"}},
                  R"({"urls": "http://shop.test/page/0"})")
                .status,
            200);
  SeedHistory({"1 GET http://shop.test/page/0", "1 GET http://shop.test/page/1"});
  SatchelProcess second(With(FleetConfig(), "name: hot, from: history, at: startup, ready_at: 100%"));
  EXPECT_EQ(Warmed(second, "shared"), 1);
  EXPECT_EQ(Warmed(second, "fetched"), 1);
  EXPECT_EQ(origin.RequestCount(Page(0)), 2u);
  EXPECT_EQ(origin.RequestCount(Page(1)), 1u);
}

}  // namespace
}  // namespace satchel::testing
