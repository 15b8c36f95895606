// Storing and answering from memory: RFC 9111 3 and 4, seen from outside. An answer that is stale
// on arrival (an Age beyond its lifetime) stands in for waiting.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;

class CachingTest : public ProxyTest {
 protected:
  // How often the origin is asked for two equal requests, one after the other.
  size_t RequestsForTwo(const Reply& reply, const Fields& fields = {}) {
    std::string target = "/two/" + std::to_string(++counter_);
    origin.On(target, reply);
    Get(target, fields);
    second_ = Get(target, fields);
    return origin.RequestCount(target);
  }
  int counter_ = 0;
  Response second_;
};

Fields CacheControl(const std::string& value, Fields more = {}) {
  more.Add("Cache-Control", value);
  return more;
}

TEST_F(CachingTest, AFreshAnswerIsServedWithItsAgeAndCacheStatus) {
  origin.On("/", Fresh("body", 60, {{"ETag", "\"1\""}}));
  Start();
  Response miss = Get("/");
  EXPECT_EQ(miss.status, 200);
  CacheStatus missed(miss);
  EXPECT_FALSE(missed.hit());
  EXPECT_EQ(missed.fwd(), "uri-miss");
  EXPECT_EQ(missed.Get("fwd-status"), "200");
  EXPECT_TRUE(missed.Has("stored")) << Describe(miss);

  Response hit = Get("/");
  CacheStatus status(hit);
  EXPECT_TRUE(status.hit()) << Describe(hit);
  EXPECT_FALSE(status.Has("fwd"));
  EXPECT_THAT(status.ttl(), AllOf(Ge(50), Le(60)));
  EXPECT_THAT(Age(hit), AllOf(Ge(0), Le(9)));
  EXPECT_EQ(hit.body, "body");
  EXPECT_EQ(hit.Get("ETag"), "\"1\"");
  EXPECT_EQ(hit.Get("Cache-Control"), "max-age=60");
  EXPECT_EQ(hit.Get("Content-Length"), "4");
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(CachingTest, TheAgeOfTheOriginIsCountedOn) {
  origin.On("/", Fresh("x", 100, {{"Age", "30"}}));
  Start();
  Get("/");
  Response hit = Get("/");
  EXPECT_THAT(Age(hit), AllOf(Ge(30), Le(40)));
  EXPECT_THAT(CacheStatus(hit).ttl(), AllOf(Ge(60), Le(70)));
}

TEST_F(CachingTest, AnOldDateCountsAsAge) {
  origin.On("/", Fresh("x", 100, {{"Date", HttpDate(-40)}}));
  Start();
  Get("/");
  EXPECT_THAT(Age(Get("/")), AllOf(Ge(40), Le(50)));
}

TEST_F(CachingTest, AgeGrowsWithTime) {
  origin.On("/", Fresh("x"));
  Start();
  Get("/");
  auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(Eventually([&] { return Age(Get("/")) >= 1; }));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(900));
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(CachingTest, ALifetimeEndsWhenItEnds) {
  origin.On("/", Fresh("x", 1));
  Start();
  Get("/");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
  EXPECT_TRUE(Eventually([&] {
    Response response = Get("/");
    EXPECT_LE(Age(response), 0) << "served beyond max-age=1";
    return origin.RequestCount("/") == 2;
  }));
}

TEST_F(CachingTest, WhatMayBeStoredIsStored) {
  Start();
  std::vector<std::pair<const char*, Reply>> storable = {
      {"max-age", {.fields = CacheControl("max-age=60")}},
      {"s-maxage over max-age=0", {.fields = CacheControl("max-age=0, s-maxage=60")}},
      {"public, max-age", {.fields = CacheControl("public, max-age=60")}},
      {"Expires", {.fields = {{"Expires", HttpDate(60)}}}},
      {"Expires in RFC 850 form", {.fields = {{"Expires", "Thursday, 01-Jan-60 00:00:00 GMT"}}}},
      {"max-age over a past Expires",
       {.fields = CacheControl("max-age=60", {{"Expires", HttpDate(-9)}})}},
      {"heuristic", {.fields = {{"Last-Modified", HttpDate(-86400)}}}},
      {"404 with a lifetime", {.status = 404, .fields = CacheControl("max-age=60")}},
      {"500 with a lifetime", {.status = 500, .fields = CacheControl("max-age=60")}},
      {"302 with a lifetime", {.status = 302, .fields = CacheControl("max-age=60")}},
      {"599 with a lifetime", {.status = 599, .fields = CacheControl("max-age=60")}},
      {"204 with a lifetime", {.status = 204, .fields = CacheControl("max-age=60")}},
      {"Set-Cookie", {.fields = CacheControl("max-age=60", {{"Set-Cookie", "a=b"}})}},
      {"unknown directives", {.fields = CacheControl("foo, max-age=60, bar=\"no-store\"")}},
      {"quoted argument", {.fields = CacheControl("max-age=\"60\"")}},
      {"upper case", {.fields = CacheControl("MAX-AGE=60")}},
      {"huge lifetime", {.fields = CacheControl("max-age=99999999999999999999")}},
      {"Pragma in a response", {.fields = CacheControl("max-age=60", {{"Pragma", "no-cache"}})}},
      {"must-understand", {.fields = CacheControl("no-store, must-understand, max-age=60")}},
      {"CDN-Cache-Control over no-store",
       {.fields = CacheControl("no-store", {{"CDN-Cache-Control", "max-age=60"}})}},
      {"an unparsable Age", {.fields = CacheControl("max-age=60", {{"Age", "abc"}})}},
  };
  for (const auto& [what, reply] : storable) {
    EXPECT_EQ(RequestsForTwo(reply), 1u) << what << "\n" << Describe(second_);
    EXPECT_TRUE(CacheStatus(second_).hit()) << what;
  }
}

TEST_F(CachingTest, WhatMayNotBeReusedIsAskedForAgain) {
  Start();
  std::vector<std::pair<const char*, Reply>> unusable = {
      {"nothing said", {.body = "x"}},
      {"no-store", {.fields = CacheControl("no-store, max-age=60")}},
      {"private", {.fields = CacheControl("private, max-age=60")}},
      {"no-cache", {.fields = CacheControl("no-cache, max-age=60")}},
      {"max-age=0", {.fields = CacheControl("max-age=0")}},
      {"s-maxage=0 over max-age", {.fields = CacheControl("max-age=60, s-maxage=0")}},
      {"negative lifetime", {.fields = CacheControl("max-age=-1")}},
      {"lifetime in letters", {.fields = CacheControl("max-age=abc", {{"Expires", HttpDate(60)}})}},
      {"decimal lifetime",
       {.fields = CacheControl("max-age=60.5", {{"Last-Modified", HttpDate(-86400)}})}},
      {"Expires: 0", {.fields = {{"Expires", "0"}, {"Last-Modified", HttpDate(-86400)}}}},
      {"Expires equal to Date", {.fields = {{"Date", HttpDate()}, {"Expires", HttpDate()}}}},
      {"Age beyond the lifetime", {.fields = CacheControl("max-age=60", {{"Age", "61"}})}},
      {"first of two Ages", {.fields = CacheControl("max-age=60", {{"Age", "7200, 0"}})}},
      {"Vary: *", {.fields = CacheControl("max-age=60", {{"Vary", "*"}})}},
      {"Vary: * in a list", {.fields = CacheControl("max-age=60", {{"Vary", "Accept, *"}})}},
      {"a status without heuristics",
       {.status = 201, .fields = {{"Last-Modified", HttpDate(-86400)}}}},
      {"must-understand and an unknown status",
       {.status = 599, .fields = CacheControl("no-store, must-understand, max-age=60")}},
      {"two Cache-Control lines",
       {.fields = {{"Cache-Control", "max-age=60"}, {"Cache-Control", "no-store"}}}},
      {"CDN-Cache-Control: no-store",
       {.fields = CacheControl("max-age=60", {{"CDN-Cache-Control", "no-store"}})}},
      {"white space around =", {.fields = CacheControl("max-age = 60")}},
  };
  for (const auto& [what, reply] : unusable) {
    EXPECT_EQ(RequestsForTwo(reply), 2u) << what << "\n" << Describe(second_);
    EXPECT_FALSE(CacheStatus(second_).hit()) << what;
  }
}

TEST_F(CachingTest, AnswersToAuthorizedRequestsAreSharedOnlyWhenTheOriginSaysSo) {
  Start();
  Fields basic = {{"Authorization", "Basic eA=="}};
  EXPECT_EQ(RequestsForTwo({.fields = CacheControl("max-age=60")}, basic), 2u);
  for (const char* allowed : {"public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"}) {
    EXPECT_EQ(RequestsForTwo({.fields = CacheControl(allowed)}, basic), 1u) << allowed;
  }
}

TEST_F(CachingTest, TwoPrincipalsNeverSeeEachOthersBytes) {
  origin.On("/me", [](OriginExchange& exchange) {
    exchange.Respond(Fresh("for " + exchange.request().fields.Get("Authorization")));
  });
  Start();
  for (const char* who : {"Basic alice", "Basic bob", "Basic alice", "Basic carol"}) {
    EXPECT_EQ(Get("/me", {{"Authorization", who}}).body, std::string("for ") + who);
  }
}

TEST_F(CachingTest, ARequestThatSaysNoStoreIsNotStored) {
  Start();
  EXPECT_EQ(RequestsForTwo(Fresh("x"), {{"Cache-Control", "no-store"}}), 2u);
}

TEST_F(CachingTest, RequestDirectivesAreObeyed) {
  origin.On("/", Fresh("x", 60, {{"Age", "20"}}));
  Start();
  Get("/");
  ASSERT_EQ(origin.RequestCount(), 1u);
  // Satisfied by what is stored: 20 s old, 40 s to go.
  for (const char* fine : {"max-age=30", "min-fresh=30", "max-stale", "only-if-cached",
                           "nothing-to-see-here", "foo=\"no-cache\""}) {
    EXPECT_TRUE(CacheStatus(Get("/", {{"Cache-Control", fine}})).hit()) << fine;
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
  size_t count = 1;
  for (const char* strict : {"no-cache", "max-age=10", "min-fresh=50", "max-age=0"}) {
    Response response = Get("/", {{"Cache-Control", strict}});
    EXPECT_EQ(CacheStatus(response).fwd(), "request") << strict << Describe(response);
    EXPECT_EQ(origin.RequestCount(), ++count) << strict;
  }
  Get("/", {{"Pragma", "no-cache"}});
  EXPECT_EQ(origin.RequestCount(), ++count);
  Get("/", {{"Pragma", "no-cache"}, {"Cache-Control", "max-stale"}});  // 5.4: Pragma is ignored
  EXPECT_EQ(origin.RequestCount(), count);
}

TEST_F(CachingTest, RequestDirectivesCanBeIgnoredByARule) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = Config();
  config.cache = "request_directives: ignore";
  Start(config);
  Get("/");
  EXPECT_TRUE(CacheStatus(Get("/", {{"Cache-Control", "no-cache"}})).hit());
}

TEST_F(CachingTest, OnlyIfCachedNeverAsksTheOrigin) {
  Start();
  Response response = Get("/", {{"Cache-Control", "only-if-cached"}});
  EXPECT_EQ(response.status, 504) << Describe(response);
  EXPECT_EQ(origin.RequestCount(), 0u);
}

TEST_F(CachingTest, MaxStaleAcceptsAStaleAnswer) {
  origin.On("/", StaleSince(5, "x", "", {{"ETag", "\"1\""}}));
  Start();
  Get("/");
  Response response = Get("/", {{"Cache-Control", "max-stale=60"}});
  EXPECT_EQ(origin.RequestCount(), 1u) << Describe(response);
  EXPECT_GE(Age(response), 15);
  Get("/", {{"Cache-Control", "max-stale=2"}});
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(CachingTest, CacheStatusNamesWhyItWentForward) {
  origin.On("/", Fresh("x", 60, {{"Vary", "Accept"}}));
  origin.On("/stale", StaleSince(5, "x"));
  SatchelConfig config = Config();
  config.rules =
      "  - {name: off, match: {path: \"/off/**\"}, upstream: app, cache: false}\n"
      "  - {name: rest, match: {}, upstream: app}\n";
  Start(config);
  EXPECT_EQ(CacheStatus(Get("/", {{"Accept", "a"}})).fwd(), "uri-miss");
  EXPECT_EQ(CacheStatus(Get("/", {{"Accept", "b"}})).fwd(), "vary-miss");
  EXPECT_EQ(CacheStatus(Send("POST", "/other")).fwd(), "method");
  EXPECT_EQ(CacheStatus(Get("/off/x")).fwd(), "bypass");
  EXPECT_EQ(CacheStatus(Get("/", {{"Accept", "a"}, {"Cache-Control", "no-cache"}})).fwd(),
            "request");
  Get("/stale");
  EXPECT_EQ(CacheStatus(Get("/stale")).fwd(), "stale");
  // What another cache said before us stays in front (RFC 9211 2).
  origin.On("/chain", Fresh("x", 60, {{"Cache-Status", "Inner; hit"}}));
  Response chained = Get("/chain");
  EXPECT_EQ(chained.fields.Joined("Cache-Status").find("Inner; hit"), 0u) << Describe(chained);
  EXPECT_TRUE(CacheStatus(chained).present());
  EXPECT_EQ(chained.fields.Joined("Cache-Status").find("Satchel", 0) > 0, true);
}

TEST_F(CachingTest, ARuleWithCacheFalseNeverStores) {
  origin.On("/off", Fresh("x"));
  SatchelConfig config = Config();
  config.rules = "  - {name: off, match: {path: /off}, upstream: app, cache: false}\n";
  Start(config);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Get("/off").body, "x");
  EXPECT_EQ(origin.RequestCount("/off"), 3u);
}

TEST_F(CachingTest, ATtlOfARuleOverridesTheOrigin) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.cache = "ttl: 1m";
  Start(config);
  Get("/");
  Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_THAT(CacheStatus(hit).ttl(), AllOf(Ge(50), Le(60)));
}

