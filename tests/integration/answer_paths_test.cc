// An answer may reach its client on many paths: a fresh hit, a stale one, after a refresh in the
// background, after a validation, behind another's fetch, as a range, to a HEAD, as a 304. What it
// says must be right on all of them, from memory and from the shared tier alike.

#include <string>
#include <vector>

#include "tests/support/shared_tier_fixture.h"

namespace satchel::testing {
namespace {

constexpr const char* kBody = "0123456789";
constexpr long kAge = 1'000'000'000;  // of every answer at least: its Date is of 1994

enum class Tier { kMemory, kShared };

class AnswerPathsTest : public SharedTierTest, public ::testing::WithParamInterface<Tier> {
 protected:
  // Fields of every kind around the directives of one path.
  static Fields Rich(const std::string& control) {
    return {{"Date", "Sun, 06 Nov 1994 08:49:37 GMT"},
            {"Cache-Control", control + ", private=\"X-Private\""},
            {"ETag", "\"1\""},
            {"Vary", "X-V"},
            {"X-Odd", "a,,b"},
            {"X-Odd", "c"},
            {"X-Private", "secret"},
            {"Connection", "X-Hop"},
            {"X-Hop", "1"},
            {"Keep-Alive", "timeout=5"},
            {"Proxy-Authenticate", "Basic"},
            {"Proxy-Authentication-Info", "a=b"}};
  }
  // Its Date is decades old: an age that forgets it, or begins anew somewhere, is far off.
  static constexpr const char* kFresh = "max-age=2000000000";

