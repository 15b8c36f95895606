// Stale answers: when they may be used, and that a refresh happens once (RFC 5861; RFC 9111 4.2.4).

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using StaleTest = ProxyTest;

TEST_F(StaleTest, WhileRevalidatingTheStaleAnswerIsServedAtOnceAndRefreshedOnce) {
  origin.Next("/", StaleSince(5, "old", "stale-while-revalidate=60", {{"ETag", "\"1\""}}));
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("refresh");
    exchange.Respond(Fresh("new"));
  });
  SatchelConfig config = Config();
  config.workers = "2";
  Start(config);
  Get("/");
  // A hundred clients at once, while the one refresh hangs: all are served the old answer.
  std::atomic<int> served = 0;
  RunTogether(100, [&](size_t) {
    Response response = Get("/");
    if (response.body == "old" && CacheStatus(response).hit() && Age(response) >= 15) ++served;
  });
  EXPECT_EQ(served, 100);
  ASSERT_TRUE(origin.WaitUntilHeld("refresh"));
  EXPECT_EQ(origin.RequestCount(), 2u);
  OriginRequest refresh = origin.Last("/");
  EXPECT_EQ(refresh.fields.Joined("If-None-Match"), "\"1\"");
  origin.Release("refresh");
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "new"; }));
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(StaleTest, ABackgroundRefreshCarriesTheClientsFields) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(StaleSince(5, "x", "stale-while-revalidate=60", {{"Vary", "X-Lang"}}));
  });
  Start();
  Get("/", {{"X-Lang", "de"}});
  Get("/", {{"X-Lang", "de"}, {"X-Client", "second"}});
  ASSERT_TRUE(origin.WaitForRequests(2));
  EXPECT_EQ(origin.Last("/").fields.Get("X-Lang"), "de");
  EXPECT_EQ(origin.Last("/").fields.Get("X-Client"), "second");
}

TEST_F(StaleTest, ABackgroundRefreshThatIsNotModifiedFreshensTheEntry) {
  origin.Next("/", StaleSince(5, "x", "stale-while-revalidate=60", {{"ETag", "\"1\""}}));
  origin.On("/", {.status = 304, .fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}}});
  Start();
  Get("/");
  Get("/");
  EXPECT_TRUE(Eventually([&] { return Age(Get("/")) < 10; }));
  EXPECT_EQ(Get("/").body, "x");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(StaleTest, ARefreshThatMayNotBeReusedStillReplacesTheEntry) {
  origin.Next("/", StaleSince(5, "old", "stale-while-revalidate=60"));
  origin.On("/", {.fields = {{"Cache-Control", "no-store"}}, .body = "private"});
  Start();
  Get("/");
  EXPECT_EQ(Get("/").body, "old");
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "private"; }));
}

TEST_F(StaleTest, AFailedRefreshLeavesTheEntry) {
  origin.Next("/", StaleSince(5, "old", "stale-while-revalidate=600"));
  origin.On("/", [](OriginExchange& exchange) { exchange.Reset(); });
  Start();
  Get("/");
  // Every later use tries again, and still has the old answer.
  for (size_t i = 2; i < 5; ++i) {
    EXPECT_TRUE(Eventually([&] {
      EXPECT_EQ(Get("/").body, "old");
      return origin.RequestCount() >= i;
    }));
  }
}

TEST_F(StaleTest, PastTheWindowTheAnswerIsValidatedInLine) {
  origin.Next("/", StaleSince(20, "old", "stale-while-revalidate=10"));
  origin.On("/", Fresh("new"));
  Start();
  Get("/");
  EXPECT_EQ(Get("/").body, "new");
}

TEST_F(StaleTest, AnErrorMayBeAnsweredWithAStaleAnswer) {
  origin.Next("/", StaleSince(5, "old", "stale-if-error=60"));
  Start();
  Get("/");
  for (int status : {500, 502, 503, 504}) {
    origin.On("/", {.status = status, .body = "oops"});
    Response response = Get("/");
    EXPECT_EQ(response.status, 200) << status << Describe(response);
    EXPECT_EQ(response.body, "old") << status;
    EXPECT_GE(Age(response), 15);
  }
  origin.On("/", {.status = 404, .body = "gone"});  // an answer, not an error
  EXPECT_EQ(Get("/").status, 404);
}

TEST_F(StaleTest, ALostOriginMayBeAnsweredWithAStaleAnswer) {
  origin.Next("/", StaleSince(5, "old", "stale-if-error=60"));
  origin.On("/", [](OriginExchange& exchange) { exchange.Reset(); });
  Start();
  Get("/");
  EXPECT_EQ(Get("/").body, "old");
  origin.Down();
  EXPECT_EQ(Get("/").body, "old");
}

TEST_F(StaleTest, WithoutADirectiveALostOriginIsBridgedForAMinute) {
  origin.On("/short", StaleSince(5, "bridged"));
  origin.On("/long", StaleSince(500, "too old"));
  Start();
  Get("/short");
  Get("/long");
  origin.On("/short", {.status = 503, .body = "busy"});
  EXPECT_EQ(Get("/short").status, 503) << "a 5xx is an answer: passed on without stale-if-error";
  origin.Down();
  EXPECT_EQ(Get("/short").body, "bridged");  // RFC 9111 4.2.4
  EXPECT_EQ(Get("/long").status, 502);
}

