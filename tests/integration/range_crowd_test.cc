// Ranges, wholes and completions that are asked for at the same time, and share what is fetched.

#include <atomic>
#include <thread>

#include "tests/support/range_fixture.h"

namespace satchel::testing {
namespace {

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

}  // namespace
}  // namespace satchel::testing