  Response Ask(const std::string& target, Fields more = {}, std::string_view method = "GET") {
    more.Add("X-V", "1");
    return asked().Send(method, target, more);
  }
  const SatchelProcess& asked() const { return GetParam() == Tier::kMemory ? *satchel : *other_; }
  void Keep(const std::string& target, const std::string& control) {
    origin.On(target, Reply{.fields = Rich(control), .body = kBody});
    Store(target, {{"X-V", "1"}});
  }
  // Everything that must hold whichever path the answer took.
  static void ExpectTrue(const Response& response, const char* path) {
    const std::string what = std::string(path) + ": " + Describe(response);
    for (const char* name :
         {"X-Hop", "Keep-Alive", "Proxy-Authenticate", "X-Private", "Proxy-Authentication-Info"}) {
      EXPECT_FALSE(response.fields.Has(name)) << name << " " << what;  // A2, C7
    }
    EXPECT_EQ(response.fields.All("Date"),
              std::vector<std::string>{"Sun, 06 Nov 1994 08:49:37 GMT"})
        << what;  // A6
    EXPECT_EQ(response.fields.All("ETag"), std::vector<std::string>{"\"1\""}) << what;
    EXPECT_EQ(response.fields.All("Vary"), std::vector<std::string>{"X-V"}) << what;
    EXPECT_EQ(response.fields.Count("Cache-Control"), 1u) << what;
    if (response.status != 304) {
      EXPECT_EQ(response.fields.All("X-Odd"), (std::vector<std::string>{"a,,b", "c"})) << what;
    } else {
      EXPECT_FALSE(response.fields.Has("Content-Length")) << what;  // F2
    }
    EXPECT_TRUE(response.interim.empty()) << what;         // A4
    EXPECT_TRUE(CacheStatus(response).present()) << what;  // A7
    EXPECT_FALSE(CacheStatus(response).Get("detail").empty()) << what;
    // F1, D2: there, once, and no smaller than its Date says.
    EXPECT_GT(Age(response), kAge) << what;
  }
};

INSTANTIATE_TEST_SUITE_P(Tiers, AnswerPathsTest, ::testing::Values(Tier::kMemory, Tier::kShared),
                         [](const auto& tier) {
                           return tier.param == Tier::kMemory ? "Memory" : "Shared";
                         });

TEST_P(AnswerPathsTest, F1_AFreshHit) {
  Keep("/", kFresh);
  for (int i = 0; i < 2; ++i) {  // the second from memory, wherever the first came from
    const Response hit = Ask("/");
    EXPECT_TRUE(Hit(hit));
    EXPECT_EQ(hit.body, kBody);
    ExpectTrue(hit, "fresh");
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_P(AnswerPathsTest, F2_A304) {
  for (const Fields& condition : {Fields{{"If-None-Match", "W/\"1\""}},
                                  Fields{{"If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"}}}) {
    const std::string target = "/" + condition.list()[0].name;
    Keep(target, kFresh);
    const Response not_modified = Ask(target, condition);
    EXPECT_EQ(not_modified.status, 304);
    ExpectTrue(not_modified, "304");
    EXPECT_EQ(origin.RequestCount(target), 1u);
  }
}

TEST_P(AnswerPathsTest, F3_ARange) {
  Keep("/", kFresh);
  const Response range = Ask("/", {{"Range", "bytes=2-4"}, {"If-Range", "\"1\""}});
  EXPECT_EQ(range.status, 206);
  EXPECT_EQ(range.body, "234");
  EXPECT_EQ(range.Get("Content-Range"), "bytes 2-4/10");
  ExpectTrue(range, "range");
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_P(AnswerPathsTest, F4_AHead) {
  Keep("/", kFresh);
  const Response head = Ask("/", {}, "HEAD");
  EXPECT_TRUE(Hit(head));
  EXPECT_EQ(head.Get("Content-Length"), "10");
  ExpectTrue(head, "HEAD");
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_P(AnswerPathsTest, G2_AStaleHitAndTheAnswerAfterItsRefresh) {
  Keep("/", "max-age=10, stale-while-revalidate=2000000000");
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("refresh");
    Fields fields = Rich(kFresh);
    fields.Add("X-New", "1");
    exchange.Respond({.status = 304, .fields = fields});
  });
  const Response stale = Ask("/");
  EXPECT_TRUE(Hit(stale));
  EXPECT_EQ(stale.body, kBody);
  ExpectTrue(stale, "stale");
  ASSERT_TRUE(origin.WaitUntilHeld("refresh"));
  ExpectTrue(Ask("/"), "stale while it is refreshed");
  origin.Release("refresh");
  Response refreshed;
  EXPECT_TRUE(Eventually([&] {
    refreshed = Ask("/");
    return refreshed.fields.Has("X-New");
  }));
  EXPECT_EQ(refreshed.body, kBody);
  ExpectTrue(refreshed, "refreshed");
  EXPECT_GT(CacheStatus(refreshed).ttl(), 0);
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_P(AnswerPathsTest, G3_AStaleAnswerInPlaceOfAnError) {
  int number = 0;
  for (const bool lost : {false, true}) {
    for (const std::string kind : {"GET", "HEAD", "no-store", "range", "condition"}) {
      const std::string target = "/" + std::to_string(++number);
      Keep(target, "max-age=10, stale-if-error=2000000000");
      origin.On(target, [lost](OriginExchange& exchange) {
        if (lost) {
          exchange.Reset();
        } else if (exchange.request().method == "HEAD") {
          exchange.SendHead(503, {{"Content-Length", "4"}});
        } else {
          exchange.Respond({.status = 503, .fields = {{"X-Odd", "error"}}, .body = "down"});
        }
      });
      Fields more;
      if (kind == "no-store") more.Add("Cache-Control", "no-store");
      if (kind == "range") more.Add("Range", "bytes=2-4");
      if (kind == "condition") more.Add("If-None-Match", "\"1\"");
      const Response stale = Ask(target, more, kind == "HEAD" ? "HEAD" : "GET");
      EXPECT_EQ(stale.status, kind == "range" ? 206 : kind == "condition" ? 304 : 200) << kind;
      EXPECT_EQ(stale.body, kind == "GET" || kind == "no-store" ? kBody
                            : kind == "range"                   ? "234"
                                                                : "");
      ExpectTrue(stale, kind.c_str());
    }
  }
}

TEST_P(AnswerPathsTest, H2_WhatAValidationConfirms) {
  for (const char* method : {"GET", "GET with a range", "GET with a condition"}) {
    const std::string kind = method;
    const std::string target = "/" + std::to_string(kind.size());
    Keep(target, "max-age=10");
    Fields confirmed = Rich(kFresh);
    confirmed.Add("X-New", "1");
    origin.On(target, Reply{.status = 304, .fields = confirmed});
    Fields more;
    if (kind.ends_with("range")) more.Add("Range", "bytes=2-4");
    if (kind.ends_with("condition")) more.Add("If-None-Match", "\"1\"");
    const Response response = Ask(target, more);
    EXPECT_EQ(response.status, more.Has("Range") ? 206 : more.Has("If-None-Match") ? 304 : 200);
    EXPECT_EQ(origin.Last(target).fields.Get("If-None-Match"), "\"1\"");
    EXPECT_FALSE(origin.Last(target).fields.Has("Range"));
    EXPECT_EQ(CacheStatus(response).Get("fwd-status"), "304") << kind;
    // The 304 came with a private field of this very request.
    EXPECT_EQ(response.fields.All("X-Private"), std::vector<std::string>{"secret"}) << kind;
    Response next = Ask(target, more);
    EXPECT_TRUE(next.status == 304 || next.Get("X-New") == "1") << Describe(next);
    ExpectTrue(next, method);
    EXPECT_EQ(origin.RequestCount(target), 2u);
  }
}

TEST_P(AnswerPathsTest, J9_BehindAnothersFetch) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    exchange.Respond({.fields = Rich(kFresh), .body = kBody});
  });
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/", {{"X-V", "1"}}));
  ASSERT_TRUE(origin.WaitUntilHeld("all"));
  const std::vector<std::pair<std::string, Fields>> wishes = {
      {"GET", {}}, {"GET", {{"Range", "bytes=2-4"}}}, {"GET", {{"If-None-Match", "\"1\""}}}};
  std::vector<RawClient> followers;
  for (const auto& [method, wish] : wishes) {
    Fields fields = wish;
    fields.Add("X-V", "1");
    followers.push_back(asked().Connect());
    followers.back().Send(Request(method, "/", fields));
  }
  if (GetParam() == Tier::kMemory) {
    Send("POST", "/fence");  // the worker has read them by now
  } else {
    EXPECT_TRUE(
        Eventually([&] { return other_->ReadMetrics().Sum("satchel_fleet_waits_total") >= 1; }));
  }
  origin.Release("all");
  const Response led = leader.Read();
  EXPECT_EQ(led.interim.size(), 1u);
  EXPECT_EQ(led.Get("X-Private"), "secret");  // its own answer, with what is private
  for (size_t i = 0; i < followers.size(); ++i) {
    const Response response = followers[i].Read(wishes[i].first);
    EXPECT_EQ(response.status, i == 0 ? 200 : i == 1 ? 206 : 304) << Describe(response);
    EXPECT_EQ(response.body, i == 0 ? kBody : i == 1 ? "234" : "");
    ExpectTrue(response, "follower");
  }
  EXPECT_EQ(origin.RequestCount("/"), 1u);
}

}  // namespace
}  // namespace satchel::testing