TEST_F(CachingTest, NegativeLifetimesAreForErrorsWithoutTheirOwn) {
  origin.On("/", {.status = 404, .body = "none"});
  SatchelConfig config = Config();
  config.cache = "negative: {404: 30s}";
  Start(config);
  Get("/");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(CachingTest, TheKeyHoldsHostAndTheWholeTarget) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().fields.Get("Host") + exchange.request().target));
  });
  Start();
  for (int turn = 0; turn < 2; ++turn) {
    for (const char* target : {"/a", "/a?", "/a?x=1", "/a?x=2", "/A", "/a/", "/%61", "/a;b"}) {
      for (const char* host : {"one", "two", "one:81"}) {
        EXPECT_EQ(Get(target, {{"Host", host}}).body, std::string(host) + target);
      }
    }
  }
  EXPECT_EQ(origin.RequestCount(), 24u);
}

TEST_F(CachingTest, AHostIsOneHostHoweverItIsWritten) {
  origin.On("/", Fresh("x"));
  Start();
  Get("/", {{"Host", "shop.example"}});
  for (const char* host : {"SHOP.example", "shop.example:80", "shop.example."}) {
    EXPECT_TRUE(CacheStatus(Get("/", {{"Host", host}})).hit()) << host;
  }
  RawClient client = satchel->Connect();
  client.Send("GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n");
  EXPECT_TRUE(CacheStatus(client.Read()).hit());
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(CachingTest, AKeyRuleDropsQueryParametersFromTheKey) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = Config();
  config.cache = "key: {query: {deny: [\"utm_*\", fbclid]}}";
  Start(config);
  Get("/?b=2&a=1");
  EXPECT_TRUE(CacheStatus(Get("/?a=1&utm_source=x&b=2&fbclid=y")).hit());
  EXPECT_FALSE(CacheStatus(Get("/?a=2&b=2")).hit());
}

