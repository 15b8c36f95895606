// Parts of responses: stored, served, completed, and asked for several at once (RFC 9110 14,
// RFC 9111 3.3, 3.4).

#include <thread>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kWhole = "0123456789abcdefghij";  // 20 bytes

// An origin that answers one range, "a-b", "a-" or "-n", of kWhole under the given entity tag.
void AnswerRanges(OriginExchange& exchange, const std::string& etag,
                  const std::string& control = "max-age=60") {
  const std::string whole = kWhole;
  const Fields& fields = exchange.request().fields;
  const std::optional<OneRange> range = ParseOneRange(fields.Get("Range"), whole.size());
  if (!range || (fields.Has("If-Range") && fields.Get("If-Range") != etag)) {
    exchange.Respond(
        {.fields = {{"ETag", etag}, {"Cache-Control", control}, {"X-From", "whole"}}, .body = whole});
    return;
  }
  const auto [first, last] = *range;
  exchange.Respond({.status = 206,
                    .fields = {{"ETag", etag},
                               {"Cache-Control", control},
                               {"Content-Range", "bytes " + std::to_string(first) + "-" +
                                                     std::to_string(last) + "/20"},
                               {"X-From", "part"}},
                    .body = whole.substr(first, last - first + 1)});
}

class PartialTest : public ProxyTest {
 protected:
  void ServeRanges(const std::string& etag = "\"v1\"") {
    origin.On("/", [etag](OriginExchange& exchange) { AnswerRanges(exchange, etag); });
  }
  Response GetRange(const std::string& range, Fields more = {}) {
    more.Add("Range", "bytes=" + range);
    return Get("/", more);
  }
};

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
      exchange.Respond({.status = 304,
                        .fields = {{"ETag", "\"v1\""}, {"Cache-Control", "max-age=60"}}});
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

TEST_F(PartialTest, F6_WhoWantsMoreThanAPartIsNotServedByItsValidation) {
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().fields.Get("If-None-Match") == "\"v1\"") {
      exchange.Hold("validation");
      exchange.Respond(
          {.status = 304, .fields = {{"ETag", "\"v1\""}, {"Cache-Control", "max-age=60"}}});
      return;
    }
    AnswerRanges(exchange, "\"v1\"", "max-age=0");
  });
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  GetRange("4-12");
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/", {{"Range", "bytes=5-7"}}));
  ASSERT_TRUE(origin.WaitUntilHeld("validation"));
  std::vector<RawClient> others;
  for (const Fields& fields : {Fields{}, Fields{{"Range", "bytes=2-8"}}}) {
    others.push_back(satchel->Connect());
    others.back().Send(Request("GET", "/", fields));
  }
  Send("POST", "/fence");  // they have been read, and wait
  origin.Release("validation");
  EXPECT_EQ(leader.Read().body, "567");
  const Response whole = others[0].Read();
  EXPECT_EQ(whole.status, 200) << Describe(whole);
  EXPECT_EQ(whole.body, kWhole);
  const Response range = others[1].Read();
  EXPECT_EQ(range.status, 206) << Describe(range);
  EXPECT_EQ(range.body, "2345678");
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

TEST_F(PartialTest, J7_APrefixUnderAWeakTagIsNotCompleted) {
  ServeRanges("W/\"v1\"");
  Start();
  GetRange("0-7");
  EXPECT_EQ(Get("/").body, kWhole);
  EXPECT_FALSE(origin.Last("/").fields.Has("Range"));
}

TEST_F(PartialTest, ACrowdOnOneRangeIsOneFetchAndOtherRangesGoTheirOwnWay) {
  constexpr size_t kClients = 200;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("crowd");
    AnswerRanges(exchange, "\"v1\"");
  });
  SatchelConfig config = Config();
  config.workers = "4";
  Start(config);
  const std::string whole = kWhole;
  std::atomic<size_t> asked = 0;
  std::atomic<size_t> right = 0;
  std::thread director([&] {
    EXPECT_TRUE(Eventually([&] { return asked == kClients; }));
    EXPECT_TRUE(origin.WaitUntilHeld("crowd"));
    origin.Release("crowd");
  });
  RunTogether(kClients, [&](size_t i) {
    const std::string ranges[] = {"4-12", "6-9", ""};
    const std::string& range = ranges[i % 3];
    RawClient client = satchel->Connect();
    client.Send(Request("GET", "/", range.empty() ? Fields{} : Fields{{"Range", "bytes=" + range}}));
    ++asked;
    const Response response = client.Read("GET", std::chrono::seconds(30));
    const std::string expected =
        range.empty() ? whole : range == "4-12" ? whole.substr(4, 9) : whole.substr(6, 4);
    if (response.complete && response.body == expected &&
        response.status == (range.empty() ? 200 : 206)) {
      ++right;
    } else {
      ADD_FAILURE() << Describe(response);
    }
  });
  director.join();
  EXPECT_EQ(right, kClients);
  EXPECT_LT(origin.RequestCount(), kClients / 4);
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
}

