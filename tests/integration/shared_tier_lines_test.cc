// The lines of RFC 9110 and 9111 hold whichever tier answers: what one instance stored is read by
// another one from Redis, with the rules, ages and fields that it had.

#include <algorithm>
#include <set>

#include "tests/support/shared_tier_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;

TEST_F(SharedTierTest, F1_AHitHasTheFieldsOfTheMissAndNoneOfItsConnection) {
  AnswerAll(Fresh("body", 100,
                  {{"Age", "30"},
                   {"Date", HttpDate(-40)},
                   {"Expires", "0"},
                   {"Connection", "X-Hop"},
                   {"X-Hop", "1"},
                   {"Keep-Alive", "timeout=5"},
                   {"Proxy-Authenticate", "Basic"},
                   {"X-Odd", "a,,b"},
                   {"X-Odd", "c"},
                   {"Set-Cookie", "a=b"}}));
  const Response first = Store("/");
  Response second = other_->Get("/");
  EXPECT_TRUE(Hit(second)) << Describe(second);
  EXPECT_EQ(second.body, "body");
  for (const char* name : {"Date", "Expires", "Cache-Control", "X-Odd", "Set-Cookie"}) {
    EXPECT_TRUE(second.fields.Has(name)) << name;
    EXPECT_EQ(second.fields.All(name), first.fields.All(name)) << name;
  }
  for (const char* name : {"X-Hop", "Keep-Alive", "Proxy-Authenticate"}) {
    EXPECT_FALSE(second.fields.Has(name)) << name;
  }
  EXPECT_THAT(Age(second), AllOf(Ge(40), Le(60)));
  EXPECT_EQ(second.fields.Count("Age"), 1u);
}

// 4.2.3: never smaller than the truth, and never counted anew on the way through the tiers.
TEST_F(SharedTierTest, D2_AgeNeverRestartsBetweenTiers) {
  struct Case {
    const char* path;
    const char* age;
    int date;
    long least;
  };
  const std::vector<Case> cases = {{"/none", nullptr, 0, 0},    {"/age", "30", 0, 30},
                                   {"/date", nullptr, -45, 45}, {"/both", "10", -50, 50},
                                   {"/future", "20", 300, 20},  {"/list", "70, 0", 0, 70},
                                   {"/bad", "-70", -15, 15}};
  for (const Case& one : cases) {
    Fields fields = {{"Date", HttpDate(one.date)}};
    if (one.age != nullptr) fields.Add("Age", one.age);
    origin.On(one.path, Fresh("x", 200, fields));
    const long miss = Age(Store(one.path));
    const long l1 = Age(Get(one.path));
    const long l2 = Age(other_->Get(one.path));
    const long promoted = Age(other_->Get(one.path));
    EXPECT_GE(miss == -1 ? one.least : miss, one.least) << one.path;
    EXPECT_GE(l1, std::max(one.least, miss)) << one.path;
    EXPECT_GE(l2, l1) << one.path;
    EXPECT_GE(promoted, l2) << one.path;
    EXPECT_LE(promoted, one.least + 30) << one.path;
  }
  EXPECT_EQ(origin.RequestCount(), cases.size());
}

TEST_F(SharedTierTest, E1_VariantsAreSelectedByTheirFieldsAndE3ByMeaning) {
  origin.Otherwise([](OriginExchange& exchange) {
    const Fields& fields = exchange.request().fields;
    exchange.Respond(Fresh(fields.Get("Accept-Language") + "|" + fields.Get("X-V"), 60,
                           {{"Vary", "Accept-Language"}, {"Vary", "X-V"}}));
  });
  Store("/", {{"Accept-Language", "de, en;q=0.5"}, {"X-V", "1"}});
  Store("/", {{"Accept-Language", "fr"}, {"X-V", "1"}});
  Response german = other_->Get("/", {{"Accept-Language", "EN;q=0.5,DE"}, {"X-V", "1"}});
  EXPECT_TRUE(Hit(german)) << Describe(german);
  EXPECT_EQ(german.body, "de, en;q=0.5|1");
  EXPECT_TRUE(Hit(other_->Get("/", {{"Accept-Language", "fr"}, {"X-V", "1"}})));
  EXPECT_FALSE(Hit(other_->Get("/", {{"Accept-Language", "fr"}})));
  EXPECT_FALSE(Hit(other_->Get("/", {{"Accept-Language", "fr"}, {"X-V", "2"}})));
}

