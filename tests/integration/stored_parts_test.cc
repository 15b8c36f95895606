// Parts of responses: stored, and served to those who ask for no more (RFC 9111 3.3).

#include "tests/support/range_fixture.h"

namespace satchel::testing {
namespace {

TEST_F(PartialTest, F6_AStoredPartServesTheRangesItContains) {
  ServeRanges();
  Start();
  EXPECT_EQ(GetRange("4-12").body, "456789abc");
  const Response inside = GetRange("5-7");
  EXPECT_EQ(inside.status, 206) << Describe(inside);
  EXPECT_EQ(inside.body, "567");
  EXPECT_EQ(inside.fields.All("Content-Range"), std::vector<std::string>{"bytes 5-7/20"});
  EXPECT_EQ(inside.fields.All("Content-Length"), std::vector<std::string>{"3"});
  EXPECT_TRUE(CacheStatus(inside).hit());
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(PartialTest, F6_AStoredPartNeverAnswersAFullRequestNorAnotherRange) {
  ServeRanges();
  Start();
  GetRange("4-12");
  const Response other = GetRange("2-6");
  EXPECT_EQ(other.body, "23456");
  EXPECT_EQ(CacheStatus(other).fwd(), "partial") << Describe(other);
  EXPECT_EQ(origin.RequestCount(), 2u);
  const Response whole = Get("/");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, kWhole);
  EXPECT_FALSE(CacheStatus(whole).hit());
}

TEST_F(PartialTest, F6_APartWhoseLengthIsNotThatOfItsRangeIsNotStored) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond({.status = 206,
                      .fields = {{"ETag", "\"v1\""},
                                 {"Cache-Control", "max-age=60"},
                                 {"Content-Range", "bytes 4-12/20"}},
                      .body = "456789"});
  });
  Start();
  GetRange("4-12");
  EXPECT_FALSE(CacheStatus(GetRange("4-5")).hit());
}

TEST_F(PartialTest, F6_AStoredPartDoesNotTakeThePlaceOfTheWhole) {
  ServeRanges();
  Start();
  EXPECT_EQ(Get("/").body, kWhole);
  // The client insists, so the origin is asked for the part alone.
  GetRange("4-12", {{"Cache-Control", "no-cache"}});
  const Response again = Get("/");
  EXPECT_TRUE(CacheStatus(again).hit()) << Describe(again);
  EXPECT_EQ(again.body, kWhole);
}

TEST_F(PartialTest, F6_AStalePartIsValidatedAndServesAgain) {
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().fields.Get("If-None-Match") == "\"v1\"") {
      exchange.Respond(
          {.status = 304, .fields = {{"ETag", "\"v1\""}, {"Cache-Control", "max-age=60"}}});
      return;
    }
    AnswerRanges(exchange, "\"v1\"", "max-age=0");
  });
  Start();
  EXPECT_EQ(GetRange("4-12").body, "456789abc");
  const Response again = GetRange("5-7");
  EXPECT_EQ(again.status, 206) << Describe(again);
  EXPECT_EQ(again.body, "567");
  EXPECT_EQ(CacheStatus(again).Get("fwd-status"), "304");
  EXPECT_FALSE(origin.Last("/").fields.Has("Range"));
  EXPECT_TRUE(CacheStatus(GetRange("4-4")).hit());
}

