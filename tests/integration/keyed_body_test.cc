// J3: QUERY, and POST where a rule says so, are reads whose body is part of the key.

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

const Fields kJson = {{"Content-Type", "application/json"}};

class KeyedBodyTest : public ProxyTest {
 protected:
  KeyedBodyTest() {
    origin.Otherwise([this](OriginExchange& exchange) {
      const std::string body = exchange.ReadBody();
      exchange.Respond(Fresh(
          exchange.request().method + " " + body + " #" + std::to_string(++answers_), 60, more_));
    });
  }
  SatchelConfig WithRule(const std::string& body = "max: 1KiB, canonical_json: true",
                         const std::string& more = "") const {
    SatchelConfig config = Config();
    config.workers = "1";
    config.rules =
        "  - name: search\n"
        "    match: {path: \"/search/**\", method: [QUERY, POST]}\n"
        "    cache: {key: {body: {" +
        body + "}}" + more +
        "}\n"
        "  - name: rest\n";
    return config;
  }
  bool Hit(const Response& response) { return CacheStatus(response).hit(); }

  std::atomic<int> answers_ = 0;
  Fields more_;
};

TEST_F(KeyedBodyTest, J3_EqualBodiesShareAnAnswerAndOthersDoNot) {
  Start(WithRule());
  for (const char* method : {"QUERY", "POST"}) {
    Response first = Send(method, "/search/a", kJson, "{\"q\": 1}");
    EXPECT_TRUE(CacheStatus(first).Has("stored")) << Describe(first);
    EXPECT_EQ(CacheStatus(first).fwd(), "uri-miss");
    Response again = Send(method, "/search/a", kJson, "{\"q\": 1}");
    EXPECT_TRUE(Hit(again)) << Describe(again);
    EXPECT_EQ(again.body, first.body);
    EXPECT_NE(Age(again), -1);
    EXPECT_TRUE(Hit(Send(method, "/search/a", kJson, "{ \"q\" : 1 }"))) << "canonical";
    EXPECT_FALSE(Hit(Send(method, "/search/a", kJson, "{\"q\": 2}")));
    EXPECT_FALSE(Hit(Send(method, "/search/b", kJson, "{\"q\": 1}")));
    EXPECT_FALSE(Hit(Send(method, "/search/a", {{"Content-Type", "text/plain"}}, "{\"q\": 1}")));
    EXPECT_FALSE(
        Hit(Send(method, "/search/a",
                 {{"Content-Type", "application/json"}, {"Content-Encoding", "x"}}, "{\"q\": 1}")));
    EXPECT_FALSE(Hit(Send(method, "/search/a", kJson, "")));
    EXPECT_TRUE(Hit(Send(method, "/search/a", kJson, "")));
  }
  // The methods are kept apart from one another and from GET.
  EXPECT_FALSE(Hit(Get("/search/a")));
  EXPECT_EQ(Get("/search/a").body.substr(0, 4), "GET ");
}

TEST_F(KeyedBodyTest, J3_WithoutARuleNoBodyIsCached) {
  Start(WithRule());
  for (const char* method : {"QUERY", "POST"}) {
    Send(method, "/other", kJson, "{}");
    Response again = Send(method, "/other", kJson, "{}");
    EXPECT_FALSE(Hit(again));
    EXPECT_EQ(CacheStatus(again).fwd(), "method");
  }
  EXPECT_EQ(origin.RequestCount("/other"), 4u);
}

TEST_F(KeyedBodyTest, J3_TheOriginGetsTheBodyAsItCame) {
  Start(WithRule());
  RawClient client = satchel->Connect();
  client.Send(
      "QUERY /search/a HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n4\r\n{ \"q\r\n7\r\n\" : 1 }\r\n0\r\n\r\n");
  Response response = client.Read("QUERY");
  EXPECT_EQ(response.status, 200);
  const OriginRequest request = origin.Last("/search/a");
  EXPECT_EQ(request.method, "QUERY");
  EXPECT_EQ(request.body, "{ \"q\" : 1 }");
  EXPECT_EQ(request.fields.Get("Content-Length"), "11");
  EXPECT_EQ(request.fields.Get("Content-Type"), "application/json");
  // The connection is in step, and the framing of the request is no part of the key.
  EXPECT_TRUE(Hit(client.Exchange("QUERY", "/search/a", kJson, "{\"q\":1}")));
}

