// Which fields cross the proxy, which it removes, and which it writes itself.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ForwardingFieldsTest = ProxyTest;

TEST_F(ForwardingFieldsTest, HopByHopFieldsOfARequestStayHere) {
  origin.On("/", {.body = "x"});
  Start();
  Get("/", {{"Connection", "keep-alive, X-Private, x-second"},
            {"Keep-Alive", "timeout=5"},
            {"Proxy-Connection", "keep-alive"},
            {"TE", "trailers"},
            {"Trailer", "X-T"},
            {"Upgrade", "h2c"},
            {"HTTP2-Settings", "AAMAAABkAAQAAP__"},
            {"X-Private", "1"},
            {"X-Second", "1"},
            {"X-Public", "1"}});
  OriginRequest request = origin.Last("/");
  for (const char* name : {"Keep-Alive", "Proxy-Connection", "Trailer", "Upgrade", "HTTP2-Settings",
                           "X-Private", "X-Second", "Transfer-Encoding"}) {
    EXPECT_FALSE(request.fields.Has(name)) << name << "\n" << request.raw_head;
  }
  EXPECT_THAT(request.fields.Joined("Connection"), Not(HasSubstr("X-")));
  EXPECT_EQ(request.fields.Get("X-Public"), "1");
}

TEST_F(ForwardingFieldsTest, WhatARuleSetsStandsInsteadOfWhatWeWouldWrite) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.rules =
      "  - name: all\n"
      "    upstream: app\n"
      "    request_headers: {set: {X-Forwarded-Proto: https, X-Forwarded-Host: shop.example}}\n";
  Start(config);
  Get("/", {{"X-Forwarded-Proto", "ftp"}});
  const OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Proto"), "https");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Host"), "shop.example");
}

TEST_F(ForwardingFieldsTest, HopByHopFieldsOfAnAnswerStayHereOnAMissAndOnAHit) {
  Reply reply = Fresh("x", 60,
                      {{"Connection", "X-Private, close"},
                       {"Keep-Alive", "timeout=5"},
                       {"Proxy-Connection", "close"},
                       {"Proxy-Authenticate", "Basic"},
                       {"Proxy-Authentication-Info", "x"},
                       {"Upgrade", "h2c"},
                       {"X-Private", "1"},
                       {"X-Public", "1"}});
  reply.close = false;
  origin.On("/", reply);
  Start();
  for (const char* turn : {"miss", "hit"}) {
    Response response = Get("/");
    ASSERT_EQ(response.status, 200) << Describe(response);
    EXPECT_EQ(CacheStatus(response).hit(), std::string(turn) == "hit") << Describe(response);
    for (const char* name : {"Keep-Alive", "Proxy-Connection", "Upgrade", "X-Private"}) {
      EXPECT_FALSE(response.fields.Has(name)) << turn << " " << name;
    }
    EXPECT_EQ(response.Get("X-Public"), "1") << turn;
    if (std::string(turn) == "hit") {  // RFC 9111 3.1
      EXPECT_FALSE(response.fields.Has("Proxy-Authenticate"));
      EXPECT_FALSE(response.fields.Has("Proxy-Authentication-Info"));
    }
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(ForwardingFieldsTest, AClientCannotHaveFieldsRemovedThatSecurityRestsOn) {
  origin.On("/", {.body = "x"});
  Start();
  Response response = Send("POST", "/",
                           {{"Connection",
                             "Host, Content-Length, X-Forwarded-For, Authorization, Cookie, "
                             "Cache-Control, Via"},
                            {"Authorization", "Basic eA=="},
                            {"Cookie", "a=b"},
                            {"Cache-Control", "no-cache"}},
                           "body");
  if (response.status == 400) return;  // refused outright is as good
  ASSERT_EQ(response.status, 200) << Describe(response);
  OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.body, "body");
  for (const char* name : {"Host", "X-Forwarded-For", "Authorization", "Cookie", "Via"}) {
    EXPECT_TRUE(request.fields.Has(name)) << name << "\n" << request.raw_head;
  }
}

TEST_F(ForwardingFieldsTest, ViaIsAddedAndAnEarlierOneKept) {
  origin.On("/", {.body = "x"});
  Start();
  Get("/");
  EXPECT_THAT(origin.Last("/").fields.Joined("Via"), HasSubstr("1.1 "));
  Send("POST", "/", {{"Via", "1.0 fred"}});
  EXPECT_THAT(origin.Last("/").fields.Joined("Via"), ::testing::StartsWith("1.0 fred, 1.1 "));
}

TEST_F(ForwardingFieldsTest, ForwardingFieldsOfStrangersAreOverwritten) {
  origin.On("/", {.body = "x"});
  Start();
  Get("/", {{"X-Forwarded-For", "6.6.6.6"},
            {"X-Forwarded-Proto", "https"},
            {"X-Forwarded-Host", "evil.example"},
            {"X-Forwarded-Port", "1"},
            {"Forwarded", "for=6.6.6.6;host=evil.example;proto=https"}});
  OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-For"), "127.0.0.1");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Proto"), "http");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Host"), "test");
  EXPECT_THAT(request.raw_head, Not(HasSubstr("6.6.6.6")));
  EXPECT_THAT(request.raw_head, Not(HasSubstr("evil.example")));
  std::string forwarded = request.fields.Joined("Forwarded");  // RFC 7239
  EXPECT_THAT(forwarded, HasSubstr("for=127.0.0.1"));
  EXPECT_THAT(forwarded, HasSubstr("proto=http"));
  EXPECT_TRUE(forwarded.find("host=test") != std::string::npos ||
              forwarded.find("host=\"test\"") != std::string::npos)
      << forwarded;
}