TEST_F(SharedTierTest, F2_ConditionsAndF3RangesAndF4HeadAreAnsweredFromIt) {
  AnswerAll(Fresh("0123456789", 60, {{"ETag", "\"1\""}, {"Last-Modified", HttpDate(-3600)}}));
  for (const char* path : {"/etag", "/since", "/range", "/past", "/head", "/several"}) Store(path);
  Response tag = other_->Get("/etag", {{"If-None-Match", "\"0\", W/\"1\""}});
  EXPECT_EQ(tag.status, 304) << Describe(tag);
  EXPECT_EQ(other_->Get("/since", {{"If-Modified-Since", HttpDate(-60)}}).status, 304);
  Response range = other_->Get("/range", {{"Range", "bytes=2-4"}});
  EXPECT_EQ(range.status, 206);
  EXPECT_EQ(range.body, "234");
  EXPECT_EQ(range.Get("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(other_->Get("/past", {{"Range", "bytes=10-"}}).status, 416);
  Response head = other_->Send("HEAD", "/head");
  EXPECT_TRUE(Hit(head)) << Describe(head);
  EXPECT_EQ(head.Get("Content-Length"), "10");
  EXPECT_EQ(other_->Get("/several", {{"Range", "bytes=0-0,5-5"}}).status, 200) << "shorter whole";
  EXPECT_EQ(origin.RequestCount(), 6u);
}

TEST_F(SharedTierTest, F5_RequestDirectivesAndJ4ImmutableHoldForIt) {
  AnswerAll(Fresh("x", 60, {{"Age", "10"}}));
  for (const char* path : {"/cached", "/max-age", "/enough", "/min-fresh", "/no-cache"})
    Store(path);
  const auto ask = [&](const char* path, const char* directive) {
    return other_->Get(path, {{"Cache-Control", directive}});
  };
  Response cached = ask("/cached", "only-if-cached");
  EXPECT_EQ(cached.status, 200) << Describe(cached);
  EXPECT_EQ(ask("/nowhere", "only-if-cached").status, 504);
  EXPECT_FALSE(Hit(ask("/max-age", "max-age=5")));
  EXPECT_TRUE(Hit(ask("/enough", "max-age=45")));
  EXPECT_FALSE(Hit(ask("/min-fresh", "min-fresh=55")));
  EXPECT_FALSE(Hit(ask("/no-cache", "no-cache")));
  EXPECT_EQ(origin.RequestCount(), 5u + 3u);
  origin.On("/immutable", {.fields = {{"Cache-Control", "max-age=60, immutable"}}, .body = "x"});
  Store("/immutable");
  EXPECT_TRUE(Hit(ask("/immutable", "max-age=0")));
}

TEST_F(SharedTierTest, C7_NoCacheIsValidatedAndH1ItsValidatorSentByteForByte) {
  origin.Otherwise([](OriginExchange& exchange) {
    Reply reply{.fields = {{"Cache-Control", "no-cache"}, {"ETag", "W/\"1\""}}, .body = "x"};
    if (exchange.request().fields.Get("If-None-Match") == "W/\"1\"") {
      reply.status = 304;
      reply.body.clear();
    }
    exchange.Respond(reply);
  });
  Store("/");
  for (int i = 0; i < 2; ++i) {
    Response validated = other_->Get("/");
    EXPECT_EQ(validated.body, "x");
    EXPECT_EQ(CacheStatus(validated).Get("fwd-status"), "304") << Describe(validated);
  }
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(SharedTierTest, H2_AnUpdateAndH3AFullAnswerReachTheOthers) {
  for (const bool not_modified : {true, false}) {
    const std::string path = not_modified ? "/304" : "/200";
    std::atomic<int> asked = 0;
    origin.On(path, [&](OriginExchange& exchange) {
      if (++asked == 1) {
        exchange.Respond(StaleSince(0, "old", "", {{"ETag", "\"1\""}, {"X-A", "1"}}));
      } else if (not_modified) {
        exchange.Respond(
            {.status = 304,
             .fields = {
                 {"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}, {"Age", "0"}, {"X-A", "2"}}});
      } else {
        exchange.Respond(Fresh("new", 60, {{"ETag", "\"2\""}, {"X-A", "2"}}));
      }
    });
    Store(path);
    EXPECT_EQ(Get(path).Get("X-A"), "2");
    // The record is replaced; the instance that never saw it gets the new one.
    Response now;
    EXPECT_TRUE(Eventually([&] {
      now = other_->Get(path, {{"Cache-Control", "only-if-cached"}});
      return now.status == 200;
    })) << path;
    EXPECT_EQ(now.Get("X-A"), "2");
    EXPECT_EQ(now.body, not_modified ? "old" : "new");
    EXPECT_EQ(asked, 2);
  }
}

TEST_F(SharedTierTest, G1_StaleRecordsAreUsedByTheGrantsTheyCameWithOnly) {
  const auto stale = [&](const char* path, const char* directives) {
    origin.On(path, StaleSince(0, "old", directives, {{"ETag", "\"1\""}}));
    Store(path);
    origin.On(path, Reply{.status = 503, .body = "down"});
  };
  stale("/must", "must-revalidate");
  EXPECT_EQ(other_->Get("/must").status, 503);
  stale("/sie", "stale-if-error=600");
  Response error = other_->Get("/sie");
  EXPECT_EQ(error.status, 200) << Describe(error);  // G3
  EXPECT_EQ(error.body, "old");
  stale("/plain", "");
  EXPECT_EQ(other_->Get("/plain").status, 503);
  stale("/swr", "stale-while-revalidate=600");
  Response at_once = other_->Get("/swr");
  EXPECT_TRUE(Hit(at_once)) << Describe(at_once);  // G2
  EXPECT_EQ(at_once.body, "old");
  EXPECT_GE(Age(at_once), 10);
}

TEST_F(SharedTierTest, I1_APutEndsGetsAndAnswersToBodiesAtEveryInstance) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.ReadBody();
    exchange.Respond(Fresh("x", 60, {{"Cache-Groups", "\"g\""}}));
  });
  for (const auto& [method, body] : {std::pair("QUERY", "q"), std::pair("POST", "p")}) {
    Store("/search/a", {}, method, body);
    EXPECT_TRUE(Hit(other_->Send(method, "/search/a", {}, body)));
  }
  Store("/search/a");
  Store("/grouped");
  EXPECT_TRUE(Hit(other_->Get("/search/a")));
  EXPECT_TRUE(Hit(other_->Get("/grouped")));
  EXPECT_EQ(other_->Send("PUT", "/search/a", {}, "new").status, 200);
  // The message was on its way before the answer; here it has to be read as well.
  const auto gone = [&](std::string_view target) {
    return Eventually(
        [&] { return Get(target, {{"Cache-Control", "only-if-cached"}}).status == 504; });
  };
  EXPECT_TRUE(gone("/search/a"));
  EXPECT_FALSE(Hit(Send("QUERY", "/search/a", {}, "q")));
  EXPECT_FALSE(Hit(Send("POST", "/search/a", {}, "p")));
  EXPECT_FALSE(Hit(Get("/search/a")));
  EXPECT_TRUE(Hit(Get("/grouped")));
  // J1: a group goes everywhere too.
  origin.On("/change", Reply{.fields = {{"Cache-Group-Invalidation", "\"g\""}}});
  EXPECT_EQ(other_->Send("PUT", "/change", {}, "new").status, 200);
  EXPECT_TRUE(gone("/grouped"));
}

TEST_F(SharedTierTest, J3_AStaleAnswerToABodyIsValidatedAndServedStaleFromItsRecord) {
  origin.On("/search/v", [](OriginExchange& exchange) {
    exchange.ReadBody();
    Reply reply = StaleSince(0, "read", "", {{"ETag", "\"1\""}});
    if (exchange.request().fields.Get("If-None-Match") == "\"1\"") {
      reply.status = 304;
      reply.body.clear();
    }
    exchange.Respond(reply);
  });
  Store("/search/v", {}, "QUERY", "q");
  Response validated = other_->Send("QUERY", "/search/v", {}, "q");
  EXPECT_EQ(validated.body, "read");
  EXPECT_EQ(CacheStatus(validated).Get("fwd-status"), "304") << Describe(validated);

  origin.On("/search/s", [](OriginExchange& exchange) {
    exchange.ReadBody();
    exchange.Respond(StaleSince(0, "stale", "stale-while-revalidate=600"));
  });
  Store("/search/s", {}, "POST", "p");
  Response stale = other_->Send("POST", "/search/s", {}, "p");
  EXPECT_TRUE(Hit(stale)) << Describe(stale);
  EXPECT_EQ(stale.body, "stale");
}

TEST_F(SharedTierTest, J9_FollowersAndStaleAnswersTellTheTruth) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Respond(Fresh("x", 60, {{"Age", "20"}, {"Date", HttpDate(-25)}}));
  });
  std::vector<RawClient> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(satchel->Connect());
    clients.back().Send(Request("GET", "/"));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("all"));
  origin.Release("all");
  std::set<std::string> dates;
  size_t collapsed = 0;
  for (RawClient& client : clients) {
    Response response = client.Read();
    EXPECT_EQ(response.body, "x");
    EXPECT_THAT(Age(response), AllOf(Ge(25), Le(60))) << Describe(response);
    EXPECT_THAT(CacheStatus(response).ttl(), AllOf(Ge(0), Le(35)));
    dates.insert(response.Get("Date"));
    collapsed += CacheStatus(response).Has("collapsed") ? 1 : 0;
  }
  EXPECT_EQ(dates.size(), 1u);
  EXPECT_LE(collapsed, 19u);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(SharedTierTest, A1_OnlyReadsUseTheRecord) {
  AnswerAll(Fresh("x"));
  Store("/");
  for (const char* method : {"POST", "PUT", "M-SEARCH", "OPTIONS"}) {
    const size_t before = origin.RequestCount();
    other_->Send(method, "/other", {}, std::string(method) == "OPTIONS" ? "" : "body");
    EXPECT_EQ(origin.RequestCount(), before + 1) << method;
    EXPECT_EQ(origin.requests().back().method, method);
  }
  // Nor is an answer to another method a record for GET.
  Send("POST", "/posted", {}, "body");
  Fence();
  EXPECT_FALSE(Hit(other_->Get("/posted")));
  EXPECT_TRUE(Hit(other_->Get("/")));
}

TEST_F(SharedTierTest, A3_ARecordHasTheTrueLengthHoweverTheBodyCame) {
  origin.On("/junk", [](OriginExchange& exchange) {
    exchange.Send(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nbodyJUNK");
    exchange.Close();
  });
  origin.On("/coded", [](OriginExchange& exchange) {
    exchange.Send(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: odd\r\n\r\nbody");
    exchange.Close();
  });
  Reply chunked = Fresh("body");
  chunked.framing = Reply::Framing::kChunked;
  origin.On("/chunked", chunked);
  origin.On("/range", Fresh("body", 60, {{"Content-Range", "bytes 0-3/9"}}));
  for (const char* path : {"/junk", "/coded", "/chunked", "/range"}) {
    Store(path);
    const Response hit = other_->Get(path);
    EXPECT_TRUE(Hit(hit)) << path << Describe(hit);
    EXPECT_EQ(hit.body, "body") << path;
    EXPECT_EQ(hit.fields.All("Content-Length"), std::vector<std::string>{"4"}) << path;
    EXPECT_FALSE(hit.fields.Has("Transfer-Encoding")) << path;
    EXPECT_EQ(hit.fields.Has("Content-Range"), std::string(path) == "/range");
  }
}

TEST_F(SharedTierTest, A4_InterimResponsesAndJ8TrailersAreNoPartOfTheRecord) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Hint: 1\r\n\r\n");
    exchange.Respond({.fields = {{"Cache-Control", "max-age=60"}, {"Trailer", "X-Sum"}},
                      .body = "x",
                      .framing = Reply::Framing::kChunked,
                      .trailers = {{"X-Sum", "1"}, {"ETag", "\"late\""}}});
  });
  EXPECT_EQ(Store("/").interim.size(), 1u);
  const Response hit = other_->Get("/");
  EXPECT_TRUE(Hit(hit)) << Describe(hit);
  EXPECT_TRUE(hit.interim.empty());
  EXPECT_TRUE(hit.trailers.empty());
  for (const char* name : {"Link", "X-Hint", "X-Sum", "ETag", "Trailer"}) {
    EXPECT_FALSE(hit.fields.Has(name)) << name;
  }
}

