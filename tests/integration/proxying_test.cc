// Requests and answers that pass through: methods, versions, connections, fields.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ProxyingTest = ProxyTest;

TEST_F(ProxyingTest, ARequestAndItsAnswerPassUnchanged) {
  origin.On("/a/b", {.status = 299,
                     .fields = {{"X-One", "1"},
                                {"Set-Cookie", "a=b"},
                                {"Set-Cookie", "c=d"},
                                {"X-Odd", "\"q, \\\" ;=/"}},
                     .body = "hello"});
  Start();
  Response response =
      Send("POST", "/a/b?c=d&e=%2F&&=", {{"X-Two", "a,b ,c"}, {"X-Two", "d"}}, "in");
  EXPECT_EQ(response.status, 299) << Describe(response);
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(response.fields.All("Set-Cookie"), (std::vector<std::string>{"a=b", "c=d"}));
  EXPECT_EQ(response.Get("X-Odd"), "\"q, \\\" ;=/");
  OriginRequest request = origin.Last("/a/b?c=d&e=%2F&&=");
  EXPECT_EQ(request.method, "POST") << request.error;
  EXPECT_EQ(request.version, "HTTP/1.1");
  EXPECT_EQ(request.fields.All("X-Two"), (std::vector<std::string>{"a,b ,c", "d"}));
  EXPECT_EQ(request.fields.Get("Host"), "test");
  EXPECT_EQ(request.body, "in");
}

TEST_F(ProxyingTest, EveryMethodReachesTheOriginWithItsBody) {
  origin.On("/", {.body = "ok"});
  Start();
  RawClient client = satchel->Connect();
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "PROPFIND", "M-SEARCH", "REPORT"}) {
    Response response = client.Exchange(method, "/", {}, "<body/>");
    EXPECT_EQ(response.status, 200) << method << "\n" << Describe(response);
    EXPECT_EQ(origin.Last("/").method, method);
    EXPECT_EQ(origin.Last("/").body, "<body/>") << method;
  }
}

TEST_F(ProxyingTest, AMethodNobodyKnowsIsForwarded) {
  origin.On("/", {.body = "ok"});
  Start();
  EXPECT_EQ(Send("FROBNICATE", "/").status, 200);
  EXPECT_EQ(origin.Last("/").method, "FROBNICATE");
}

// What such a body means only the origin knows (RFC 9110 9.3.1): it is no case for the cache.
TEST_F(ProxyingTest, A1_AReadWithABodyReachesTheOriginWithIt) {
  origin.On("/", [](OriginExchange& exchange) {
    const std::string body = exchange.ReadBody();
    exchange.Respond(Fresh("got " + body));
  });
  Start();
  EXPECT_EQ(Get("/").body, "got ");
  for (const char* method : {"GET", "HEAD"}) {
    const Response response = Send(method, "/", {}, "query");
    EXPECT_FALSE(CacheStatus(response).hit()) << Describe(response);
    EXPECT_EQ(origin.Last("/").method, method);
    EXPECT_EQ(origin.Last("/").body, "query");
    if (std::string(method) == "GET") EXPECT_EQ(response.body, "got query");
  }
  const Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_EQ(hit.body, "got ");
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(ProxyingTest, AnOptionsAsteriskRequestIsAnswered) {
  origin.Otherwise(
      [](OriginExchange& exchange) { exchange.Respond({.fields = {{"Allow", "GET, OPTIONS"}}}); });
  Start();
  Response response = Send("OPTIONS", "*");
  EXPECT_EQ(response.status / 100, 2) << Describe(response);
  if (origin.RequestCount() == 1) {
    EXPECT_EQ(origin.requests()[0].target, "*");
  }
}

TEST_F(ProxyingTest, AHeadAnswerHasTheLengthAndNoBody) {
  origin.On("/", {.fields = {{"X-A", "1"}}, .body = "12345"});
  Start();
  RawClient client = satchel->Connect();
  Response head = client.Exchange("HEAD", "/");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.Get("Content-Length"), "5");
  EXPECT_EQ(head.Get("X-A"), "1");
  // The connection is in step: no stray body byte precedes the next answer.
  EXPECT_EQ(client.Get("/").body, "12345");
}

TEST_F(ProxyingTest, AClientConnectionIsKeptForManyRequests) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  for (int i = 0; i < 50; ++i) {
    Response response = client.Exchange("POST", "/", {}, "b");
    ASSERT_EQ(response.status, 200) << i << Describe(response);
    EXPECT_THAT(response.Get("Connection"), Not(HasSubstr("close")));
  }
}

TEST_F(ProxyingTest, UpstreamConnectionsAreReused) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Send("POST", "/").status, 200);
  EXPECT_EQ(origin.RequestCount(), 20u);
  EXPECT_EQ(origin.accepted(), 1u);
}