TEST_F(ForwardingFieldsTest, RewritingFieldsOfStrangersNeverReachTheOriginUnkeyed) {
  origin.On("/", {.body = "x"});
  Start();
  Get("/", {{"X-Host", "evil.example"},
            {"X-Original-URL", "/evil"},
            {"X-Rewrite-URL", "/evil"},
            {"X-HTTP-Method-Override", "DELETE"},
            {"X-Forwarded-Server", "evil.example"}});
  OriginRequest request = origin.Last("/");
  EXPECT_THAT(request.raw_head, Not(HasSubstr("evil")));
  EXPECT_THAT(request.raw_head, Not(HasSubstr("DELETE")));
}

TEST_F(ForwardingFieldsTest, ForwardingFieldsOfTrustedProxiesAreExtended) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.listener = "trusted_proxies: [127.0.0.0/8]";
  Start(config);
  Get("/", {{"X-Forwarded-For", "192.0.2.1"},
            {"X-Forwarded-Proto", "https"},
            {"X-Forwarded-Host", "shop.example"},
            {"Forwarded", "for=192.0.2.1;proto=https"}});
  OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-For"), "192.0.2.1, 127.0.0.1");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Proto"), "https");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Host"), "shop.example");
  std::string forwarded = request.fields.Joined("Forwarded");
  EXPECT_THAT(forwarded, ::testing::StartsWith("for=192.0.2.1"));
  EXPECT_THAT(forwarded, HasSubstr("for=127.0.0.1"));
}

TEST_F(ForwardingFieldsTest, AllFieldsOfAHitAreThoseOfTheMiss) {
  origin.On("/", Fresh("x", 60,
                       {{"Date", HttpDate()},
                        {"X-A", "1"},
                        {"X-A", "2"},
                        {"X-Empty", ""},
                        {"Set-Cookie", "a=b"},
                        {"Content-Disposition", "inline"},
                        {"Content-Range", "odd on a 200"},
                        {"Expires", "0"}}));
  Start();
  Response miss = Get("/");
  Response hit = Get("/");
  ASSERT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  for (const Field& field : miss.fields.list()) {
    if (field.name == "Cache-Status" || field.name == "Age") continue;
    EXPECT_EQ(hit.fields.All(field.name), miss.fields.All(field.name)) << field.name;
  }
  EXPECT_EQ(hit.fields.All("X-A"), (std::vector<std::string>{"1", "2"}));
  EXPECT_TRUE(hit.fields.Has("X-Empty"));
}

TEST_F(ForwardingFieldsTest, FieldsThatAnUnderscoreDisguisesAreDroppedFromWhoeverTheyCome) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "x"}); });
  SatchelConfig config = Config();
  for (const char* trusted : {"", "trusted_proxies: [127.0.0.0/8]"}) {
    config.listener = trusted;
    Start(config);
    Get("/", {{"Content_Length", "9"},
              {"Transfer_Encoding", "chunked"},
              {"X_Forwarded_For", "6.6.6.6"},
              {"X-Forwarded_Host", "evil.example"},
              {"x_real_ip", "6.6.6.6"},
              {"X_HTTP_Method_Override", "DELETE"},
              {"X_Other", "1"}});
    const OriginRequest request = origin.Last("/");
    for (const char* name : {"Content_Length", "Transfer_Encoding", "X_Forwarded_For",
                             "X-Forwarded_Host", "x_real_ip", "X_HTTP_Method_Override"}) {
      EXPECT_FALSE(request.fields.Has(name)) << name << "\n" << request.raw_head;
    }
    EXPECT_EQ(request.fields.Get("X_Other"), "1");
  }
}

TEST_F(ForwardingFieldsTest, WhateverBeginsWithXForwardedIsNotAStrangersToSay) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.cache = "key: {headers: [X-Forwarded-Tenant]}";
  Start(config);
  Get("/", {{"X-Forwarded-Ssl", "on"},
            {"X-Forwarded-Anything", "1"},
            {"X-Forwarded-Tenant", "t"},
            {"X-Forward", "1"}});
  const OriginRequest request = origin.Last("/");
  EXPECT_FALSE(request.fields.Has("X-Forwarded-Ssl"));
  EXPECT_FALSE(request.fields.Has("X-Forwarded-Anything"));
  EXPECT_EQ(request.fields.Get("X-Forwarded-Tenant"), "t");  // the key tells it apart
  EXPECT_EQ(request.fields.Get("X-Forward"), "1");
}

TEST_F(ForwardingFieldsTest, MaxForwardsOfOptionsIsCountedDownAndAnsweredAtZero) {
  origin.On("/", {.fields = {{"Allow", "GET"}}});
  Start();
  Send("OPTIONS", "/", {{"Max-Forwards", "3"}});
  EXPECT_EQ(origin.Last("/").fields.All("Max-Forwards"), std::vector<std::string>{"2"});
  RawClient client = satchel->Connect();
  for (const char* target : {"/", "*"}) {
    const Response last = client.Exchange("OPTIONS", target, {{"Max-Forwards", "0"}});
    EXPECT_EQ(last.status, 200) << Describe(last);
    EXPECT_THAT(last.Get("Allow"), HasSubstr("OPTIONS"));
    EXPECT_EQ(last.Get("Content-Length"), "0");
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
  // Of other methods it is nobody's business (RFC 9110 7.6.2).
  Get("/", {{"Max-Forwards", "0"}});
  EXPECT_EQ(origin.Last("/").fields.Get("Max-Forwards"), "0");
}

}  // namespace
}  // namespace satchel::testing
