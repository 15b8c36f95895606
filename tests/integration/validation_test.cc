// Conditional requests and ranges, towards the client and towards the origin.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ValidationTest = ProxyTest;

constexpr char kBody[] = "0123456789";

class StoredAnswerTest : public ProxyTest {
 protected:
  void SetUp() override {
    modified_ = HttpDate(-3600);
    origin.On("/", Fresh(kBody, 60,
                         {{"ETag", "\"v1\""},
                          {"Last-Modified", modified_},
                          {"Date", HttpDate()},
                          {"Vary", "X-V"},
                          {"Content-Location", "/other"},
                          {"Content-Type", "text/x"},
                          {"X-A", "1"}}));
    Start();
    ASSERT_EQ(Get("/").body, kBody);
  }
  // Nothing in these tests may reach the origin again.
  void TearDown() override { EXPECT_EQ(origin.RequestCount(), 1u); }
  std::string modified_;
};

TEST_F(StoredAnswerTest, AMatchingEntityTagGetsA304WithItsFields) {
  for (const char* tags : {"\"v1\"", "W/\"v1\"", "\"a\", \"v1\" , \"b\"", "*"}) {
    Response response = Get("/", {{"If-None-Match", tags}});
    ASSERT_EQ(response.status, 304) << tags << Describe(response);
    EXPECT_EQ(response.body, "");
    EXPECT_FALSE(response.fields.Has("Content-Length"));
    EXPECT_EQ(response.Get("ETag"), "\"v1\"");
    for (const char* name : {"Date", "Cache-Control", "Vary", "Content-Location"}) {
      EXPECT_TRUE(response.fields.Has(name)) << name;  // RFC 9110 15.4.5
    }
    EXPECT_TRUE(CacheStatus(response).hit());
  }
}

TEST_F(StoredAnswerTest, AnotherEntityTagGetsTheWhole) {
  for (const char* tags : {"\"v2\"", "\"V1\"", "v1", "\"v\", \"1\""}) {
    EXPECT_EQ(Get("/", {{"If-None-Match", tags}}).body, kBody) << tags;
  }
  // If-None-Match decides alone (RFC 9110 13.2.2).
  EXPECT_EQ(Get("/", {{"If-None-Match", "\"v2\""}, {"If-Modified-Since", modified_}}).status, 200);
}

TEST_F(StoredAnswerTest, IfModifiedSinceIsComparedWithLastModified) {
  EXPECT_EQ(Get("/", {{"If-Modified-Since", modified_}}).status, 304);
  EXPECT_EQ(Get("/", {{"If-Modified-Since", HttpDate(-60)}}).status, 304);
  EXPECT_EQ(Get("/", {{"If-Modified-Since", HttpDate(-7200)}}).status, 200);
  EXPECT_EQ(Get("/", {{"If-Modified-Since", "yesterday"}}).status, 200);
}

TEST_F(StoredAnswerTest, AHeadIsConditionalToo) {
  EXPECT_EQ(Send("HEAD", "/", {{"If-None-Match", "\"v1\""}}).status, 304);
}

TEST_F(StoredAnswerTest, OneRangeIsAnsweredWith206) {
  struct Case {
    const char* range;
    const char* body;
    const char* content_range;
  };
  for (const Case& one :
       {Case{"bytes=0-3", "0123", "bytes 0-3/10"}, Case{"bytes=4-", "456789", "bytes 4-9/10"},
        Case{"bytes=-3", "789", "bytes 7-9/10"}, Case{"bytes=8-100", "89", "bytes 8-9/10"},
        Case{"bytes=-100", kBody, "bytes 0-9/10"}, Case{"bytes=0-0", "0", "bytes 0-0/10"}}) {
    Response response = Get("/", {{"Range", one.range}});
    ASSERT_EQ(response.status, 206) << one.range << Describe(response);
    EXPECT_EQ(response.body, one.body) << one.range;
    EXPECT_EQ(response.Get("Content-Range"), one.content_range);
    EXPECT_EQ(response.Get("Content-Length"), std::to_string(std::string(one.body).size()));
    EXPECT_EQ(response.Get("ETag"), "\"v1\"");
    EXPECT_EQ(response.Get("X-A"), "1");
    EXPECT_TRUE(response.fields.Has("Age"));
  }
}