TEST_F(ProxyingTest, ConnectionCloseIsObeyed) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  Response response = client.Get("/", {{"Connection", "close"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.Get("Connection"), HasSubstr("close"));
  EXPECT_TRUE(client.ClosedByPeer());
}

TEST_F(ProxyingTest, AnOriginThatClosesDoesNotCloseTheClient) {
  origin.On("/", {.body = "x", .close = true});
  Start();
  RawClient client = satchel->Connect();
  for (int i = 0; i < 5; ++i) {
    Response response = client.Exchange("POST", "/");
    EXPECT_EQ(response.status, 200) << Describe(response);
    EXPECT_THAT(response.Get("Connection"), Not(HasSubstr("close")));
  }
}

TEST_F(ProxyingTest, PipelinedRequestsAreAnsweredInOrder) {
  origin.On("/slow", [](OriginExchange& exchange) {
    exchange.Hold("slow");
    exchange.Respond({.body = "slow"});
  });
  origin.On("/fast", Fresh("fast"));
  Start();
  ASSERT_EQ(Get("/fast").status, 200);  // the second one could be answered at once from the cache
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/slow") + Request("GET", "/fast") +
              Request("POST", "/post", {}, "body") + Request("GET", "/fast"));
  ASSERT_TRUE(origin.WaitUntilHeld("slow"));
  EXPECT_TRUE(client.Silent(std::chrono::milliseconds(50)));
  origin.Release("slow");
  EXPECT_EQ(client.Read().body, "slow");
  EXPECT_EQ(client.Read().body, "fast");
  EXPECT_EQ(client.Read("POST").status, 404);
  EXPECT_EQ(client.Read().body, "fast");
  EXPECT_EQ(origin.Last("/post").body, "body");
}

TEST_F(ProxyingTest, AHundredPipelinedHitsComeBackInOrder) {
  std::string burst;
  for (int i = 0; i < 100; ++i) {
    std::string target = "/" + std::to_string(i % 10);
    origin.On(target, Fresh("body of " + target));
    burst += Request("GET", target);
  }
  Start();
  RawClient client = satchel->Connect();
  client.Send(burst);
  for (int i = 0; i < 100; ++i) {
    Response response = client.Read();
    ASSERT_EQ(response.body, "body of /" + std::to_string(i % 10)) << i << Describe(response);
  }
  EXPECT_EQ(origin.RequestCount(), 10u);
}

TEST_F(ProxyingTest, AnHttp10ClientGetsItsAnswerAndTheConnectionCloses) {
  origin.On("/", {.body = "chunks", .framing = Reply::Framing::kChunked});
  Start();
  RawClient client = satchel->Connect();
  client.Send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
  Response response = client.Read();
  EXPECT_EQ(response.status, 200) << Describe(response);
  EXPECT_FALSE(response.fields.Has("Transfer-Encoding"));
  EXPECT_EQ(response.body, "chunks");
  EXPECT_TRUE(client.ClosedByPeer());
}

TEST_F(ProxyingTest, AnHttp10ClientWithoutHostIsServed) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  client.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.Read().body, "x");
}

TEST_F(ProxyingTest, AnHttp10ClientMayKeepItsConnection) {
  origin.On("/", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  for (int i = 0; i < 3; ++i) {
    client.Send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    Response response = client.Read();
    ASSERT_EQ(response.status, 200) << i << Describe(response);
    if (!EqualsIgnoringCase(response.Get("Connection"), "keep-alive")) {
      EXPECT_TRUE(client.ClosedByPeer());
      break;
    }
  }
}

TEST_F(ProxyingTest, AnHttp10OriginIsUnderstood) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send("HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nuntil the end");
    exchange.Close();
  });
  Start();
  RawClient client = satchel->Connect();
  Response response = client.Get("/");
  EXPECT_EQ(response.body, "until the end") << Describe(response);
  EXPECT_EQ(response.version, "HTTP/1.1");
  EXPECT_TRUE(response.complete);
}

