// Finer lines of RFC 9110 and 9111 that only show on the wire.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;
using HttpDetailsTest = ProxyTest;

// "0123456789", the last four once "rest" is released.
void SendSixOfTen(OriginExchange& exchange) {
  exchange.SendHead(200,
                    {{"Content-Length", "10"}, {"Cache-Control", "max-age=60"}, {"ETag", "\"1\""}});
  exchange.Send("012345");
  exchange.Hold("rest");
  exchange.Send("6789");
}

TEST_F(HttpDetailsTest, AcceptLanguageIsComparedByMeaningNotBySpelling) {
  origin.On("/", Fresh("x", 60, {{"Vary", "Accept-Language"}}));
  Start();
  Get("/", {{"Accept-Language", "en, fr;q=0.5"}});
  for (const char* same : {"EN,FR;q=0.5", "fr;q=0.5, en", "en , fr; q=0.5"}) {
    EXPECT_TRUE(CacheStatus(Get("/", {{"Accept-Language", same}})).hit()) << same;
  }
  EXPECT_FALSE(CacheStatus(Get("/", {{"Accept-Language", "fr, en;q=0.5"}})).hit());
}

TEST_F(HttpDetailsTest, AnAbsentFieldMatchesOnlyAnAbsentOne) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(
        Fresh(exchange.request().fields.Has("X-V") ? "with" : "without", 60, {{"Vary", "X-V"}}));
  });
  Start();
  EXPECT_EQ(Get("/").body, "without");
  EXPECT_EQ(Get("/", {{"X-V", "1"}}).body, "with");
  EXPECT_EQ(Get("/").body, "without");
}

TEST_F(HttpDetailsTest, AHeuristicLifetimeIsATenthOfTheAgeOfTheRepresentation) {
  origin.On("/", {.fields = {{"Last-Modified", HttpDate(-1000)}, {"Date", HttpDate()}}});
  origin.On("/old", {.fields = {{"Last-Modified", HttpDate(-100'000'000)}, {"Date", HttpDate()}}});
  Start();
  Get("/");
  EXPECT_THAT(CacheStatus(Get("/")).ttl(), AllOf(Ge(90), Le(100)));
  Get("/old");
  EXPECT_THAT(CacheStatus(Get("/old")).ttl(), AllOf(Ge(3590), Le(3600)));  // our cap
}

TEST_F(HttpDetailsTest, AQualifiedNoCacheWithholdsOnlyTheFieldsItNames) {
  origin.On("/", {.fields = {{"Cache-Control", "max-age=60, no-cache=\"X-Secret, X-Other\""},
                             {"X-Secret", "1"},
                             {"X-Kept", "1"}},
                  .body = "x"});
  Start();
  EXPECT_EQ(Get("/").Get("X-Secret"), "1");
  Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_FALSE(hit.fields.Has("X-Secret"));  // RFC 9111 5.2.2.4
  EXPECT_EQ(hit.Get("X-Kept"), "1");
}

TEST_F(HttpDetailsTest, InnerCachesAreNamedOnceAndBeforeUs) {
  const Fields inner = {{"Cache-Status", "Inner; hit"}};
  origin.On("/stored", Fresh("x", 60, inner));
  Fields own = inner;
  own.Add("Cache-Control", "private");
  origin.On("/private", {.fields = own, .body = "x"});
  Start();
  for (const char* target : {"/stored", "/private"}) {
    // RFC 9211 2: the list begins with the cache nearest to the origin.
    std::string status = Get(target).fields.Joined("Cache-Status");
    EXPECT_EQ(status.find("Inner; hit, Satchel;"), 0u) << status;
    EXPECT_EQ(status.rfind("Inner"), 0u) << status;
  }
}

TEST_F(HttpDetailsTest, J5_AllLinesOfInnerCachesStandBeforeOurs) {
  Fields inner = {{"Cache-Status", "Origin; fwd=uri-miss"}, {"Cache-Status", "Inner; hit"}};
  origin.On("/stored", Fresh("x", 60, inner));
  inner.Add("Cache-Control", "private");
  origin.On("/private", {.fields = inner, .body = "x"});
  Start();
  for (const char* target : {"/stored", "/private"}) {
    const std::string status = Get(target).fields.Joined("Cache-Status");
    EXPECT_TRUE(status.starts_with("Origin; fwd=uri-miss, Inner; hit, Satchel; ")) << status;
  }
}

