// Several stored responses of one URI: which one a request selects, and what the origin is asked.

#include <algorithm>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

class VariantsTest : public ProxyTest {
 protected:
  // Two representations for any number of X-V: odd and even.
  void AnswerOddAndEven(Fields more = {}) {
    origin.Otherwise([more](OriginExchange& exchange) {
      const Fields& fields = exchange.request().fields;
      const std::string parity = (fields.Get("X-V").back() - '0') % 2 != 0 ? "odd" : "even";
      const std::string tag = "\"" + parity + "\"";
      Reply reply = Fresh(parity, 60, {{"Vary", "X-V"}, {"ETag", tag}});
      for (const Field& field : more.list()) reply.fields.Add(field.name, field.value);
      if (fields.Get("If-None-Match").find(tag) != std::string::npos) {
        reply.status = 304;
        reply.body.clear();
        reply.fields.Add("X-Validated-For", fields.Get("X-V"));
      }
      exchange.Respond(reply);
    });
  }
};

TEST_F(VariantsTest, E4_AMissByVaryNamesTheOtherVariants) {
  AnswerOddAndEven();
  Start();
  EXPECT_EQ(Get("/", {{"X-V", "1"}}).body, "odd");
  Response even = Get("/", {{"X-V", "2"}});
  EXPECT_EQ(even.body, "even");
  EXPECT_EQ(origin.requests().back().fields.Get("If-None-Match"), "\"odd\"");
  EXPECT_EQ(CacheStatus(even).fwd(), "vary-miss");

  Response third = Get("/", {{"X-V", "3"}});
  EXPECT_EQ(third.status, 200);
  EXPECT_EQ(third.body, "odd");
  EXPECT_EQ(third.Get("X-Validated-For"), "3");
  EXPECT_EQ(origin.requests().back().fields.Get("If-None-Match"), "\"even\", \"odd\"");
  EXPECT_EQ(CacheStatus(third).fwd(), "vary-miss") << Describe(third);
  EXPECT_EQ(CacheStatus(third).Get("fwd-status"), "304");
  EXPECT_TRUE(CacheStatus(third).Has("stored"));

  // Stored for this request, and the one that was confirmed is refreshed.
  Response again = Get("/", {{"X-V", "3"}});
  EXPECT_TRUE(CacheStatus(again).hit());
  EXPECT_EQ(again.body, "odd");
  Response first = Get("/", {{"X-V", "1"}});
  EXPECT_TRUE(CacheStatus(first).hit());
  EXPECT_EQ(first.Get("X-Validated-For"), "3");
  EXPECT_FALSE(Get("/", {{"X-V", "2"}}).fields.Has("X-Validated-For"));
  EXPECT_EQ(origin.RequestCount(), 3u);
}

// Whoever has the answer to the third request may ask any worker next.
TEST_F(VariantsTest, E4_WhatWasConfirmedIsRenewedBeforeAnybodyHasTheAnswer) {
  AnswerOddAndEven();
  Start();
  std::vector<RawClient> clients;  // over all workers
  for (int i = 0; i < 8; ++i) clients.push_back(satchel->Connect());
  for (int round = 0; round < 200; ++round) {
    const std::string target = "/" + std::to_string(round);
    RawClient& asking = clients[static_cast<size_t>(round) % clients.size()];
    RawClient& after = clients[static_cast<size_t>(round / 8 + round + 1) % clients.size()];
    ASSERT_EQ(asking.Get(target, {{"X-V", "1"}}).body, "odd");
    ASSERT_EQ(asking.Get(target, {{"X-V", "3"}}).Get("X-Validated-For"), "3");
    ASSERT_EQ(after.Get(target, {{"X-V", "1"}}).Get("X-Validated-For"), "3") << round;
  }
}