TEST_F(KeyedBodyTest, J3_ALongerBodyStreamsThroughUncached) {
  Start(WithRule());
  const std::string body = Pattern(0, 300'000);
  for (int i = 0; i < 2; ++i) {
    Response response = Send("POST", "/search/a", {}, body);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(CacheStatus(response).fwd(), "bypass");
    EXPECT_EQ(CacheStatus(response).Get("detail"), "body-not-keyed:search");
    EXPECT_TRUE(origin.Last("/search/a").body == body);
  }
  // Of unknown length: known to be too long only on the way.
  RawClient client = satchel->Connect();
  client.Send("POST /search/b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 3; ++i) client.Send("200\r\n" + std::string(512, 'a') + "\r\n");
  ASSERT_TRUE(origin.WaitForRequests("/search/b", 1)) << "it waits for the end";
  client.Send("0\r\n\r\n");
  EXPECT_EQ(client.Read("POST").status, 200);
  EXPECT_EQ(origin.Last("/search/b").body, std::string(1536, 'a'));
  EXPECT_EQ(origin.RequestCount(), 3u);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_bounds_hit_total", {"bound=\"keyed-body\""}), 3);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_keyed_body_bytes"), 0);
}

TEST_F(KeyedBodyTest, J3_AtTheLimitABodyIsStillKeyed) {
  Start(WithRule());
  const std::string body(1024, 'a');
  Send("POST", "/search/a", {}, body);
  EXPECT_TRUE(Hit(Send("POST", "/search/a", {}, body)));
  Send("POST", "/search/a", {}, body + "a");
  EXPECT_FALSE(Hit(Send("POST", "/search/a", {}, body + "a")));
}

TEST_F(KeyedBodyTest, J3_TrailersOfTheRequestKeepItOutOfTheCache) {
  Start(WithRule());
  const std::string text =
      "QUERY /search/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
      "X-Sum: 1\r\n\r\n";
  RawClient client = satchel->Connect();
  for (int i = 0; i < 2; ++i) {
    client.Send(text);
    EXPECT_FALSE(Hit(client.Read("QUERY")));
  }
  EXPECT_EQ(origin.Last("/search/a").trailers.Get("X-Sum"), "1");
}

TEST_F(KeyedBodyTest, J3_AClientThatExpects100GetsItAndIsAnsweredFromTheCache) {
  Start(WithRule());
  for (int i = 0; i < 2; ++i) {
    RawClient client = satchel->Connect();
    client.Send(
        "POST /search/a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.ReadBytes(25), "HTTP/1.1 100 Continue\r\n\r\n");
    client.Send("{}");
    Response response = client.Read("POST");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(Hit(response), i == 1);
  }
  EXPECT_FALSE(origin.Last("/search/a").fields.Has("Expect"));
}

TEST_F(KeyedBodyTest, J3_APostThatIsAReadInvalidatesNothing) {
  Start(WithRule());
  Get("/search/a");
  Send("POST", "/search/a", {}, "x");
  Send("POST", "/search/a", {}, Pattern(0, 5000));
  EXPECT_TRUE(Hit(Get("/search/a")));
  EXPECT_TRUE(Hit(Send("POST", "/search/a", {}, "x")));
}

TEST_F(KeyedBodyTest, J3_SimultaneousEqualBodiesMakeOneRequest) {
  Start(WithRule());
  origin.On("/search/a", [](OriginExchange& exchange) {
    const std::string body = exchange.ReadBody();
    exchange.Hold("all");
    exchange.Respond(Fresh(body));
  });
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(satchel->Connect());
    clients.back().Send(Request("QUERY", "/search/a", kJson, i % 2 == 0 ? "[1]" : "[2]"));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("all", 2));
  for (int i = 0; i < 3; ++i) Send("POST", "/fence");
  EXPECT_EQ(origin.RequestCount("/search/a"), 2u);
  origin.Release("all");
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(clients[static_cast<size_t>(i)].Read("QUERY").body, i % 2 == 0 ? "[1]" : "[2]");
  }
  EXPECT_EQ(origin.RequestCount("/search/a"), 2u);
}

TEST_F(KeyedBodyTest, J3_VaryConditionsAndValidationWorkAsForGet) {
  std::atomic<int> full = 0;
  origin.On("/search/a", [&](OriginExchange& exchange) {
    const std::string body = exchange.ReadBody();
    const Fields& fields = exchange.request().fields;
    if (fields.Get("If-None-Match") == "\"v\"") {
      EXPECT_EQ(body, "q") << "a validation carries the body";
      exchange.Respond(
          {.status = 304,
           .fields = {{"ETag", "\"v\""}, {"Cache-Control", "max-age=60"}, {"Vary", "X-Lang"}}});
      return;
    }
    ++full;
    Fields more{{"Vary", "X-Lang"}, {"ETag", "\"v\""}};
    exchange.Respond(StaleSince(0, "in " + fields.Get("X-Lang"), "", more));
  });
  Start(WithRule());
  Send("QUERY", "/search/a", {{"X-Lang", "de"}}, "q");
  Response validated = Send("QUERY", "/search/a", {{"X-Lang", "de"}}, "q");
  EXPECT_EQ(validated.body, "in de");
  EXPECT_EQ(CacheStatus(validated).Get("fwd-status"), "304") << Describe(validated);
  EXPECT_EQ(full, 1);
  EXPECT_TRUE(Hit(Send("QUERY", "/search/a", {{"X-Lang", "de"}}, "q")));
  Response other = Send("QUERY", "/search/a", {{"X-Lang", "en"}}, "q");
  EXPECT_FALSE(Hit(other));
  Response unchanged =
      Send("QUERY", "/search/a", {{"X-Lang", "de"}, {"If-None-Match", "\"v\""}}, "q");
  EXPECT_EQ(unchanged.status, 304);
  EXPECT_TRUE(Hit(unchanged));
}

