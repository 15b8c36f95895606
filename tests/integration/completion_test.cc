// Stored parts that are completed, and parts that grow together (RFC 9111 3.4, RFC 9110 15.3.7.3).

#include "tests/support/range_fixture.h"

namespace satchel::testing {
namespace {

TEST_F(PartialTest, J7_APrefixIsCompletedRatherThanFetchedAgain) {
  ServeRanges();
  Start();
  EXPECT_EQ(GetRange("0-7").body, "01234567");
  const Response whole = Get("/");
  EXPECT_EQ(whole.status, 200) << Describe(whole);
  EXPECT_EQ(whole.body, kWhole);
  EXPECT_FALSE(whole.fields.Has("Content-Range"));
  EXPECT_EQ(whole.fields.All("Content-Length"), std::vector<std::string>{"20"});
  const OriginRequest asked = origin.Last("/");
  EXPECT_EQ(asked.fields.Get("Range"), "bytes=8-");
  EXPECT_EQ(asked.fields.Get("If-Range"), "\"v1\"");
  const Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  EXPECT_EQ(hit.body, kWhole);
  EXPECT_EQ(hit.status, 200);
  EXPECT_EQ(GetRange("15-").body, "fghij");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(PartialTest, J7_APrefixOfWhatHasChangedIsNeverMixedWithTheNew) {
  origin.Next("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v1\""); });
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(Fresh("ABCDEFGHIJKLMNOPQRST", 60, {{"ETag", "\"v2\""}}));
  });
  Start();
  EXPECT_EQ(GetRange("0-7").body, "01234567");
  EXPECT_EQ(Get("/").body, "ABCDEFGHIJKLMNOPQRST");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
}

TEST_F(PartialTest, J7_ARestUnderAnotherTagIsThrownAwayAndTheWholeFetched) {
  origin.Next("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v1\""); });
  // Heeds no If-Range, as broken origins do.
  origin.Next("/", {.status = 206,
                    .fields = {{"ETag", "\"v2\""},
                               {"Cache-Control", "max-age=60"},
                               {"Content-Range", "bytes 8-19/20"}},
                    .body = "XXXXXXXXXXXX"});
  origin.On("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v2\""); });
  Start();
  GetRange("0-7");
  const Response whole = Get("/");
  EXPECT_EQ(whole.body, kWhole) << Describe(whole);
  EXPECT_FALSE(origin.Last("/").fields.Has("Range"));
  EXPECT_EQ(origin.RequestCount(), 3u);
}

// What it says of the rest was never asked for by the client.
TEST_F(PartialTest, J7_AnOriginThatRefusesTheRestIsAskedForTheWhole) {
  for (const int status : {412, 416}) {
    const std::string target = "/" + std::to_string(status);
    origin.Next(target, [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v1\""); });
    origin.Next(target, {.status = status, .fields = {{"Content-Range", "bytes */4"}}});
    origin.On(target, Fresh("anew"));
    if (!satchel) Start();
    Get(target, {{"Range", "bytes=0-7"}});
    const Response whole = Get(target);
    EXPECT_EQ(whole.status, 200) << Describe(whole);
    EXPECT_EQ(whole.body, "anew");
    EXPECT_FALSE(origin.Last(target).fields.Has("Range"));
    EXPECT_EQ(origin.RequestCount(target), 3u);
  }
}

TEST_F(PartialTest, J7_APrefixUnderAWeakTagIsNotCompleted) {
  ServeRanges("W/\"v1\"");
  Start();
  GetRange("0-7");
  EXPECT_EQ(Get("/").body, kWhole);
  EXPECT_FALSE(origin.Last("/").fields.Has("Range"));
}

TEST_F(PartialTest, J7_PartsThatMeetGrowTogetherUntilTheyAreTheWhole) {
  ServeRanges();
  Start();
  GetRange("4-7");
  EXPECT_EQ(GetRange("8-11").body, "89ab");
  const Response across = GetRange("6-9");
  EXPECT_TRUE(CacheStatus(across).hit()) << Describe(across);
  EXPECT_EQ(across.body, "6789");
  EXPECT_EQ(across.Get("Content-Range"), "bytes 6-9/20");
  GetRange("0-5");
  EXPECT_EQ(GetRange("10-19").body, "abcdefghij");
  const Response whole = Get("/");
  EXPECT_TRUE(CacheStatus(whole).hit()) << Describe(whole);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, kWhole);
  EXPECT_EQ(whole.Get("Content-Length"), "20");
  EXPECT_FALSE(whole.fields.Has("Content-Range"));
  EXPECT_EQ(origin.RequestCount(), 4u);
}