TEST_F(HttpDetailsTest, A304ReplacesFieldsButNotThoseThatDescribeTheBody) {
  origin.Next("/", StaleSince(5, "12345", "", {{"ETag", "\"1\""}, {"X-A", "old"}, {"X-B", "old"}}));
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(304, {{"ETag", "\"1\""},
                            {"Cache-Control", "max-age=60"},
                            {"Content-Length", "999"},
                            {"Content-Encoding", "gzip"},
                            {"Content-Range", "bytes 0-1/2"},
                            {"X-A", "new"},
                            {"X-A", "newer"}});
  });
  Start();
  Get("/");
  for (int i = 0; i < 2; ++i) {
    Response response = Get("/");
    EXPECT_EQ(response.body, "12345") << Describe(response);
    EXPECT_EQ(response.Get("Content-Length"), "5");
    EXPECT_FALSE(response.fields.Has("Content-Encoding"));
    EXPECT_FALSE(response.fields.Has("Content-Range"));
    EXPECT_EQ(response.fields.All("X-A"), (std::vector<std::string>{"new", "newer"}));
    EXPECT_EQ(response.Get("X-B"), "old");
  }
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(HttpDetailsTest, SMaxageForbidsWhatNoDirectiveGrants) {
  origin.On("/", {.fields = {{"Cache-Control", "s-maxage=10"}, {"Age", "15"}}, .body = "x"});
  Start();
  Get("/");
  origin.Down();
  int status = Get("/").status;
  EXPECT_TRUE(status == 502 || status == 504) << status;  // RFC 9111 5.2.2.10
}

TEST_F(HttpDetailsTest, J8_TrailersOfAStorableAnswerReachThoseWhoReadItAsItGrows) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
    exchange.SendChunk("hello");
    exchange.Hold("end");
    exchange.SendLastChunk({{"X-Sum", "5"}, {"Set-Cookie", "a=b"}, {"Content-Length", "9"}});
  });
  Start();
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  Response first = leader.ReadHead();
  RawClient follower = satchel->Connect();
  follower.Send(Request("GET", "/"));
  Response second = follower.ReadHead();
  origin.Release("end");
  ASSERT_TRUE(leader.ReadBody(&first));
  ASSERT_TRUE(follower.ReadBody(&second));
  for (const Response& response : {first, second}) {
    EXPECT_EQ(response.body, "hello");
    EXPECT_EQ(response.trailers.Get("X-Sum"), "5");
    EXPECT_FALSE(response.trailers.Has("Set-Cookie"));
    EXPECT_FALSE(response.trailers.Has("Content-Length"));
    EXPECT_FALSE(response.fields.Has("X-Sum"));
  }
  const Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit());
  EXPECT_FALSE(hit.fields.Has("X-Sum"));
}

TEST_F(HttpDetailsTest, TrailersNeverBecomeFieldsOfAHit) {
  Reply reply = Fresh("x");
  reply.framing = Reply::Framing::kChunked;
  reply.trailers = {{"X-Trailer", "1"}, {"Cache-Control", "no-store"}, {"Set-Cookie", "a=b"}};
  origin.On("/", reply);
  Start();
  // However early its end is here, who asked first gets it.
  const Response first = Get("/");
  EXPECT_EQ(first.trailers.Get("X-Trailer"), "1") << Describe(first);
  EXPECT_EQ(first.trailers.list().size(), 1u);
  Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_FALSE(hit.fields.Has("X-Trailer"));
  EXPECT_FALSE(hit.fields.Has("Set-Cookie"));
  EXPECT_EQ(hit.fields.Joined("Cache-Control"), "max-age=60");
}

TEST_F(HttpDetailsTest, AMissWithALargerAgeThanItsLifetimeIsPassedOnWithItsAge) {
  origin.On("/", StaleSince(5, "x"));
  Start();
  EXPECT_GE(Age(Get("/")), 15);
}

TEST_F(HttpDetailsTest, AnAgeLargerThanThirtyTwoBitsIsJustVeryOld) {
  origin.On("/", Fresh("x", 2147483647, {{"Age", "99999999999999999999"}}));
  Start();
  Get("/");
  Response again = Get("/");
  EXPECT_FALSE(CacheStatus(again).hit());
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(HttpDetailsTest, AClientThatEndsItsHalfIsStillAnswered) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.Respond({.body = "x"});
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  client.ShutdownWrite();
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  origin.Release("head");
  EXPECT_EQ(client.Read().body, "x");
  EXPECT_TRUE(client.ClosedByPeer());
}