TEST_F(StaleTest, DirectivesThatForbidStaleAnswersAreObeyed) {
  Start();
  int number = 0;
  for (const char* directive : {"must-revalidate", "proxy-revalidate", "no-cache"}) {
    std::string target = "/" + std::to_string(number++);
    origin.On(target, StaleSince(5, "old",
                                 std::string(directive) +
                                     ", stale-if-error=60, stale-while-revalidate=60"));
    Get(target);
    origin.On(target, {.status = 503, .body = "busy"});
    EXPECT_EQ(Get(target).status, 503) << directive;
  }
  origin.Down();
  for (int i = 0; i < number; ++i) {
    int status = Get("/" + std::to_string(i)).status;
    EXPECT_TRUE(status == 502 || status == 504) << i << " " << status;
  }
}

TEST_F(StaleTest, AStaleAnswerOutlivesASlowOriginOnlyAsAnError) {
  origin.Next("/", StaleSince(5, "old", "stale-if-error=60"));
  origin.On("/", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  SatchelConfig config = Config();
  config.timeouts = "connect: 1s, first_byte: 300ms, idle: 5s";
  Start(config);
  Get("/");
  Response response = Get("/");
  EXPECT_EQ(response.body, "old") << Describe(response);
}

TEST_F(StaleTest, RulesMayGrantStaleWindows) {
  origin.Next("/swr", StaleSince(5, "old"));
  origin.On("/swr", Fresh("new"));
  origin.Next("/sie", StaleSince(5, "old"));
  origin.On("/sie", {.status = 500});
  SatchelConfig config = Config();
  config.rules =
      "  - {name: swr, match: {path: /swr}, upstream: app, cache: {swr: 1m}}\n"
      "  - {name: sie, match: {path: /sie}, upstream: app, cache: {sie: 1m}}\n";
  Start(config);
  Get("/swr");
  EXPECT_EQ(Get("/swr").body, "old");
  EXPECT_TRUE(Eventually([&] { return Get("/swr").body == "new"; }));
  Get("/sie");
  EXPECT_EQ(Get("/sie").body, "old");
}

// Not a word in time is no response at all: the origin is as lost as one that refuses connections.
TEST_F(StaleTest, G4_AnOriginThatStaysSilentIsLostToo) {
  origin.Next("/", StaleSince(5, "bridged"));
  origin.On("/", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  SatchelConfig config = Config();
  config.timeouts = "connect: 1s, first_byte: 300ms, idle: 5s";
  Start(config);
  Get("/");
  const Response response = Get("/");
  EXPECT_EQ(response.body, "bridged") << Describe(response);
  EXPECT_GE(Age(response), 15);
  EXPECT_EQ(Send("HEAD", "/").status, 200);
}

TEST_F(StaleTest, G2_AHeadOnAStaleAnswerRefreshesTheWholeOfIt) {
  origin.Next("/", StaleSince(5, "old", "stale-while-revalidate=60", {{"ETag", "\"1\""}}));
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().method == "HEAD") {
      exchange.SendHead(200, {{"Content-Length", "3"}, {"Cache-Control", "max-age=60"}});
    } else {
      exchange.Respond(Fresh("new"));
    }
  });
  Start();
  Get("/");
  const Response head = Send("HEAD", "/");
  EXPECT_TRUE(CacheStatus(head).hit()) << Describe(head);
  EXPECT_GE(Age(head), 15);
  ASSERT_TRUE(origin.WaitForRequests(2));
  EXPECT_EQ(origin.Last("/").method, "GET");
  EXPECT_EQ(origin.Last("/").fields.Get("If-None-Match"), "\"1\"");
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "new"; }));
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(StaleTest, J9_WhoWaitedForAFetchThatFailedIsToldSo) {
  origin.Next("/", StaleSince(5, "old", "stale-if-error=60"));
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("error");
    exchange.Respond({.status = 503, .body = "busy"});
  });
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  Get("/");
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("error"));
  RawClient follower = satchel->Connect();
  follower.Send(Request("GET", "/"));
  Send("POST", "/fence");  // the worker has read it by now
  origin.Release("error");
  const Response led = leader.Read();
  const Response followed = follower.Read();
  for (const Response& response : {led, followed}) {
    EXPECT_EQ(response.body, "old") << Describe(response);
    EXPECT_TRUE(CacheStatus(response).Get("detail").starts_with("stale-if-error"));
    EXPECT_GE(Age(response), 15);
    EXPECT_LT(CacheStatus(response).ttl(), 0);
  }
  EXPECT_FALSE(CacheStatus(led).Has("collapsed"));
  EXPECT_TRUE(CacheStatus(followed).Has("collapsed"));
  EXPECT_EQ(origin.RequestCount("/"), 2u);
}

}  // namespace
}  // namespace satchel::testing