// G2: what the origin says now takes the place of what it said, though it may not be kept itself.
TEST_F(SharedTierTest, G2_ARefreshThatMayNotBeKeptEndsTheRecord) {
  for (const char* control : {"private", "no-store"}) {
    const std::string target = std::string("/") + control;
    origin.On(target, StaleSince(0, "old", "stale-while-revalidate=600", {{"ETag", "\"1\""}}));
    Store(target);
    for (const int status : {304, 200}) {
      if (status == 200) {
        origin.On(target, StaleSince(0, "old", "stale-while-revalidate=600", {{"ETag", "\"1\""}}));
        EXPECT_TRUE(Eventually([&] {
          Get(target, {{"Cache-Control", "no-cache"}});
          return !redis_.Records().empty();
        }));
      }
      origin.On(target, Reply{.status = status,
                              .fields = {{"Cache-Control", control}, {"ETag", "\"1\""}},
                              .body = status == 304 ? "" : "mine"});
      EXPECT_EQ(other_->Get(target).body, "old") << "once more, while it is refreshed";
      // The first instance may have asked twice above, and its second answer arrive behind this.
      EXPECT_TRUE(Eventually([&] {
        if (redis_.Records().empty()) return true;
        other_->Get(target);
        return false;
      })) << control
          << status;
    }
  }
}

