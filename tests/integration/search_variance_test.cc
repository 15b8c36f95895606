// J2: one answer for all queries that the origin says mean the same (No-Vary-Search).

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

class SearchVarianceTest : public ProxyTest {
 protected:
  void Answer(const std::string& field, int lifetime = 60) {
    origin.Otherwise([this, field, lifetime](OriginExchange& exchange) {
      const std::string body = exchange.request().target + " #" + std::to_string(++answers_);
      exchange.Respond(Fresh(body, lifetime, {{"No-Vary-Search", field}, {"ETag", "\"1\""}}));
    });
  }
  static bool Hit(const Response& response) { return CacheStatus(response).hit(); }
  std::atomic<int> answers_ = 0;
};

TEST_F(SearchVarianceTest, J2_EquivalentQueriesAreHits) {
  Answer("key-order, params=(\"utm\")");
  Start();
  const std::string first = Get("/p?a=1&b=2&utm=x").body;
  Response hit = Get("/p?b=2&utm=y&a=1");
  EXPECT_TRUE(Hit(hit)) << Describe(hit);
  EXPECT_EQ(hit.body, first);
  EXPECT_EQ(CacheStatus(hit).Get("key"), "\"http://test/p?b=2&utm=y&a=1\"");
  EXPECT_TRUE(Hit(Get("/p?a=1&b=2&utm=x")));
  EXPECT_TRUE(Hit(Send("HEAD", "/p?a=1&b=2")));
  EXPECT_EQ(Get("/p?b=2&a=1", {{"If-None-Match", "\"1\""}}).status, 304);
  EXPECT_EQ(Get("/p?b=2&a=1", {{"Range", "bytes=0-1"}}).body, "/p");
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_FALSE(Hit(Get("/p?a=2&b=2")));
  EXPECT_FALSE(Hit(Get("/q?a=1&b=2")));
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_l1_equivalents"), 3);
}

TEST_F(SearchVarianceTest, J2_WithoutTheFieldEveryByteCounts) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond(Fresh("x")); });
  Start();
  Get("/p?a=1&b=2");
  EXPECT_FALSE(Hit(Get("/p?b=2&a=1")));
}

TEST_F(SearchVarianceTest, J2_AClientThatWantsValidationAsksTheOriginForItsOwnUri) {
  Answer("params=(\"utm\")");
  Start();
  Get("/p?utm=x");
  EXPECT_EQ(Get("/p?utm=y", {{"Cache-Control", "no-cache"}}).body, "/p?utm=y #2");
  EXPECT_FALSE(origin.requests().back().fields.Has("If-None-Match"));
  // The latest answers for all.
  EXPECT_EQ(Get("/p").body, "/p?utm=y #2");
}

TEST_F(SearchVarianceTest, J2_AStaleEquivalentIsNeitherServedNorValidated) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(StaleSince(0, exchange.request().target, "stale-while-revalidate=60",
                                {{"ETag", "\"1\""}, {"No-Vary-Search", "params"}}));
  });
  Start();
  Get("/p?a=1");
  EXPECT_EQ(Get("/p?a=2").body, "/p?a=2");
  EXPECT_FALSE(origin.requests().back().fields.Has("If-None-Match"));
}

TEST_F(SearchVarianceTest, J2_WhatIsStoredNowDecidesNotWhatWasStoredOnce) {
  std::atomic<int> asked = 0;
  origin.Otherwise([&](OriginExchange& exchange) {
    Fields more;
    if (++asked == 1) more.Add("No-Vary-Search", "params");
    exchange.Respond(Fresh(exchange.request().target, 60, more));
  });
  Start();
  Get("/p?a=1");
  Get("/p?a=1", {{"Cache-Control", "no-cache"}});
  EXPECT_EQ(Get("/p?a=2").body, "/p?a=2");
}

TEST_F(SearchVarianceTest, J2_VaryAndTheQueryBothSelect) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().fields.Get("X-V"), 60,
                           {{"Vary", "X-V"}, {"No-Vary-Search", "params"}}));
  });
  Start();
  Get("/p?a=1", {{"X-V", "1"}});
  EXPECT_TRUE(Hit(Get("/p?a=2", {{"X-V", "1"}})));
  EXPECT_EQ(Get("/p?a=2", {{"X-V", "2"}}).body, "2");
}

TEST_F(SearchVarianceTest, J2_AnInvalidationOfOneUriReachesItsEquivalents) {
  Answer("params=(\"utm\")");
  Start();
  Get("/p?a=1&utm=x");
  Get("/p?a=2&utm=x");
  EXPECT_EQ(Send("DELETE", "/p?a=1").status, 200);
  EXPECT_FALSE(Hit(Get("/p?a=1&utm=y")));
  EXPECT_TRUE(Hit(Get("/p?a=2")));
}

TEST_F(SearchVarianceTest, J2_AnAnswerAskedForBeforeAnInvalidationDoesNotOutliveIt) {
  origin.On("/p", [](OriginExchange& exchange) {
    if (exchange.request().method == "GET") exchange.Hold("old");
    exchange.Respond(Fresh("old", 60, {{"No-Vary-Search", "params"}}));
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/p?a=1"));
  ASSERT_TRUE(origin.WaitUntilHeld("old"));
  EXPECT_EQ(Send("DELETE", "/p?a=2").status, 200);
  origin.Release("old");
  EXPECT_EQ(client.Read().body, "old");
  EXPECT_FALSE(Hit(Get("/p?a=2")));
}

TEST_F(SearchVarianceTest, J2_AnEquivalentIsNotRefreshedEarlyForAnotherUri) {
  origin.Next("/p?utm=x", [](OriginExchange& exchange) {
    exchange.Hold("slow");
    exchange.Respond(Fresh("x", 100, {{"Age", "95"}, {"ETag", "\"1\""},
                                      {"No-Vary-Search", "params=(\"utm\")"}}));
  });
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond(Fresh("refreshed")); });
  SatchelConfig config = Config();
  config.cache = "early_refresh: 10";
  Start(config);
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/p?utm=x"));
  ASSERT_TRUE(origin.WaitUntilHeld("slow"));
  PassTime(std::chrono::milliseconds(500));  // what the fetch takes
  origin.Release("slow");
  EXPECT_EQ(client.Read().body, "x");
  // One hit in three would draw the refresh.
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Hit(Get("/p?utm=y")));
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_early_refreshes_total"), 0);
  EXPECT_TRUE(Eventually([&] {
    Get("/p?utm=x");
    return satchel->ReadMetrics().Sum("satchel_early_refreshes_total") == 1;
  }));
}

TEST_F(SearchVarianceTest, J2_WhatAnotherInstanceInvalidatesIsNotServedFromAnEquivalent) {
  RedisProcess redis;
  Answer("params=(\"utm\")");
  SatchelConfig config = Config();
  config.l2 = "redis: \"" + redis.url() + "\", deadline: 2s";
  Start(config);
  SatchelProcess other(config);
  ASSERT_TRUE(satchel->WaitForRedis() && other.WaitForRedis());
  Get("/p?a=1&utm=x");
  EXPECT_TRUE(Hit(Get("/p?a=1")));
  EXPECT_EQ(other.Send("DELETE", "/p?a=1").status, 200);
  EXPECT_TRUE(Eventually([&] {
    return !Hit(Get("/p?a=1", {{"Cache-Control", "only-if-cached"}}));
  }));
  // What was not named goes on, for this instance alone knows that it is the same.
  EXPECT_TRUE(Hit(Get("/p?a=1&utm=x")));
}

}  // namespace
}  // namespace satchel::testing