TEST_F(PartialTest, ARangeThatInheritsAFetchOfTheWholeGoesOnWithTheWhole) {
  origin.Next("/", [](OriginExchange& exchange) {
    exchange.Hold("first");
    exchange.Reset();
  });
  origin.On("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v1\""); });
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("first"));
  RawClient range = satchel->Connect();
  range.Send(Request("GET", "/", {{"Range", "bytes=4-12"}}));
  Send("POST", "/fence");  // the worker has read the range by now
  RawClient whole = satchel->Connect();
  whole.Send(Request("GET", "/"));
  Send("POST", "/fence");
  origin.Release("first");
  EXPECT_EQ(leader.Read().status, 502);
  const Response part = range.Read();
  EXPECT_EQ(part.status, 206) << Describe(part);
  EXPECT_EQ(part.body, "456789abc");
  EXPECT_EQ(whole.Read().body, kWhole);
  EXPECT_EQ(origin.RequestCount("/"), 2u);
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
    exchange.Respond({.status = first > 0 ? 206 : 200, .fields = fields, .body = body.substr(first)});
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
      {"/private", "Content-Length: 1000000\r\nETag: \"v1\"\r\nCache-Control: private\r\n", 600'000},
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

TEST_F(PartialTest, J7_ACrowdOnACompletionSharesIt) {
  origin.Next("/", [](OriginExchange& exchange) { AnswerRanges(exchange, "\"v1\""); });
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("rest");
    AnswerRanges(exchange, "\"v1\"");
  });
  Start();
  GetRange("0-7");
  std::vector<RawClient> crowd;
  for (int i = 0; i < 50; ++i) {
    crowd.push_back(satchel->Connect());
    crowd.back().Send(Request("GET", "/"));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("rest"));
  origin.Release("rest");
  for (RawClient& client : crowd) EXPECT_EQ(client.Read("GET").body, kWhole);
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(PartialTest, J6_SeveralRangesComeAsMultipartWithTheirOwnFields) {
  const std::string body = Pattern(0, 100'000);
  origin.On("/", Fresh(body, 60, {{"Content-Type", "text/x-test"}, {"ETag", "\"v1\""}}));
  Start();
  Get("/");
  const Response response = GetRange("0-9,50000-69999,-5");
  ASSERT_EQ(response.status, 206) << Describe(response);
  const std::string type = response.Get("Content-Type");
  ASSERT_TRUE(type.starts_with("multipart/byteranges; boundary=")) << type;
  const std::string boundary = type.substr(type.find('=') + 1);
  std::string expected;
  for (const auto& [first, last] :
       {std::pair<size_t, size_t>{0, 9}, {50000, 69999}, {99995, 99999}}) {
    expected += "\r\n--" + boundary + "\r\nContent-Type: text/x-test\r\nContent-Range: bytes " +
                std::to_string(first) + "-" + std::to_string(last) + "/100000\r\n\r\n" +
                body.substr(first, last - first + 1);
  }
  expected += "\r\n--" + boundary + "--\r\n";
  EXPECT_EQ(response.Get("Content-Length"), std::to_string(expected.size()));
  EXPECT_TRUE(response.body == expected);
  EXPECT_FALSE(response.fields.Has("Content-Range"));
  EXPECT_EQ(response.fields.All("ETag"), std::vector<std::string>{"\"v1\""});
  EXPECT_NE(GetRange("0-9,50000-69999").Get("Content-Type"), type);  // another boundary
}

TEST_F(PartialTest, J6_RangesThatTouchBecomeOneAndTooManyTheWhole) {
  origin.On("/", Fresh(Pattern(0, 100'000), 60));
  Start();
  Get("/");
  EXPECT_EQ(GetRange("0-9,10-19").Get("Content-Range"), "bytes 0-19/100000");
  std::string many = "0-0";
  for (int i = 1; i < 17; ++i) many += "," + std::to_string(i * 10) + "-" + std::to_string(i * 10);
  EXPECT_EQ(GetRange(many).status, 200);
}

TEST_F(PartialTest, J6_PartsThatWouldBeLongerThanTheWholeAreAnsweredWithIt) {
  origin.On("/", Fresh("0123456789"));
  Start();
  Get("/");
  const Response response = GetRange("0-1,4-5");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "0123456789");
}

TEST_F(PartialTest, J6_ASlowReaderOfManyLargePartsGetsEveryByte) {
  const std::string body = Pattern(0, 3'000'000);
  origin.On("/", Fresh(body));
  Start();
  Get("/");
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/", {{"Range", "bytes=0-999999,1500000-2499999,2600000-"}}));
  Response response = client.ReadHead();
  // Only now does it read on: the proxy has long filled the socket and waits.
  ASSERT_TRUE(client.ReadBody(&response));
  EXPECT_EQ(response.body_size, std::stoul(response.Get("Content-Length")));
  EXPECT_THAT(response.body, HasSubstr(body.substr(1'500'000, 64)));
}

TEST_F(PartialTest, ARangeReadsAlongWithAFetchOfTheWhole) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(
        200, {{"Content-Length", "20"}, {"Cache-Control", "max-age=60"}, {"ETag", "\"v1\""}});
    exchange.Send("0123456789");
    exchange.Hold("rest");
    exchange.Send("abcdefghij");
  });
  Start();
  RawClient whole = satchel->Connect();
  whole.Send(Request("GET", "/"));
  Response first = whole.ReadHead();
  ASSERT_TRUE(whole.ReadBodyUntil(&first, 10));
  const Response range = GetRange("2-4");
  EXPECT_EQ(range.status, 206) << Describe(range);
  EXPECT_EQ(range.body, "234");
  EXPECT_TRUE(CacheStatus(range).Has("collapsed"));
  const Response condition = Get("/", {{"If-None-Match", "\"v1\""}});
  EXPECT_EQ(condition.status, 304) << Describe(condition);
  EXPECT_EQ(origin.RequestCount(), 1u);
  origin.Release("rest");
  EXPECT_TRUE(whole.ReadBody(&first));
}