TEST_F(StoredAnswerTest, AnUnsatisfiableRangeIs416WithTheLength) {
  for (const char* range : {"bytes=10-", "bytes=100-200", "bytes=-0"}) {
    Response response = Get("/", {{"Range", range}});
    EXPECT_EQ(response.status, 416) << range << Describe(response);
    EXPECT_EQ(response.Get("Content-Range"), "bytes */10") << range;
  }
}

TEST_F(StoredAnswerTest, OtherUnitsAndBrokenRangesGetTheWhole) {
  for (const char* range :
       {"lines=0-3", "bytes", "bytes=", "bytes=5-3", "bytes=a-b", "bytes 0-3"}) {
    Response response = Get("/", {{"Range", range}});
    EXPECT_EQ(response.status, 200) << range << Describe(response);
    EXPECT_EQ(response.body, kBody) << range;
  }
}

TEST_F(StoredAnswerTest, SeveralRangesAreNeverAnsweredWithAWrongPart) {
  Response response = Get("/", {{"Range", "bytes=0-1,4-5"}});
  if (response.status == 206) {
    EXPECT_TRUE(response.Get("Content-Type").starts_with("multipart/byteranges"));
    EXPECT_NE(response.body.find("01"), std::string::npos);
    EXPECT_NE(response.body.find("45"), std::string::npos);
  } else {
    EXPECT_EQ(response.status, 200) << Describe(response);
    EXPECT_EQ(response.body, kBody);
  }
}

TEST_F(StoredAnswerTest, AFloodOfRangesIsNotAnsweredWithMoreThanTheWhole) {
  std::string ranges = "bytes=0-9";
  for (int i = 0; i < 500; ++i) ranges += ",0-9";
  Response response = Get("/", {{"Range", ranges}});
  EXPECT_TRUE(response.status == 200 || response.status == 206) << Describe(response);
  EXPECT_LT(response.body_size, 2000u);
}

TEST_F(StoredAnswerTest, IfRangeMustMatchOrTheWholeComes) {
  EXPECT_EQ(Get("/", {{"Range", "bytes=0-3"}, {"If-Range", "\"v1\""}}).body, "0123");
  EXPECT_EQ(Get("/", {{"Range", "bytes=0-3"}, {"If-Range", modified_}}).status, 206);
  for (const char* other : {"\"v2\"", "W/\"v1\"", "Sun, 06 Nov 1994 08:49:37 GMT"}) {
    EXPECT_EQ(Get("/", {{"Range", "bytes=0-3"}, {"If-Range", other}}).body, kBody) << other;
  }
}

TEST_F(StoredAnswerTest, ConditionsComeBeforeRanges) {
  EXPECT_EQ(Get("/", {{"Range", "bytes=0-3"}, {"If-None-Match", "\"v1\""}}).status, 304);
}

TEST_F(StoredAnswerTest, AHeadIgnoresRange) {
  Response response = Send("HEAD", "/", {{"Range", "bytes=0-3"}});  // RFC 9110 14.2: GET only
  EXPECT_EQ(response.status, 200) << Describe(response);
  EXPECT_EQ(response.Get("Content-Length"), "10");
}

TEST_F(ValidationTest, AStaleAnswerIsValidatedWithItsValidatorsByteForByte) {
  std::string modified = HttpDate(-3600);
  for (const char* tag : {"\"strong\"", "W/\"weak\"", "unquoted"}) {
    std::string target = std::string("/") + std::to_string(tag[0]);
    origin.Next(target, StaleSince(5, "old", "", {{"ETag", tag}, {"Last-Modified", modified}}));
    origin.On(target, {.status = 304,
                       .fields = {{"Cache-Control", "max-age=60"}, {"X-New", "1"}, {"ETag", tag}}});
    if (!satchel) Start();
    Get(target, {{"X-First", "1"}});
    Response response = Get(target, {{"X-Client", "kept"}});
    EXPECT_EQ(response.status, 200) << Describe(response);
    EXPECT_EQ(response.body, "old");
    EXPECT_EQ(response.Get("X-New"), "1") << "the 304's fields replace the stored (4.3.4)";
    OriginRequest request = origin.Last(target);
    EXPECT_EQ(request.fields.Joined("If-None-Match"), tag);
    EXPECT_EQ(request.fields.Joined("If-Modified-Since"), modified);
    EXPECT_EQ(request.fields.Get("X-Client"), "kept");
    EXPECT_FALSE(request.fields.Has("X-First"));
    // Fresh again by the 304's own lifetime, its Age counted from there.
    Response hit = Get(target);
    EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
    EXPECT_LT(Age(hit), 10);
    EXPECT_EQ(hit.Get("X-New"), "1");
    EXPECT_EQ(origin.RequestCount(target), 2u);
  }
}

