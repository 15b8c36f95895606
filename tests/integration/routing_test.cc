// What a rule does to a request on its way: names, servers, rewriting, fields.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

class RoutingTest : public ProxyTest {
 protected:
  static std::string Port(const Origin& of) { return of.address().substr(of.address().rfind(':')); }
};

TEST_F(RoutingTest, AServerMayBeAName) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.upstream = "localhost" + Port(origin);
  Start(config);
  EXPECT_EQ(Get("/").body, "x");
}

TEST_F(RoutingTest, ANameNobodyKnowsIsABadGatewayWithAReason) {
  SatchelConfig config = Config();
  config.upstream = "no-such-host.invalid:80";  // RFC 6761: never resolves
  config.timeouts = "connect: 1s, first_byte: 2s, idle: 2s";
  Start(config);
  Response response = Get("/");
  EXPECT_TRUE(response.status == 502 || response.status == 504) << Describe(response);
  EXPECT_FALSE(Problem(response).value("reason", "").empty()) << response.body;
}

TEST_F(RoutingTest, AServerThatRefusesIsReplacedByAnother) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "alive"}); });
  Origin dead;
  dead.Down();
  SatchelConfig config = Config();
  config.upstream = dead.address() + "\", \"" + origin.address();
  Start(config);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Get("/" + std::to_string(i)).body, "alive") << i;
}

TEST_F(RoutingTest, RequestsAreSpreadOverTheServers) {
  Origin second;
  SatchelConfig config = Config();
  config.workers = "1";
  config.upstream = origin.address() + "\", \"" + second.address();
  config.app = "balance: round_robin";
  Start(config);
  for (int i = 0; i < 20; ++i) Send("POST", "/");
  EXPECT_EQ(origin.RequestCount() + second.RequestCount(), 20u);
  EXPECT_THAT(origin.RequestCount(), ::testing::AllOf(::testing::Ge(8), ::testing::Le(12)));
}

TEST_F(RoutingTest, APathIsRewrittenWithWhatTheMatchCaptured) {
  origin.Otherwise(
      [](OriginExchange& exchange) { exchange.Respond({.body = exchange.request().target}); });
  SatchelConfig config = Config();
  config.rules =
      "  - {name: item, match: {path: \"/shop/{id}/view\"}, upstream: app, "
      "rewrite: \"/items/{id}\"}\n"
      "  - {name: rest, match: {}, upstream: app}\n";
  Start(config);
  EXPECT_EQ(Get("/shop/a%20b/view?x=1").body, "/items/a%20b?x=1");
  EXPECT_EQ(Get("/other").body, "/other");
}

TEST_F(RoutingTest, FieldsAreSetAndRemovedBothWays) {
  origin.On("/", Fresh("x", 60, {{"Server", "secret/1.0"}, {"X-Frame-Options", "old"}}));
  SatchelConfig config = Config();
  config.rules =
      "  - name: all\n"
      "    match: {}\n"
      "    upstream: app\n"
      "    request_headers: {set: {X-Env: prod}, remove: [X-Debug]}\n"
      "    response_headers: {set: {X-Frame-Options: DENY}, remove: [Server]}\n";
  Start(config);
  for (int turn = 0; turn < 2; ++turn) {
    Response response = Get("/", {{"X-Debug", "1"}, {"X-Env", "mine"}});
    EXPECT_FALSE(response.fields.Has("Server")) << Describe(response);
    EXPECT_EQ(response.fields.All("X-Frame-Options"), std::vector<std::string>{"DENY"});
  }
  EXPECT_EQ(origin.Last("/").fields.All("X-Env"), std::vector<std::string>{"prod"});
  EXPECT_FALSE(origin.Last("/").fields.Has("X-Debug"));
}

TEST_F(RoutingTest, WhatBrowsersSeeOfCacheControlMayDiffer) {
  origin.On("/", Fresh("x", 600));
  SatchelConfig config = Config();
  config.cache = "client_cache_control: \"public, max-age=30\"";
  Start(config);
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(Get("/").fields.Joined("Cache-Control"), "public, max-age=30");
  }
  EXPECT_GT(CacheStatus(Get("/")).ttl(), 500);
}

TEST_F(RoutingTest, TwoRulesWithTheSamePathKeepTheirAnswersApartByHost) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh("for " + exchange.request().fields.Get("Host")));
  });
  SatchelConfig config = Config();
  config.rules =
      "  - {name: a, match: {host: \"*.example\"}, upstream: app}\n"
      "  - {name: b, match: {host: shop.test}, upstream: app}\n";
  Start(config);
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(Get("/", {{"Host", "one.example"}}).body, "for one.example");
    EXPECT_EQ(Get("/", {{"Host", "two.example"}}).body, "for two.example");
    EXPECT_EQ(Get("/", {{"Host", "shop.test"}}).body, "for shop.test");
  }
  // A host nobody configured is not served by another's rule.
  EXPECT_EQ(Get("/", {{"Host", "evil.test"}}).status / 100, 4);
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(RoutingTest, TheHealthcheckCommandAsksARunningInstance) {
  Start();
  EXPECT_EQ(RunSatchel({"healthcheck", "--admin", satchel->admin()}).status, 0);
  EXPECT_EQ(RunSatchel({"healthcheck", "--admin", satchel->admin(), "--ready"}).status, 0);
  PortReservation nobody;
  EXPECT_EQ(RunSatchel({"healthcheck", "--admin", nobody.address()}).status, 1);
}

}  // namespace
}  // namespace satchel::testing