class PartialTierTest : public PartialTest {
 protected:
  SatchelConfig WithRedis() const {
    SatchelConfig config = Config();
    config.l2 = "redis: \"" + redis.url() + "\", deadline: 2s";
    return config;
  }
  static void WaitForConnections(const SatchelProcess& process) {
    EXPECT_TRUE(process.WaitForRedis());
  }
  bool WaitForRecords() {
    return Eventually([&] { return !redis.Records().empty(); });
  }
  RedisProcess redis;
};

TEST_F(PartialTierTest, ARangeAndAHeadAreAnsweredFromTheSharedTier) {
  ServeRanges();
  Start(WithRedis());
  WaitForConnections(*satchel);
  Get("/");
  ASSERT_TRUE(WaitForRecords());
  for (const char* method : {"GET", "HEAD"}) {
    SatchelProcess other(WithRedis());
    WaitForConnections(other);
    const Response response = other.Send(method, "/", {{"Range", "bytes=2-4"}});
    EXPECT_TRUE(CacheStatus(response).hit()) << Describe(response);
    EXPECT_THAT(CacheStatus(response).Get("detail"), HasSubstr("l2"));
    if (std::string(method) == "GET") EXPECT_EQ(response.body, "234");
    // And it is in memory now.
    EXPECT_THAT(CacheStatus(other.Get("/")).Get("detail"), HasSubstr("l1"));
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(PartialTierTest, F6_APartIsSharedWhereNothingElseIs) {
  ServeRanges();
  Start(WithRedis());
  WaitForConnections(*satchel);
  GetRange("4-12");
  ASSERT_TRUE(WaitForRecords());
  SatchelProcess other(WithRedis());
  WaitForConnections(other);
  const Response part = other.Get("/", {{"Range", "bytes=5-7"}});
  EXPECT_TRUE(CacheStatus(part).hit()) << Describe(part);
  EXPECT_EQ(part.body, "567");
  EXPECT_EQ(part.Get("Content-Range"), "bytes 5-7/20");
  EXPECT_EQ(other.Get("/").body, kWhole);
}

TEST_F(PartialTierTest, F6_APartInTheSharedTierNeverAnswersAFullRequest) {
  origin.On("/", [](OriginExchange& exchange) {
    // Its tag still holds, but a 304 to a full request would make a part of it.
    if (exchange.request().fields.Get("If-None-Match") == "\"v1\"") {
      exchange.Respond({.status = 304, .fields = {{"ETag", "\"v1\""}}});
      return;
    }
    AnswerRanges(exchange, "\"v1\"");
  });
  Start(WithRedis());
  WaitForConnections(*satchel);
  GetRange("4-12");
  ASSERT_TRUE(WaitForRecords());
  SatchelProcess other(WithRedis());
  WaitForConnections(other);
  const Response whole = other.Get("/");
  EXPECT_EQ(whole.status, 200) << Describe(whole);
  EXPECT_EQ(whole.body, kWhole);
}

TEST_F(PartialTierTest, J7_APrefixInTheSharedTierIsCompleted) {
  ServeRanges();
  Start(WithRedis());
  WaitForConnections(*satchel);
  GetRange("0-7");
  ASSERT_TRUE(WaitForRecords());
  SatchelProcess other(WithRedis());
  WaitForConnections(other);
  EXPECT_EQ(other.Get("/").body, kWhole);
  EXPECT_EQ(origin.Last("/").fields.Get("Range"), "bytes=8-");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

}  // namespace
}  // namespace satchel::testing
