// J2 beyond one request and one instance: equivalents that others have stored (No-Vary-Search), and
// equivalents that are being fetched.

#include <atomic>

#include "tests/support/fleet_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SearchVarianceTierTest : public FleetTest {
 protected:
  void Answer(const std::string& field) {
    origin.Otherwise([this, field](OriginExchange& exchange) {
      Fields fields = {{"ETag", "\"1\""}};
      if (!field.empty()) fields.Add("No-Vary-Search", field);
      exchange.Respond(Fresh(Next(exchange), 60, fields));
    });
  }
  std::string Next(const OriginExchange& exchange) {
    return exchange.request().target + " #" + std::to_string(++answers_);
  }
  // At the first instance, until the shared tier has the record and what points to it.
  std::string Store(const std::string& target) {
    const size_t before = redis.Records().size();
    const std::string body = fleet[0]->Get(target).body;
    EXPECT_TRUE(Eventually([&] { return redis.Records().size() >= before + 3; })) << target;
    return body;
  }
  static bool Hit(const Response& response) { return CacheStatus(response).hit(); }
  static std::string Detail(const Response& response) {
    return CacheStatus(response).Get("detail");
  }
  std::atomic<int> answers_ = 0;
};

TEST_F(SearchVarianceTierTest, J2_AnotherInstanceFindsAnEquivalent) {
  Answer("key-order, params=(\"utm\")");
  StartFleet(FleetConfig(), 2);
  const std::string body = Store("/p?a=1&b=2&utm=x");
  const Response shared = fleet[1]->Get("/p?b=2&utm=y&a=1");
  EXPECT_TRUE(Hit(shared)) << Describe(shared);
  EXPECT_EQ(shared.body, body);
  EXPECT_THAT(Detail(shared), HasSubstr("l2"));
  EXPECT_EQ(CacheStatus(shared).Get("key"), "\"http://test/p?b=2&utm=y&a=1\"");
  EXPECT_GE(Age(shared), 0);
  // It is known here now, for itself and for the others.
  for (const char* target : {"/p?b=2&utm=y&a=1", "/p?a=1&b=2&utm=x", "/p?a=1&b=2"}) {
    const Response hit = fleet[1]->Get(target);
    EXPECT_TRUE(Hit(hit)) << Describe(hit);
    EXPECT_THAT(Detail(hit), HasSubstr("l1")) << target;
    EXPECT_EQ(hit.body, body);
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_EQ(fleet[1]->ReadMetrics().Sum("satchel_l2_equivalents_total"), 1);
  // No other.
  EXPECT_EQ(fleet[1]->Get("/p?a=2&b=2").body, "/p?a=2&b=2 #2");
  EXPECT_EQ(fleet[1]->Get("/q?a=1&b=2").body, "/q?a=1&b=2 #3");
}

TEST_F(SearchVarianceTierTest, J2_HeadsRangesAndConditionsFindItToo) {
  Answer("params");
  StartFleet(FleetConfig(), 4);
  const std::string body = Store("/p?a=1");
  const Response head = fleet[1]->Send("HEAD", "/p?a=2");
  EXPECT_TRUE(Hit(head)) << Describe(head);
  EXPECT_EQ(head.Get("Content-Length"), std::to_string(body.size()));
  const Response range = fleet[2]->Get("/p?a=2", {{"Range", "bytes=1-3"}});
  EXPECT_EQ(range.status, 206) << Describe(range);
  EXPECT_EQ(range.body, body.substr(1, 3));
  const Response cached =
      fleet[3]->Get("/p?a=2", {{"If-None-Match", "\"1\""}, {"Cache-Control", "only-if-cached"}});
  EXPECT_EQ(cached.status, 304) << Describe(cached);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(SearchVarianceTierTest, J2_TheRecordDecidesNotWhatPointsToIt) {
  Answer("params");
  StartFleet(FleetConfig(), 2);
  Store("/p?a=1");
  Answer("");
  // The notes go on pointing to it.
  EXPECT_EQ(fleet[0]->Get("/p?a=1", {{"Cache-Control", "no-cache"}}).body, "/p?a=1 #2");
  EXPECT_TRUE(Eventually([&] { return redis.Dump().find("/p?a=1 #2") != std::string::npos; }));
  EXPECT_EQ(fleet[1]->Get("/p?a=2").body, "/p?a=2 #3");
}

TEST_F(SearchVarianceTierTest, J2_VarySelectsThereToo) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().fields.Get("X-V"), 60,
                           {{"Vary", "X-V"}, {"No-Vary-Search", "params"}}));
  });
  StartFleet(FleetConfig(), 2);
  fleet[0]->Get("/p?a=1", {{"X-V", "1"}});
  EXPECT_TRUE(Eventually([&] { return redis.Records().size() >= 4; }));
  EXPECT_EQ(fleet[1]->Get("/p?a=2", {{"X-V", "2"}}).body, "2");
  const Response same = fleet[1]->Get("/p?a=3", {{"X-V", "1"}});
  EXPECT_EQ(same.body, "1") << Describe(same);
}