TEST_F(PartialTest, F6_APartThatHoldsEverythingIsTheWhole) {
  ServeRanges();
  Start();
  const Response all = GetRange("0-");
  EXPECT_EQ(all.status, 206) << Describe(all);
  EXPECT_EQ(all.body, kWhole);
  const Response whole = Get("/");
  EXPECT_TRUE(CacheStatus(whole).hit()) << Describe(whole);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.reason, "OK");
  EXPECT_EQ(whole.body, kWhole);
  EXPECT_FALSE(whole.fields.Has("Content-Range"));
  EXPECT_EQ(GetRange("3-5").Get("Content-Range"), "bytes 3-5/20");
  EXPECT_EQ(Send("HEAD", "/").Get("Content-Length"), "20");
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(PartialTest, F6_APartIsSelectedByVaryAsAnyResponse) {
  origin.On("/", [](OriginExchange& exchange) {
    const std::string lang = exchange.request().fields.Get("X-Lang");
    exchange.Respond({.status = 206,
                      .fields = {{"ETag", "\"" + lang + "\""},
                                 {"Vary", "X-Lang"},
                                 {"Cache-Control", "max-age=60"},
                                 {"Content-Range", "bytes 0-1/20"}},
                      .body = lang});
  });
  Start();
  EXPECT_EQ(GetRange("0-1", {{"X-Lang", "de"}}).body, "de");
  EXPECT_EQ(GetRange("0-1", {{"X-Lang", "en"}}).body, "en");
  for (const char* lang : {"de", "en"}) {
    const Response hit = GetRange("1-1", {{"X-Lang", lang}});
    EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
    EXPECT_EQ(hit.body, std::string(1, lang[1]));
  }
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(PartialTest, F6_IfRangeDecidesWhetherAPartMayAnswer) {
  ServeRanges();
  Start();
  GetRange("4-12");
  EXPECT_TRUE(CacheStatus(GetRange("5-7", {{"If-Range", "\"v1\""}})).hit());
  const Response other = GetRange("5-7", {{"If-Range", "\"v0\""}});
  EXPECT_EQ(other.status, 200) << Describe(other);
  EXPECT_EQ(other.body, kWhole);
  EXPECT_EQ(origin.Last("/").fields.Get("If-Range"), "\"v0\"");
}

TEST_F(PartialTest, F6_AHeadIsNotAnsweredFromAPartButMayEndIt) {
  std::atomic<int> version = 1;
  origin.On("/", [&](OriginExchange& exchange) {
    AnswerRanges(exchange, version == 1 ? "\"v1\"" : "\"v2\"");
  });
  Start();
  GetRange("4-12");
  const Response same = Send("HEAD", "/");
  EXPECT_EQ(same.status, 200) << Describe(same);
  EXPECT_EQ(same.Get("Content-Length"), "20");
  EXPECT_TRUE(CacheStatus(GetRange("4-5")).hit());
  version = 2;
  Send("HEAD", "/");
  EXPECT_FALSE(CacheStatus(GetRange("4-5")).hit());  // RFC 9111 4.3.5
}

TEST_F(PartialTest, H4_AHeadThatEndsStorabilityEndsAStoredPartToo) {
  origin.On("/", [](OriginExchange& exchange) {
    const bool head = exchange.request().method == "HEAD";
    AnswerRanges(exchange, "\"v1\"", head ? "no-store" : "max-age=60");
  });
  Start();
  GetRange("4-12");
  EXPECT_EQ(Send("HEAD", "/").Get("Content-Length"), "20");
  EXPECT_FALSE(CacheStatus(GetRange("4-5")).hit());
}

TEST_F(PartialTest, AnUnsatisfiableRangeSaysNothingThatOthersCouldKeep) {
  origin.On("/", Fresh(kWhole, 60, {{"Content-Type", "text/x"}, {"ETag", "\"v1\""}}));
  Start();
  Get("/");
  const Response response = GetRange("50-60");
  EXPECT_EQ(response.status, 416) << Describe(response);
  EXPECT_EQ(response.Get("Content-Range"), "bytes */20");
  EXPECT_FALSE(response.fields.Has("Cache-Control"));
  EXPECT_FALSE(response.fields.Has("Content-Type"));
}

TEST_F(PartialTest, F6_WithRangePassPartsAreNotStored) {
  ServeRanges();
  SatchelConfig config = Config();
  config.cache = "range: pass";
  Start(config);
  GetRange("4-12");
  EXPECT_FALSE(CacheStatus(GetRange("4-12")).hit());
  EXPECT_EQ(origin.RequestCount(), 2u);
}

}  // namespace
}  // namespace satchel::testing