TEST_F(SharedTierTest, E2_OfOneVariantTheLatestIsTheRecord) {
  std::atomic<int> asked = 0;
  AnswerAll({});
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Respond(Fresh("answer " + std::to_string(++asked), 60, {{"Vary", "X-V"}}));
  });
  Store("/", {{"X-V", "1"}});
  Store("/", {{"X-V", "2"}});
  EXPECT_EQ(Get("/", {{"X-V", "1"}, {"Cache-Control", "no-cache"}}).body, "answer 3");
  Fence();
  EXPECT_EQ(other_->Get("/", {{"X-V", "1"}}).body, "answer 3");
  EXPECT_EQ(other_->Get("/", {{"X-V", "2"}}).body, "answer 2");
  EXPECT_EQ(asked, 3);
}

TEST_F(SharedTierTest, G4_ALostOriginIsBridgedByARecordWhereNothingForbidsIt) {
  const std::vector<std::pair<const char*, bool>> cases = {
      {"", true}, {"must-revalidate", false}, {"proxy-revalidate", false}, {"s-maxage=10", false}};
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string target = "/" + std::to_string(i);
    origin.On(target, StaleSince(5, "kept", cases[i].first, {{"ETag", "\"1\""}}));
    Store(target);
  }
  origin.On("/long", StaleSince(61, "kept", "", {{"ETag", "\"1\""}}));
  Store("/long");
  origin.Down();
  for (size_t i = 0; i < cases.size(); ++i) {
    const Response response = other_->Get("/" + std::to_string(i));
    EXPECT_EQ(response.status == 200, cases[i].second) << cases[i].first << Describe(response);
    if (response.status == 200) {
      EXPECT_EQ(response.body, "kept");
      EXPECT_GE(Age(response), 15);
    }
  }
  EXPECT_EQ(other_->Get("/long").status, 502) << "a minute is over";
}