TEST_F(SearchVarianceTierTest, J2_NothingAnswersForAUriThatWasInvalidatedSince) {
  Answer("params=(\"utm\")");
  StartFleet(FleetConfig(), 3);
  Store("/p?a=1&utm=x");
  // None of the others knows that the two are the same; each knows what was invalidated.
  EXPECT_EQ(fleet[2]->Send("DELETE", "/p?a=1&utm=y").status, 200);
  // The message to the others is on its way.
  ASSERT_TRUE(
      Eventually([&] { return fleet[1]->ReadMetrics().Sum("satchel_purge_table_records") > 0; }));
  EXPECT_EQ(fleet[1]->Get("/p?a=1&utm=y").body, "/p?a=1&utm=y #3");
  EXPECT_TRUE(Hit(fleet[2]->Get("/p?a=1&utm=z")));
}

TEST_F(SearchVarianceTierTest, J2_DamagedNotesAreMisses) {
  Answer("params");
  StartFleet(FleetConfig(), 2);
  Store("/p?a=1");
  for (const std::string& key : redis.Keys("*:q")) {
    redis.Command({"SET", key, "St\x03 nonsense", "PX", "60000"});
  }
  EXPECT_EQ(fleet[1]->Get("/p?a=2").body, "/p?a=2 #2");
  EXPECT_GE(fleet[1]->ReadMetrics().Sum("satchel_l2_bad_records_total"), 1);
}