TEST_F(VariantsTest, E4_WhoWaitedForAConfirmationFindsWhatItRenewedToo) {
  AnswerOddAndEven();
  Start();
  std::vector<RawClient> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(satchel->Connect());
  for (int round = 0; round < 40; ++round) {
    const std::string target = "/" + std::to_string(round);
    ASSERT_EQ(clients[0].Get(target, {{"X-V", "1"}}).body, "odd");
    const double before = satchel->ReadMetrics().Sum("satchel_fills_followed_total");
    const std::string name = std::to_string(round);
    origin.On(target, [name](OriginExchange& exchange) {
      exchange.Hold(name);
      exchange.Respond({.status = 304,
                        .fields = {{"ETag", "\"odd\""},
                                   {"Vary", "X-V"},
                                   {"X-Validated-For", "3"},
                                   {"Cache-Control", "max-age=60"}}});
    });
    RawClient& leading = clients[static_cast<size_t>(round) % clients.size()];
    RawClient& waiting = clients[static_cast<size_t>(round / 8 + round + 1) % clients.size()];
    ASSERT_TRUE(leading.Send(Request("GET", target, {{"X-V", "3"}})));
    ASSERT_TRUE(origin.WaitUntilHeld(name));
    ASSERT_TRUE(waiting.Send(Request("GET", target, {{"X-V", "3"}})));
    ASSERT_TRUE(Eventually(
        [&] { return satchel->ReadMetrics().Sum("satchel_fills_followed_total") > before; }));
    origin.Release(name);
    ASSERT_EQ(waiting.Read().Get("X-Validated-For"), "3");
    ASSERT_EQ(waiting.Get(target, {{"X-V", "1"}}).Get("X-Validated-For"), "3") << round;
    ASSERT_EQ(leading.Read().body, "odd");
  }
}

TEST_F(VariantsTest, E4_AConditionOfTheClientsOwnGoesAsItIs) {
  AnswerOddAndEven();
  Start();
  Get("/", {{"X-V", "1"}});
  EXPECT_EQ(Get("/", {{"X-V", "3"}, {"If-None-Match", "\"mine\""}}).body, "odd");
  EXPECT_EQ(origin.requests().back().fields.Get("If-None-Match"), "\"mine\"");
}