TEST_F(ProxyingTest, AnAbsoluteTargetWinsOverHost) {
  origin.On("/x", {.body = "x"});
  Start();
  RawClient client = satchel->Connect();
  client.Send("GET http://other.example/x HTTP/1.1\r\nHost: test\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(origin.Last("/x").fields.All("Host"), std::vector<std::string>{"other.example"});
}

TEST_F(ProxyingTest, ThePathIsForwardedAsReceived) {
  Start();
  for (const char* target :
       {"/a/../b", "//a//b", "/a%2Fb", "/a%2e%2e/b", "/%41", "/a;b=c?d#e", "/a?b?c", "/%c3%a9"}) {
    std::string sent = target;
    sent = sent.substr(0, sent.find('#'));
    ASSERT_EQ(Get(sent).status, 404) << target;
    EXPECT_EQ(origin.RequestCount(sent), 1u) << target;
  }
}

TEST_F(ProxyingTest, AResponseWithoutDateGetsOneAndAGivenOneStays) {
  origin.On("/without", {.body = "x"});
  origin.On("/with", {.fields = {{"Date", "Sun, 06 Nov 1994 08:49:37 GMT"}}, .body = "x"});
  Start();
  EXPECT_EQ(Get("/without").fields.Count("Date"), 1u);  // RFC 9110 6.6.1
  EXPECT_EQ(Get("/with").Get("Date"), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_F(ProxyingTest, BodilessStatusesKeepTheConnectionInStep) {
  origin.On("/204", {.status = 204});
  origin.On("/304", {.status = 304, .fields = {{"ETag", "\"x\""}}});
  origin.On("/", {.body = "next"});
  Start();
  RawClient client = satchel->Connect();
  Response none = client.Get("/204");
  EXPECT_EQ(none.status, 204);
  EXPECT_FALSE(none.fields.Has("Content-Length"));     // RFC 9110 8.6
  EXPECT_FALSE(none.fields.Has("Transfer-Encoding"));  // RFC 9112 6.1
  EXPECT_EQ(client.Get("/304", {{"If-None-Match", "\"x\""}}).status, 304);
  EXPECT_EQ(client.Get("/").body, "next");
}

TEST_F(ProxyingTest, UnixSocketsAndIpv6ServeOnBothSides) {
  TempDir dir;
  Origin by_path("unix:" + dir.path("origin.sock"));
  by_path.On("/", {.body = "from a path"});
  PortReservation six("[::1]");
  SatchelConfig config = Config();
  config.upstream = by_path.address();
  config.more_listeners = ", {name: path, address: \"unix:" + dir.path("web.sock") +
                          "\"}, {name: six, address: \"" + six.address() + "\"}";
  Start(config);
  for (const std::string& address :
       {satchel->address(), "unix:" + dir.path("web.sock"), six.address()}) {
    EXPECT_EQ(Fetch(address, "/").body, "from a path") << address;
  }
}

TEST_F(ProxyingTest, RulesChooseTheUpstreamByHostPathAndMethodInOrder) {
  Origin second;
  second.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "second"}); });
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "first"}); });
  SatchelConfig config = Config();
  config.more_upstreams = "  other: {servers: [\"" + second.address() + "\"]}\n";
  config.rules =
      "  - {name: host, match: {host: shop.example}, upstream: other}\n"
      "  - {name: path, match: {path: \"/api/**\", method: [GET]}, upstream: other}\n"
      "  - {name: header, match: {header: {X-Beta: \"1\"}}, upstream: other}\n"
      "  - {name: rest, match: {}, upstream: app}\n";
  Start(config);
  EXPECT_EQ(Get("/").body, "first");
  EXPECT_EQ(Get("/", {{"Host", "SHOP.example:80"}}).body, "second");
  EXPECT_EQ(Get("/api/a/b").body, "second");
  EXPECT_EQ(Send("POST", "/api/a/b").body, "first");
  EXPECT_EQ(Get("/2", {{"X-Beta", "1"}}).body, "second");
  EXPECT_EQ(Get("/2", {{"X-Beta", "2"}}).body, "first");
}

TEST_F(ProxyingTest, APathMatchCannotBeWalkedAroundByEncoding) {
  Origin second;
  second.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "guarded"}); });
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "open"}); });
  SatchelConfig config = Config();
  config.more_upstreams = "  other: {servers: [\"" + second.address() + "\"]}\n";
  config.rules =
      "  - {name: admin, match: {path: \"/admin/**\"}, upstream: other}\n"
      "  - {name: rest, match: {}, upstream: app}\n";
  Start(config);
  for (const char* target :
       {"/admin/x", "/%61dmin/x", "/a/../admin/x", "/./admin/x", "/a/%2e%2e/admin/x"}) {
    Response response = Get(target);
    EXPECT_TRUE(response.body == "guarded" || response.status == 400) << target << "\n"
                                                                      << Describe(response);
  }
  EXPECT_EQ(Get("/%zz").status, 400);
}

TEST_F(ProxyingTest, ARequestNoRuleMatchesIsNotSentAnywhere) {
  SatchelConfig config = Config();
  config.rules = "  - {name: only, match: {path: /only}, upstream: app}\n";
  Start(config);
  EXPECT_EQ(Get("/only").status, 404);
  EXPECT_EQ(origin.RequestCount(), 1u);
  Response response = Get("/other");
  EXPECT_EQ(response.status / 100, 4) << Describe(response);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

}  // namespace
}  // namespace satchel::testing