// If-None-Match would make it a 412 (RFC 9110 13.1.2).
TEST_F(KeyedBodyTest, J3_AStalePostIsReadAnewWithoutConditions) {
  origin.On("/search/a", [](OriginExchange& exchange) {
    exchange.ReadBody();
    const Fields& fields = exchange.request().fields;
    if (fields.Has("If-None-Match") || fields.Has("If-Modified-Since")) {
      exchange.Respond({.status = 412});
      return;
    }
    exchange.Respond(StaleSince(0, "read", "", {{"ETag", "\"v\""}}));
  });
  Start(WithRule());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Send("POST", "/search/a", {}, "q").body, "read");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(KeyedBodyTest, J3_ABodyIsSentAgainOverAConnectionThatHeld) {
  Start(WithRule());
  Get("/warm");
  origin.CloseIdleConnections();
  // Whether the close is noticed before or after the send, the body has to arrive whole.
  for (int i = 0; i < 20; ++i) {
    const std::string body = "body " + std::to_string(i);
    Response response = Send("POST", "/search/a", {}, body);
    EXPECT_EQ(response.status, 200) << Describe(response);
    EXPECT_EQ(origin.Last("/search/a").body, body);
    origin.CloseIdleConnections();
  }
}

TEST_F(KeyedBodyTest, J3_AStaleAnswerIsServedAndRefreshedWithItsBody) {
  std::atomic<int> number = 0;
  origin.On("/search/a", [&](OriginExchange& exchange) {
    const std::string body = exchange.ReadBody();
    const int mine = ++number;
    Reply reply = mine == 1 ? StaleSince(5, "old", "stale-while-revalidate=60") : Fresh("new");
    EXPECT_EQ(body, "q");
    EXPECT_EQ(exchange.request().method, "QUERY");
    exchange.Respond(reply);
  });
  Start(WithRule());
  Send("QUERY", "/search/a", {}, "q");
  EXPECT_EQ(Send("QUERY", "/search/a", {}, "q").body, "old");
  EXPECT_TRUE(Eventually([&] { return Send("QUERY", "/search/a", {}, "q").body == "new"; }));
  EXPECT_EQ(number, 2);
}

TEST_F(KeyedBodyTest, J3_TheSharedTierTellsBodiesApartToo) {
  RedisProcess redis;
  SatchelConfig config = WithRule();
  config.l2 = "redis: \"" + redis.url() + "\", deadline: 2s";
  const auto up = [](const SatchelProcess& process) { return process.WaitForRedis(1); };
  Start(config);
  SatchelProcess other(config);
  ASSERT_TRUE(up(*satchel) && up(other));
  const std::string first = Send("QUERY", "/search/a", kJson, "[1]").body;
  ASSERT_TRUE(Eventually([&] { return !redis.Records().empty(); }));
  Response hit = other.Send("QUERY", "/search/a", kJson, "[ 1 ]");
  EXPECT_TRUE(Hit(hit)) << Describe(hit);
  EXPECT_EQ(hit.body, first);
  EXPECT_FALSE(Hit(other.Send("QUERY", "/search/a", kJson, "[2]")));
}

// It looks again when what it waited for is another variant: with its body still in the key.
TEST_F(KeyedBodyTest, J3_WhoWaitedForAnotherVariantIsAnsweredByItsBodyAllTheSame) {
  origin.On("/search/a", [](OriginExchange& exchange) {
    const std::string body = exchange.ReadBody();
    if (exchange.request().method != "GET") exchange.Hold("all");
    exchange.Respond(
        Fresh(body + " in " + exchange.request().fields.Get("X-Lang"), 60, {{"Vary", "X-Lang"}}));
  });
  Start(WithRule());
  EXPECT_EQ(Get("/search/a", {{"X-Lang", "en"}}).body, " in en");
  RawClient leader = satchel->Connect();
  leader.Send(Request("QUERY", "/search/a", {{"X-Lang", "de"}}, "q"));
  ASSERT_TRUE(origin.WaitUntilHeld("all"));
  RawClient follower = satchel->Connect();
  follower.Send(Request("QUERY", "/search/a", {{"X-Lang", "en"}}, "q"));
  Send("POST", "/fence");  // the worker has read it by now
  EXPECT_EQ(origin.RequestCount("/search/a"), 2u);
  origin.Release("all");
  EXPECT_EQ(leader.Read("QUERY").body, "q in de");
  EXPECT_EQ(follower.Read("QUERY").body, "q in en");
}

}  // namespace
}  // namespace satchel::testing