TEST_F(ValidationTest, NoCacheIsValidatedOnEveryUse) {
  origin.Next("/", {.fields = {{"Cache-Control", "no-cache"}, {"ETag", "\"1\""}}, .body = "x"});
  origin.On("/", {.status = 304, .fields = {{"ETag", "\"1\""}}});
  Start();
  for (int i = 0; i < 4; ++i) {
    Response response = Get("/");
    EXPECT_EQ(response.status, 200) << i << Describe(response);
    EXPECT_EQ(response.body, "x");
  }
  EXPECT_EQ(origin.RequestCount(), 4u);
}

TEST_F(ValidationTest, TheClientsOwnConditionIsAnsweredAfterValidation) {
  origin.Next("/", StaleSince(5, "x", "", {{"ETag", "\"1\""}}));
  origin.On("/", {.status = 304, .fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=0"}}});
  Start();
  Get("/");
  EXPECT_EQ(Get("/", {{"If-None-Match", "\"1\""}}).status, 304);
  EXPECT_EQ(Get("/", {{"If-None-Match", "\"2\""}}).body, "x");
  for (const OriginRequest& request : origin.requests()) {
    if (request.fields.Has("If-None-Match")) {
      EXPECT_NE(request.fields.Joined("If-None-Match").find("\"1\""), std::string::npos);
    }
  }
}

TEST_F(ValidationTest, H3_AFullAnswerToAValidationReplacesTheStoredOne) {
  origin.Next("/", StaleSince(5, "old", "", {{"ETag", "\"1\""}}));
  origin.On("/", Fresh("new", 60, {{"ETag", "\"2\""}}));
  Start();
  EXPECT_EQ(Get("/").body, "old");
  EXPECT_EQ(Get("/").body, "new");
  EXPECT_EQ(Get("/").body, "new");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(ValidationTest, OnAMissTheClientsConditionsGoThrough) {
  origin.Next("/", {.status = 304, .fields = {{"ETag", "\"c\""}}});
  Start();
  EXPECT_EQ(Get("/", {{"If-None-Match", "\"c\""}}).status, 304);
  EXPECT_EQ(origin.Last("/").fields.Get("If-None-Match"), "\"c\"");
}

TEST_F(ValidationTest, ARangeOnAMissNeverLeavesAPartBehindAsTheWhole) {
  origin.On("/", [](OriginExchange& exchange) {
    std::string range = exchange.request().fields.Get("Range");
    if (range == "bytes=0-3" || range == "bytes=4-") {
      bool first = range == "bytes=0-3";
      exchange.Respond({.status = 206,
                        .fields = {{"Content-Range", first ? "bytes 0-3/10" : "bytes 4-9/10"},
                                   {"Cache-Control", "max-age=60"},
                                   {"ETag", "\"1\""}},
                        .body = first ? "0123" : "456789"});
    } else {
      exchange.Respond(Fresh(kBody, 60, {{"ETag", "\"1\""}}));
    }
  });
  Start();
  Response part = Get("/", {{"Range", "bytes=0-3"}});
  EXPECT_EQ(part.status, 206) << Describe(part);
  EXPECT_EQ(part.body, "0123");
  EXPECT_EQ(Get("/").body, kBody);
  EXPECT_EQ(Get("/", {{"Range", "bytes=5-6"}}).body, "56");
}

TEST_F(ValidationTest, IfMatchAndIfUnmodifiedSinceAreTheOriginsToJudge) {
  origin.Next("/", Fresh("x", 60, {{"ETag", "\"1\""}}));
  origin.On("/", {.status = 412, .body = "no"});
  Start();
  Get("/");
  EXPECT_EQ(Get("/", {{"If-Match", "\"2\""}}).status, 412);
  EXPECT_EQ(origin.Last("/").fields.Get("If-Match"), "\"2\"");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());  // and the 412 replaced nothing
}

TEST_F(ValidationTest, AForwardedHeadThatDisagreesInvalidatesTheStoredGet) {
  origin.On("/", [](OriginExchange& exchange) {
    bool head = exchange.request().method == "HEAD";
    exchange.Respond(
        Fresh(head ? "twelve bytes" : "ten bytes!", 60, {{"ETag", head ? "\"2\"" : "\"1\""}}));
  });
  Start();
  Get("/");
  Send("HEAD", "/", {{"Cache-Control", "no-cache"}});
  EXPECT_FALSE(CacheStatus(Get("/")).hit());  // RFC 9111 4.3.5
}

// It does not stand in the old one's place, which would go on answering for the others.
TEST_F(ValidationTest, H3_AFullAnswerThatIsSelectedByOtherFieldsEndsTheOldOne) {
  for (const char* directives : {"", "stale-while-revalidate=600"}) {
    const std::string target = std::string("/") + directives;
    origin.Next(target, StaleSince(5, "for all", directives, {{"ETag", "\"1\""}}));
    origin.On(target, [](OriginExchange& exchange) {
      exchange.Respond(Fresh("for " + exchange.request().fields.Get("X-V"), 60, {{"Vary", "X-V"}}));
    });
    if (!satchel) Start();
    Get(target);
    Get(target, {{"X-V", "a"}});
    EXPECT_TRUE(Eventually([&] { return Get(target, {{"X-V", "a"}}).body == "for a"; }));
    const Response other = Get(target, {{"X-V", "b"}});
    EXPECT_EQ(other.body, "for b") << directives;
    EXPECT_EQ(CacheStatus(other).fwd(), "vary-miss") << Describe(other);
    EXPECT_FALSE(origin.Last(target).fields.Has("If-None-Match"));
  }
}

// The error is its request's alone, whatever lifetime it says it has.
TEST_F(ValidationTest, H3_AnErrorWithALifetimeTakesNothingsPlace) {
  origin.Next("/", StaleSince(5, "old", "", {{"ETag", "\"1\""}}));
  origin.Next("/", {.status = 503, .fields = {{"Cache-Control", "max-age=60"}}, .body = "busy"});
  origin.On("/", {.status = 304, .fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}}});
  Start();
  Get("/");
  EXPECT_EQ(Get("/").body, "busy");
  EXPECT_EQ(Get("/").body, "old");
  EXPECT_EQ(origin.Last("/").fields.Get("If-None-Match"), "\"1\"");
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(ValidationTest, H3_AnErrorMayTakeTheOlderErrorsPlace) {
  const auto error = [](const std::string& body, const char* age) {
    return Reply{.status = 503,
                 .fields = {{"Cache-Control", "max-age=60"}, {"ETag", "\"1\""}, {"Age", age}},
                 .body = body};
  };
  origin.Next("/", error("first", "60"));
  origin.On("/", error("second", "0"));
  Start();
  EXPECT_EQ(Get("/").body, "first");
  EXPECT_EQ(Get("/").body, "second");
  const Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_EQ(hit.body, "second");
}

TEST_F(ValidationTest, H4_AHeadOfAnotherStatusEndsTheStoredGet) {
  for (const int status : {404, 410, 301, 204}) {
    const std::string target = "/" + std::to_string(status);
    origin.On(target, [status](OriginExchange& exchange) {
      if (exchange.request().method == "HEAD") {
        exchange.SendHead(status, {{"ETag", "\"1\""}});
      } else {
        exchange.Respond(Fresh("body", 60, {{"ETag", "\"1\""}}));
      }
    });
    if (!satchel) Start();
    Get(target);
    EXPECT_EQ(Send("HEAD", target, {{"Cache-Control", "no-cache"}}).status, status);
    EXPECT_FALSE(CacheStatus(Get(target)).hit()) << status;
  }
}

// It agrees, and says that nothing of this may be kept (RFC 9111 4.3.5, 3).
TEST_F(ValidationTest, H4_AHeadThatEndsStorabilityEndsTheStoredGet) {
  for (const std::string control : {"no-store", "private"}) {
    const std::string target = "/" + control;
    origin.On(target, [control](OriginExchange& exchange) {
      if (exchange.request().method == "HEAD") {
        exchange.SendHead(200,
                          {{"Content-Length", "4"}, {"ETag", "\"1\""}, {"Cache-Control", control}});
      } else {
        exchange.Respond(Fresh("body", 60, {{"ETag", "\"1\""}}));
      }
    });
    if (!satchel) Start();
    Get(target);
    // What the client does not want kept says nothing of what others asked for.
    Send("HEAD", target, {{"Cache-Control", "no-cache, no-store"}});
    EXPECT_TRUE(CacheStatus(Get(target)).hit()) << control;
    Send("HEAD", target, {{"Cache-Control", "no-cache"}});
    EXPECT_FALSE(CacheStatus(Get(target)).hit()) << control;
  }
}

}  // namespace
}  // namespace satchel::testing