TEST_F(HttpDetailsTest, ARangeOfAGrowingFillIsNeverAWrongPart) {
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().fields.Has("Range")) {
      exchange.Respond({.status = 206,
                        .fields = {{"Content-Range", "bytes 2-4/10"}, {"ETag", "\"1\""}},
                        .body = "234"});
      return;
    }
    SendSixOfTen(exchange);
  });
  Start();
  RawClient whole = satchel->Connect();
  whole.Send(Request("GET", "/"));
  Response first = whole.ReadHead();
  ASSERT_TRUE(whole.ReadBodyUntil(&first, 6));
  // Its bytes are there, so it need not wait for the rest.
  RawClient part = satchel->Connect();
  part.Send(Request("GET", "/", {{"Range", "bytes=2-4"}}));
  Response range = part.Read("GET", std::chrono::seconds(4));
  EXPECT_EQ(range.status, 206) << Describe(range);
  EXPECT_EQ(range.body, "234");
  EXPECT_EQ(range.Get("Content-Range"), "bytes 2-4/10");
  origin.Release("rest");
  EXPECT_TRUE(whole.ReadBody(&first));
}

TEST_F(HttpDetailsTest, AReloadOfAnImmutableAnswerIsAHit) {
  origin.On("/", {.fields = {{"Cache-Control", "max-age=600, immutable"}}, .body = "x"});
  Start();
  Get("/");
  EXPECT_TRUE(CacheStatus(Get("/", {{"Cache-Control", "max-age=0"}})).hit());  // RFC 8246 2
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(HttpDetailsTest, AStoredErrorIsServedWithItsStatusAndReplacedBySuccess) {
  origin.Next("/", {.status = 503, .fields = {{"Cache-Control", "max-age=1"}}, .body = "busy"});
  origin.On("/", Fresh("fine"));
  Start();
  EXPECT_EQ(Get("/").status, 503);
  EXPECT_EQ(Get("/").status, 503);
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "fine"; }));
}

TEST_F(HttpDetailsTest, A304ToAnEntityTagOfAnotherVariantIsNotUsedForThisOne) {
  origin.On("/", [](OriginExchange& exchange) {
    const Fields& fields = exchange.request().fields;
    std::string lang = fields.Get("X-Lang");
    if (fields.Joined("If-None-Match").find("\"" + lang + "\"") != std::string::npos) {
      exchange.Respond(
          {.status = 304, .fields = {{"ETag", "\"" + lang + "\""}, {"Vary", "X-Lang"}}});
      return;
    }
    exchange.Respond(Fresh("in " + lang, 60, {{"Vary", "X-Lang"}, {"ETag", "\"" + lang + "\""}}));
  });
  Start();
  EXPECT_EQ(Get("/", {{"X-Lang", "de"}}).body, "in de");
  EXPECT_EQ(Get("/", {{"X-Lang", "en"}}).body, "in en");
  EXPECT_EQ(Get("/", {{"X-Lang", "de"}}).body, "in de");
  EXPECT_EQ(Get("/", {{"X-Lang", "fr"}}).body, "in fr");
}

TEST_F(HttpDetailsTest, ExpiresInEveryDateFormIsUnderstood) {
  Start();
  int number = 0;
  for (const char* form : {"Wed, 01 Jan 2070 00:00:00 GMT", "Wed Jan  1 00:00:00 2070",
                           "wed, 01 jan 2070 00:00:00 gmt", "Sat, 20 Nov 2286 17:46:40 GMT"}) {
    std::string target = "/" + std::to_string(number++);
    origin.On(target, {.fields = {{"Expires", form}}, .body = "x"});
    Get(target);
    EXPECT_TRUE(CacheStatus(Get(target)).hit()) << form;
  }
  for (const char* form : {"Wed, 01 Jan 2070 00:00:00 CET", "01 Jan 2070 00:00:00 GMT",
                           "Wed, 01 Jan 2070 0:00:00 GMT", "Wed,  01 Jan 2070 00:00:00 GMT",
                           "Wed, 01-Jan-2070 00:00:00 GMT", "2070-01-01T00:00:00Z"}) {
    std::string target = "/" + std::to_string(number++);
    origin.On(target, {.fields = {{"Expires", form}, {"Last-Modified", HttpDate(-86400)}}});
    Get(target);
    EXPECT_FALSE(CacheStatus(Get(target)).hit()) << form;
  }
}