TEST_F(CachingTest, VariantsAreKeptApartAndSideBySide) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(Fresh("in " + exchange.request().fields.Joined("X-Lang"), 60,
                           {{"Vary", "X-Lang, X-Other"}}));
  });
  Start();
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(Get("/", {{"X-Lang", "de"}}).body, "in de");
    EXPECT_EQ(Get("/", {{"X-Lang", "en"}}).body, "in en");
    EXPECT_EQ(Get("/").body, "in ");
    EXPECT_EQ(Get("/", {{"X-Lang", "de"}, {"X-Other", "1"}}).body, "in de");
  }
  EXPECT_EQ(origin.RequestCount(), 4u);
  // Lines are joined and white space around commas does not tell variants apart.
  Get("/", {{"X-Lang", "a, b"}});
  EXPECT_TRUE(CacheStatus(Get("/", {{"X-Lang", "a"}, {"X-Lang", "b"}})).hit());
  EXPECT_TRUE(CacheStatus(Get("/", {{"X-Unnamed", "z"}, {"X-Lang", "a,b"}})).hit());
}

TEST_F(CachingTest, EncodedVariantsAreNeverMixed) {
  origin.On("/", [](OriginExchange& exchange) {
    bool zipped = exchange.request().fields.Get("Accept-Encoding") == "gzip";
    Fields fields = {{"Vary", "Accept-Encoding"}, {"ETag", zipped ? "\"z\"" : "\"p\""}};
    if (zipped) fields.Add("Content-Encoding", "gzip");
    exchange.Respond(Fresh(zipped ? "zipped" : "plain", 60, fields));
  });
  Start();
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_EQ(Get("/", {{"Accept-Encoding", "gzip"}}).body, "zipped");
    EXPECT_EQ(Get("/").body, "plain");
    EXPECT_EQ(Get("/", {{"Accept-Encoding", "gzip"}, {"If-None-Match", "\"p\""}}).status, 200);
  }
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(CachingTest, ManyVariantsStayBounded) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().fields.Get("X-V"), 60, {{"Vary", "X-V"}}));
  });
  Start();
  for (int i = 0; i < 100; ++i) Get("/", {{"X-V", std::to_string(i)}});
  EXPECT_LE(satchel->ReadMetrics().Sum("satchel_l1_objects"), 17);
  EXPECT_TRUE(CacheStatus(Get("/", {{"X-V", "99"}})).hit());
  EXPECT_FALSE(CacheStatus(Get("/", {{"X-V", "0"}})).hit());
}