TEST_F(VariantsTest, E4_A304ThatNamesNoneIsAskedAgainWithoutConditions) {
  origin.Otherwise([](OriginExchange& exchange) {
    const Fields& fields = exchange.request().fields;
    Reply reply = Fresh("for " + fields.Get("X-V"), 60, {{"Vary", "X-V"}, {"ETag", "\"1\""}});
    if (fields.Has("If-None-Match")) {
      reply = {.status = 304, .fields = {{"ETag", "\"other\""}}};
    }
    exchange.Respond(reply);
  });
  Start();
  EXPECT_EQ(Get("/", {{"X-V", "1"}}).body, "for 1");
  EXPECT_EQ(Get("/", {{"X-V", "2"}}).body, "for 2");
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(VariantsTest, E4_AnErrorIsNeverAnsweredWithAnotherVariant) {
  AnswerOddAndEven({{"Cache-Control", "stale-if-error=600"}});
  Start();
  EXPECT_EQ(Get("/", {{"X-V", "1"}}).body, "odd");
  origin.Otherwise(
      [](OriginExchange& exchange) { exchange.Respond({.status = 503, .body = "no"}); });
  Response failed = Get("/", {{"X-V", "3"}});
  EXPECT_EQ(failed.status, 503);
  EXPECT_EQ(failed.body, "no");
}

// The tag is the same for both codings, against RFC 9110 8.8.3.3: no client gets what it can't
// read.
TEST_F(VariantsTest, E4_TheEntityTagOfAnotherContentCodingNeverValidates) {
  origin.Otherwise([](OriginExchange& exchange) {
    const Fields& fields = exchange.request().fields;
    const bool zipped = fields.Get("Accept-Encoding") == "gzip";
    if (fields.Get("If-None-Match") == "\"same\"") {
      exchange.Respond({.status = 304, .fields = {{"ETag", "\"same\""}}});
      return;
    }
    Fields more = {{"Vary", "Accept-Encoding"}, {"ETag", "\"same\""}};
    if (zipped) more.Add("Content-Encoding", "gzip");
    exchange.Respond(Fresh(zipped ? "zzz" : "plain", 60, more));
  });
  Start();
  EXPECT_EQ(Get("/", {{"Accept-Encoding", "gzip"}}).body, "zzz");
  EXPECT_EQ(Get("/", {{"Accept-Encoding", "br"}}).body, "plain");
  EXPECT_EQ(Get("/").body, "plain");
  Response zipped = Get("/", {{"Accept-Encoding", "gzip"}});
  EXPECT_EQ(zipped.body, "zzz");
  EXPECT_EQ(zipped.Get("Content-Encoding"), "gzip");
}

TEST_F(VariantsTest, E4_SimultaneousRequestsOfOneNewVariantAskOnce) {
  AnswerOddAndEven();
  Start();
  Get("/", {{"X-V", "1"}});
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Respond({.status = 304, .fields = {{"ETag", "\"odd\""}, {"Vary", "X-V"}}});
  });
  std::vector<RawClient> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(satchel->Connect());
    clients.back().Send(Request("GET", "/", {{"X-V", "3"}}));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("all"));
  origin.Release("all");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "odd");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(VariantsTest, H2_AValidationThatAddsVaryChangesWhoIsAnswered) {
  for (const char* method : {"GET", "HEAD"}) {
    const std::string path = std::string("/") + method;
    std::atomic<int> asked = 0;
    origin.On(path, [&](OriginExchange& exchange) {
      const Fields& fields = exchange.request().fields;
      if (++asked == 1) {
        exchange.Respond(Fresh("for all", 60, {{"ETag", "\"1\""}}));
        return;
      }
      Reply reply = Fresh("for " + fields.Get("X-V"), 60, {{"Vary", "X-V"}, {"ETag", "\"1\""}});
      if (fields.Get("If-None-Match") == "\"1\"") {
        reply.status = 304;
        reply.body.clear();
      }
      if (exchange.request().method == "HEAD") reply.body = "for all";
      exchange.Respond(reply);
    });
    if (!satchel) Start();
    EXPECT_EQ(Get(path).body, "for all");
    const Fields reload = {{"X-V", "a"}, {"Cache-Control", "no-cache"}};
    EXPECT_EQ(Send(method, path, reload).status, 200);
    EXPECT_EQ(asked, 2);
    // Selected by X-V from now on.
    Response same = Get(path, {{"X-V", "a"}});
    EXPECT_TRUE(CacheStatus(same).hit()) << method;
    EXPECT_EQ(same.body, "for all");
    Response other = Get(path, {{"X-V", "b"}});
    EXPECT_EQ(CacheStatus(other).fwd(), "vary-miss") << method << Describe(other);
  }
}

TEST_F(VariantsTest, H4_A304ToAForwardedHeadLeavesWhatIsStored) {
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().method == "HEAD") {
      exchange.Respond({.status = 304, .fields = {{"ETag", "\"mine\""}}});
      return;
    }
    exchange.Respond(Fresh("body", 60, {{"ETag", "\"1\""}}));
  });
  Start();
  Get("/");
  EXPECT_EQ(
      Send("HEAD", "/", {{"Cache-Control", "no-cache"}, {"If-None-Match", "\"mine\""}}).status,
      304);
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
}

TEST_F(VariantsTest, E4_TheSharedTierGetsBothVariants) {
  RedisProcess redis;
  AnswerOddAndEven();
  SatchelConfig config = Config();
  config.l2 = "redis: \"" + redis.url() + "\", deadline: 2s";
  Start(config);
  SatchelProcess other(config);
  ASSERT_TRUE(satchel->WaitForRedis() && other.WaitForRedis());
  Get("/", {{"X-V", "1"}});
  Get("/", {{"X-V", "3"}});
  ASSERT_EQ(origin.requests().back().fields.Get("If-None-Match"), "\"odd\"");
  // The marker, the list, and two variants.
  ASSERT_TRUE(Eventually([&] { return redis.Records().size() >= 4; }));
  Response third = other.Get("/", {{"X-V", "3"}});
  EXPECT_TRUE(CacheStatus(third).hit()) << Describe(third);
  EXPECT_EQ(third.body, "odd");
  EXPECT_TRUE(CacheStatus(other.Get("/", {{"X-V", "1"}})).hit());
  EXPECT_EQ(origin.RequestCount(), 2u);
}

}  // namespace
}  // namespace satchel::testing