TEST_F(HttpDetailsTest, F3_IfRangeIsJudgedWhileTheResponseStillGrows) {
  origin.On("/", SendSixOfTen);
  Start();
  RawClient whole = satchel->Connect();
  whole.Send(Request("GET", "/"));
  Response first = whole.ReadHead();
  ASSERT_TRUE(whole.ReadBodyUntil(&first, 6));
  RawClient same = satchel->Connect();
  same.Send(Request("GET", "/", {{"Range", "bytes=2-4"}, {"If-Range", "\"1\""}}));
  EXPECT_EQ(same.Read().body, "234");
  RawClient other = satchel->Connect();
  other.Send(Request("GET", "/", {{"Range", "bytes=2-4"}, {"If-Range", "\"0\""}}));
  Response second = other.ReadHead();
  EXPECT_EQ(second.status, 200) << Describe(second);
  EXPECT_FALSE(second.fields.Has("Content-Range"));
  origin.Release("rest");
  EXPECT_TRUE(whole.ReadBody(&first));
  EXPECT_TRUE(other.ReadBody(&second));
  EXPECT_EQ(second.body, "0123456789");
  EXPECT_EQ(origin.RequestCount(), 1u);
}

// RFC 9111 4.2.3: what comes late is that much older, an update as well.
TEST_F(HttpDetailsTest, D2_TheTimeThatAnUpdateTakesIsPartOfTheAge) {
  for (const std::string method : {"GET", "HEAD"}) {
    const std::string target = "/" + method;
    origin.Next(target, StaleSince(0, "body", "", {{"ETag", "\"1\""}}));
    origin.On(target, [](OriginExchange& exchange) {
      exchange.Hold(exchange.request().method);
      const bool head = exchange.request().method == "HEAD";
      Fields fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}};
      if (head) fields.Add("Content-Length", "4");
      exchange.SendHead(head ? 200 : 304, fields);
    });
    if (!satchel) Start();
    Get(target);
    RawClient client = satchel->Connect();
    client.Send(Request(method, target));
    ASSERT_TRUE(origin.WaitUntilHeld(method));
    PassTime(std::chrono::milliseconds(1100));  // what the update takes
    origin.Release(method);
    EXPECT_EQ(client.Read(method).status, 200);
    const Response hit = Get(target);
    EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
    EXPECT_THAT(Age(hit), AllOf(Ge(1), Le(9))) << method;
    EXPECT_EQ(origin.RequestCount(target), 2u);
  }
}

// The lifetime of a HEAD counts as that of any update.
TEST_F(HttpDetailsTest, D1_AForwardedHeadBringsItsOwnLifetime) {
  origin.On("/", [](OriginExchange& exchange) {
    const bool head = exchange.request().method == "HEAD";
    exchange.Respond(Fresh("body", head ? 600 : 60, {{"ETag", "\"1\""}}));
  });
  Start();
  Get("/");
  Send("HEAD", "/", {{"Cache-Control", "no-cache"}});
  EXPECT_THAT(CacheStatus(Get("/")).ttl(), AllOf(Ge(500), Le(600)));
  EXPECT_EQ(origin.RequestCount(), 2u);
}

// RFC 9211 2.5: what is left now, not what was left when it came.
TEST_F(HttpDetailsTest, J9_TheTtlIsThatOfNowOnEveryPath) {
  origin.On("/", Fresh("0123456789", 60, {{"ETag", "\"1\""}}));
  Start();
  Get("/");
  Response plain;
  EXPECT_TRUE(Eventually([&] {
    plain = Get("/");
    return CacheStatus(plain).ttl() <= 58;
  }));
  for (const Fields& wish :
       {Fields{{"If-None-Match", "\"1\""}}, Fields{{"Range", "bytes=0-1"}},
        Fields{{"Cache-Control", "max-age=60"}}, Fields{{"Cache-Control", "only-if-cached"}}}) {
    const Response response = Get("/", wish);
    EXPECT_TRUE(CacheStatus(response).hit()) << Describe(response);
    EXPECT_LE(CacheStatus(response).ttl(), CacheStatus(plain).ttl()) << wish.ToWire();
    EXPECT_GE(Age(response), Age(plain)) << wish.ToWire();
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
}

}  // namespace
}  // namespace satchel::testing