TEST_F(PartialTest, J7_PartsUnderDifferentTagsNeverGrowTogether) {
  origin.Next("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v1\""); });
  origin.On("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v2\""); });
  Start();
  GetRange("0-7");
  GetRange("8-19");
  EXPECT_FALSE(CacheStatus(GetRange("6-9")).hit());
  EXPECT_FALSE(CacheStatus(Get("/")).hit());
}

// A long answer that is cut short, then whatever the test says.
constexpr size_t kLong = 1'000'000;

TEST_F(PartialTest, J7_TheBeginningOfACutAnswerIsKeptAndCompleted) {
  const std::string body = Pattern(0, kLong);
  origin.Next("/", [&](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", std::to_string(kLong)},
                            {"Cache-Control", "max-age=60"},
                            {"ETag", "\"v1\""}});
    exchange.Send(body.substr(0, 600'000));
    exchange.Hold("cut");
    exchange.Reset();
  });
  origin.On("/", [&](OriginExchange& exchange) {
    const std::string range = exchange.request().fields.Get("Range");
    const size_t first = range.empty() ? 0 : std::stoul(range.substr(6));
    Fields fields = {{"ETag", "\"v1\""}, {"Cache-Control", "max-age=60"}};
    if (first > 0) {
      fields.Add("Content-Range", "bytes " + std::to_string(first) + "-" +
                                      std::to_string(kLong - 1) + "/" + std::to_string(kLong));
    }
    exchange.Respond(
        {.status = first > 0 ? 206 : 200, .fields = fields, .body = body.substr(first)});
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  Response cut = client.ReadHead();
  ASSERT_TRUE(client.ReadBodyUntil(&cut, 600'000)) << Describe(cut);
  origin.Release("cut");
  client.ReadBody(&cut);
  EXPECT_FALSE(cut.complete);
  // Its bytes may answer ranges, but nothing else.
  const Response range = GetRange("1000-1999");
  EXPECT_TRUE(CacheStatus(range).hit()) << Describe(range);
  EXPECT_TRUE(range.body == body.substr(1000, 1000));
  const Response whole = Get("/");
  EXPECT_EQ(whole.status, 200) << Describe(whole);
  EXPECT_TRUE(whole.complete);
  EXPECT_TRUE(whole.body == body);
  EXPECT_EQ(origin.Last("/").fields.Get("Range"), "bytes=600000-");
  EXPECT_EQ(origin.Last("/").fields.Get("If-Range"), "\"v1\"");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(PartialTest, J7_WhatIsShortOrWeakOrMalformedIsNotKeptWhenItIsCut) {
  const std::string body = Pattern(0, 600'000);
  const struct {
    const char* target;
    std::string head;
    size_t sent;
  } cases[] = {
      {"/short", "Content-Length: 1000000\r\nETag: \"v1\"\r\n", 1000},
      {"/weak", "Content-Length: 1000000\r\nETag: W/\"v1\"\r\n", 600'000},
      {"/unnamed", "Content-Length: 1000000\r\n", 600'000},
      {"/until-close", "ETag: \"v1\"\r\n", 600'000},
      {"/private", "Content-Length: 1000000\r\nETag: \"v1\"\r\nCache-Control: private\r\n",
       600'000},
  };
  Start();
  for (const auto& one : cases) {
    origin.Next(one.target, [&](OriginExchange& exchange) {
      exchange.Send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n" + one.head + "\r\n" +
                    body.substr(0, one.sent));
      exchange.Hold(one.target);
      exchange.Reset();
    });
    origin.On(one.target, Fresh("good"));
    RawClient client = satchel->Connect();
    client.Send(Request("GET", one.target));
    Response cut = client.ReadHead();
    ASSERT_TRUE(client.ReadBodyUntil(&cut, one.sent)) << one.target << Describe(cut);
    origin.Release(one.target);
    client.ReadBody(&cut);
    EXPECT_FALSE(cut.complete) << one.target;
    EXPECT_EQ(Get(one.target).body, "good") << one.target;
    EXPECT_FALSE(origin.Last(one.target).fields.Has("Range")) << one.target;
  }
}

}  // namespace
}  // namespace satchel::testing