TEST_F(SharedTierTest, H4_AForwardedHeadUpdatesOrEndsTheRecord) {
  for (const bool agrees : {true, false}) {
    const std::string target = agrees ? "/same" : "/other";
    origin.On(target, StaleSince(0, "0123456789", "", {{"ETag", "\"1\""}, {"X-A", "old"}}));
    Store(target);
    origin.On(target, [agrees](OriginExchange& exchange) {
      if (exchange.request().method != "HEAD") {
        exchange.Respond(Fresh("new"));
        return;
      }
      exchange.SendHead(200, {{"Content-Length", "10"},
                              {"Cache-Control", "max-age=60"},
                              {"ETag", agrees ? "\"1\"" : "\"2\""},
                              {"X-A", "new"}});
    });
    // The second instance has it from the record alone.
    EXPECT_EQ(other_->Send("HEAD", target).Get("X-A"), "new");
    const Response at_second = other_->Get(target);
    EXPECT_EQ(at_second.body, agrees ? "0123456789" : "new") << Describe(at_second);
    if (agrees) EXPECT_EQ(at_second.Get("X-A"), "new");
    // And what it made of it reaches a third one.
    SatchelConfig config = Config();
    config.l2 = "redis: \"" + redis_.url() + "\", deadline: 2s";
    SatchelProcess third(config);
    EXPECT_TRUE(third.WaitForRedis());
    EXPECT_TRUE(Eventually([&] {
      const Response response = third.Get(target, {{"Cache-Control", "only-if-cached"}});
      return response.body == at_second.body && response.Get("X-A") == at_second.Get("X-A");
    })) << target;
    EXPECT_EQ(origin.RequestCount(target), agrees ? 2u : 3u);
  }
}

}  // namespace
}  // namespace satchel::testing