TEST_F(CachingTest, AHeadIsAnsweredFromAStoredGetAndNeverStoredAsOne) {
  origin.On("/", Fresh("12345"));
  Start();
  Response head = Send("HEAD", "/");
  EXPECT_EQ(head.status, 200);
  Response get = Get("/");
  EXPECT_EQ(get.body, "12345") << "a HEAD was stored as a GET";
  size_t count = origin.RequestCount();
  head = Send("HEAD", "/");
  EXPECT_TRUE(CacheStatus(head).hit()) << Describe(head);
  EXPECT_EQ(head.Get("Content-Length"), "5");
  EXPECT_EQ(origin.RequestCount(), count);
}

TEST_F(CachingTest, AnAnswerAboveMaxObjectPassesWithoutEntering) {
  std::string big = Pattern(0, 300'000);
  origin.On("/length", Fresh(big));
  Reply chunked = Fresh(big);
  chunked.framing = Reply::Framing::kChunked;
  origin.On("/chunked", chunked);
  SatchelConfig config = Config();
  config.l1 = "size: 16MiB, max_object: 100KiB";
  Start(config);
  for (const char* target : {"/length", "/chunked"}) {
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(Get(target).body == big) << target;
    EXPECT_EQ(origin.RequestCount(target), 2u) << target;
  }
}

TEST_F(CachingTest, TheStoreStaysWithinItsBound) {
  origin.Otherwise(
      [](OriginExchange& exchange) { exchange.Respond(Fresh(std::string(50'000, 'x'))); });
  SatchelConfig config = Config();
  config.l1 = "size: 4MiB";
  Start(config);
  RawClient client = satchel->Connect();
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(client.Get("/" + std::to_string(i)).status, 200);
    if (i % 20 != 0) continue;
    Metrics metrics = satchel->ReadMetrics();
    EXPECT_LE(metrics.Sum("satchel_l1_bytes"), 4 * 1024 * 1024);
    EXPECT_GT(metrics.Sum("satchel_l1_bytes"), 0);
  }
  EXPECT_TRUE(CacheStatus(client.Get("/299")).hit());
  EXPECT_FALSE(CacheStatus(client.Get("/0")).hit());
}

TEST_F(CachingTest, AllWorkersShareOneStore) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = Config();
  config.workers = "4";
  Start(config);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(Get("/").body, "x");
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(CachingTest, BodiesOfEverySizeAndFramingComeBackEqual) {
  Start();
  for (size_t size : {0, 1, 4095, 4096, 65535, 65536, 65537, 200'000, 262'144, 1'500'000}) {
    for (auto framing :
         {Reply::Framing::kLength, Reply::Framing::kChunked, Reply::Framing::kUntilClose}) {
      std::string target =
          "/" + std::to_string(size) + "/" + std::to_string(static_cast<int>(framing));
      Reply reply = Fresh(Pattern(0, size));
      reply.framing = framing;
      origin.On(target, reply);
      EXPECT_TRUE(Get(target).body == reply.body) << target;
      Response hit = Get(target);
      EXPECT_TRUE(hit.body == reply.body) << target << Describe(hit);
      EXPECT_TRUE(hit.complete);
      EXPECT_EQ(origin.RequestCount(target), 1u) << target;
      EXPECT_EQ(hit.Get("Content-Length"), std::to_string(size)) << target;
    }
  }
}

}  // namespace
}  // namespace satchel::testing