TEST_F(SearchVarianceTierTest, J2_NotesLiveNoLongerThanWhatTheyPointTo) {
  Answer("params");
  StartFleet(FleetConfig(), 1);
  Store("/p?a=1");
  const std::vector<std::string> notes = redis.Keys("*:q");
  EXPECT_EQ(notes.size(), 2u);
  for (const std::string& key : notes) {
    const long left = std::stol(redis.Command({"PTTL", key}));
    EXPECT_GT(left, 0) << key;
    EXPECT_LE(left, 60'000) << key;
  }
}

TEST_F(SearchVarianceTierTest, J2_ARuleThatEncryptsEncryptsTheNotes) {
  Answer("params=(\"utm\")");
  TempDir dir;
  const std::string file = dir.Write("key", std::string(64, 'a') + "\n");
  StartFleet(FleetConfig("encrypt: true", "encrypt_keys: [" + file + "]"), 2);
  const std::string body = Store("/secret?a=1&utm=x");
  const std::string dump = redis.Dump();
  EXPECT_THAT(dump, Not(HasSubstr("secret")));
  EXPECT_THAT(dump, Not(HasSubstr("utm")));
  EXPECT_EQ(fleet[1]->Get("/secret?a=1").body, body);
}

// --- what is being fetched ---

TEST_F(SearchVarianceTierTest, J2_SimultaneousEquivalentsAreOneFetch) {
  Answer("params=(\"utm\")");
  StartFleet(FleetConfig(), 1);
  fleet[0]->Get("/p?a=0");  // the variance of the path is known from here on
  origin.Otherwise([this](OriginExchange& exchange) {
    exchange.Hold("crowd");
    exchange.Respond(Fresh(Next(exchange), 60, {{"No-Vary-Search", "params=(\"utm\")"}}));
  });
  std::vector<RawClient> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(fleet[0]->Connect());
    crowd.back().Send(Request("GET", "/p?a=1&utm=" + std::to_string(i)));
    if (i == 0) ASSERT_TRUE(origin.WaitUntilHeld("crowd"));
  }
  EXPECT_TRUE(Eventually(
      [&] { return fleet[0]->ReadMetrics().Sum("satchel_fills_followed_total") >= 99; }));
  origin.Release("crowd");
  for (RawClient& client : crowd) {
    const Response response = client.Read();
    EXPECT_EQ(response.body, "/p?a=1&utm=0 #2") << Describe(response);
  }
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(SearchVarianceTierTest, J2_WhoIsNotAnsweredByAnEquivalentFetchesForItself) {
  StartFleet(FleetConfig(), 1);
  for (const std::string fate : {"says nothing of it", "is nobody else's", "fails"}) {
    const std::string path = "/" + std::to_string(fate.size());
    origin.On(path + "?a=0", Fresh("known", 60, {{"No-Vary-Search", "params=(\"utm\")"}}));
    fleet[0]->Get(path + "?a=0");
    origin.On(path + "?a=1&utm=leader", [fate](OriginExchange& exchange) {
      exchange.Hold(fate);
      if (fate == "fails") {
        exchange.Reset();
      } else if (fate == "is nobody else's") {
        exchange.Respond({.fields = {{"Cache-Control", "private"}}, .body = "leader"});
      } else {
        exchange.Respond(Fresh("leader"));
      }
    });
    origin.On(path + "?a=1&utm=other", Fresh("other"));
    RawClient leader = fleet[0]->Connect();
    leader.Send(Request("GET", path + "?a=1&utm=leader"));
    ASSERT_TRUE(origin.WaitUntilHeld(fate));
    const double before = fleet[0]->ReadMetrics().Sum("satchel_fills_followed_total");
    std::vector<RawClient> others;
    for (int i = 0; i < 10; ++i) {
      others.push_back(fleet[0]->Connect());
      others.back().Send(Request("GET", path + "?a=1&utm=other"));
    }
    EXPECT_TRUE(Eventually([&] {
      return fleet[0]->ReadMetrics().Sum("satchel_fills_followed_total") >= before + 10;
    }));
    origin.Release(fate);
    EXPECT_EQ(leader.Read().status, fate == "fails" ? 502 : 200) << fate;
    for (RawClient& client : others) {
      const Response response = client.Read();
      EXPECT_EQ(response.body, "other") << fate << Describe(response);
    }
    EXPECT_EQ(origin.RequestCount(path + "?a=1&utm=other"), 1u) << fate;
  }
}

TEST_F(SearchVarianceTierTest, J2_AFetchFromBeforeAnInvalidationAnswersNoEquivalentBehindIt) {
  Answer("params=(\"utm\")");
  StartFleet(FleetConfig(), 1);
  fleet[0]->Get("/p?a=0");
  origin.On("/p?a=1&utm=x", [](OriginExchange& exchange) {
    exchange.Hold("old");
    exchange.Respond(Fresh("old", 60, {{"No-Vary-Search", "params=(\"utm\")"}}));
  });
  RawClient leader = fleet[0]->Connect();
  leader.Send(Request("GET", "/p?a=1&utm=x"));
  ASSERT_TRUE(origin.WaitUntilHeld("old"));
  EXPECT_EQ(fleet[0]->Send("DELETE", "/p?a=1&utm=y").status, 200);
  origin.On("/p?a=1&utm=y", Fresh("new"));
  RawClient follower = fleet[0]->Connect();
  follower.Send(Request("GET", "/p?a=1&utm=y"));
  EXPECT_TRUE(
      Eventually([&] { return fleet[0]->ReadMetrics().Sum("satchel_fills_followed_total") >= 1; }));
  origin.Release("old");
  EXPECT_EQ(leader.Read().body, "old");
  EXPECT_EQ(follower.Read().body, "new");
}

}  // namespace
}  // namespace satchel::testing
