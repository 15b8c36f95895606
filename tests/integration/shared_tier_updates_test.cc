// What an update of the origin's, a 304 or an answer to HEAD, makes of the record in Redis, and
// what is said of, and who gets, an answer from it.

#include <string>

#include "tests/support/fault_relay.h"
#include "tests/support/shared_tier_fixture.h"

namespace satchel::testing {
namespace {

// RFC 9110 6.6.1: a record that a 304 renews where it stands keeps the text of its Date.
TEST_F(SharedTierTest, A6_ADateInAnotherFormIsNotRewrittenByARenewal) {
  const std::string odd = "Sun Nov  6 08:49:37 1994";
  const std::string control = "max-age=2000000000";
  const Fields confirmed = {{"Date", odd}, {"Cache-Control", control}, {"ETag", "\"1\""}};
  Fields fields = confirmed;
  origin.Next("/", Reply{.fields = fields, .body = "x"});
  origin.On("/", Reply{.status = 304, .fields = confirmed});
  Store("/");
  EXPECT_EQ(Get("/", {{"Cache-Control", "no-cache"}}).body, "x");
  Fence();
  const Response hit = other_->Get("/");
  EXPECT_TRUE(Hit(hit)) << Describe(hit);
  EXPECT_EQ(hit.fields.All("Date"), std::vector<std::string>{odd});
  EXPECT_EQ(origin.RequestCount("/"), 2u);
}

TEST_F(SharedTierTest, H3_AnErrorWithALifetimeTakesNoRecordsPlace) {
  origin.On("/", StaleSince(0, "old", "", {{"ETag", "\"1\""}}));
  Store("/");
  origin.Next("/",
              Reply{.status = 503, .fields = {{"Cache-Control", "max-age=60"}}, .body = "busy"});
  origin.On("/",
            Reply{.status = 304, .fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}}});
  EXPECT_EQ(other_->Get("/").body, "busy");
  EXPECT_EQ(other_->Get("/").body, "old");
  EXPECT_EQ(Get("/").body, "old");
}

// Nor does the same error for who waited for it, and never knew of the record.
TEST_F(SharedTierTest, H3_AnErrorOfAFollowersOwnTakesNoRecordsPlaceEither) {
  origin.On("/", StaleSince(0, "old", "", {{"ETag", "\"1\""}}));
  Store("/");
  std::atomic<bool> busy = true;
  origin.On("/", [&](OriginExchange& exchange) {
    if (busy) {
      exchange.Hold("busy");
      exchange.Respond(
          {.status = 503, .fields = {{"Cache-Control", "max-age=60"}}, .body = "busy"});
    } else {
      exchange.Respond(
          {.status = 304, .fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}}});
    }
  });
  RawClient leader = other_->Connect();
  leader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("busy"));
  RawClient follower = other_->Connect();
  follower.Send(Request("GET", "/"));
  EXPECT_TRUE(
      Eventually([&] { return other_->ReadMetrics().Sum("satchel_fills_followed_total") == 1; }));
  origin.Release("busy");
  EXPECT_EQ(leader.Read().body, "busy");
  EXPECT_EQ(follower.Read().body, "busy");
  busy = false;
  const Response validated = other_->Get("/");
  EXPECT_EQ(validated.body, "old") << Describe(validated);
  EXPECT_EQ(origin.Last("/").fields.Get("If-None-Match"), "\"1\"");
}

TEST_F(SharedTierTest, H4_AForwardedHeadThatEndsStorabilityEndsTheRecord) {
  origin.On("/", [](OriginExchange& exchange) {
    if (exchange.request().method == "HEAD") {
      exchange.SendHead(200,
                        {{"Content-Length", "4"}, {"ETag", "\"1\""}, {"Cache-Control", "private"}});
    } else {
      exchange.Respond(Fresh("body", 60, {{"ETag", "\"1\""}}));
    }
  });
  Store("/");
  EXPECT_EQ(Send("HEAD", "/", {{"Cache-Control", "no-cache"}}).status, 200);
  EXPECT_TRUE(Eventually([&] { return redis_.Records().empty(); }));
  EXPECT_FALSE(Hit(other_->Get("/")));
}

// RFC 9875 2: the group that a HEAD names is that of the record too.
TEST_F(SharedTierTest, J1_AGroupThatAHeadNamesEndsTheRecordAtEveryInstance) {
  origin.On("/change", Reply{.fields = {{"Cache-Group-Invalidation", "\"g\""}}});
  origin.On("/", [](OriginExchange& exchange) {
    Reply reply = Fresh("body", 60, {{"ETag", "\"1\""}});
    if (exchange.request().method == "HEAD") reply.fields.Add("Cache-Groups", "\"g\"");
    exchange.Respond(reply);
  });
  Store("/");
  EXPECT_EQ(Send("HEAD", "/", {{"Cache-Control", "no-cache"}}).status, 200);
  Fence();
  EXPECT_EQ(other_->Get("/").Get("Cache-Groups"), "\"g\"");
  EXPECT_EQ(Send("POST", "/change").status, 200);
  EXPECT_TRUE(Eventually(
      [&] { return other_->Get("/", {{"Cache-Control", "only-if-cached"}}).status == 504; }));
  EXPECT_FALSE(Hit(Get("/")));
}

// J5: the detail gives the reason, and only what a refresh was promised for is refreshed.
TEST_F(SharedTierTest, J5_AnAnswerFromTheRecordSaysWhyItMayBeServed) {
  struct Case {
    const char* target;
    Reply reply;
    const char* asked;
    const char* reason;
  };
  const Case cases[] = {
      {"/stale", StaleSince(0, "x", "", {{"ETag", "\"1\""}}), "max-stale", "max-stale/l2"},
      {"/immutable",
       {.fields = {{"Cache-Control", "max-age=60, immutable"}, {"Age", "5"}}, .body = "x"},
       "max-age=0",
       "immutable/l2"},
      {"/fresh", Fresh("x"), "max-age=60", "fresh/l2"},
  };
  for (const Case& one : cases) {
    origin.On(one.target, one.reply);
    Store(one.target);
    const Response response = other_->Get(one.target, {{"Cache-Control", one.asked}});
    EXPECT_TRUE(Hit(response)) << Describe(response);
    EXPECT_TRUE(CacheStatus(response).Get("detail").starts_with(one.reason)) << Describe(response);
  }
  Fence();
  for (const Case& one : cases) EXPECT_EQ(origin.RequestCount(one.target), 1u) << one.target;
  EXPECT_EQ(other_->ReadMetrics().Sum("satchel_refreshes_total"), 0);
}

// Who waits while another's lookup is under way may ask for something younger than what it finds.
TEST_F(SharedTierTest, F5_WhoWaitsBehindAnothersLookupHasItsOwnDirectives) {
  FaultRelay relay(redis_.address());
  SatchelConfig config = Config();
  config.workers = "1";
  config.l2 = "redis: \"redis://" + relay.address() + "\", deadline: 10s";
  origin.On("/", Fresh("x", 60, {{"Age", "20"}, {"ETag", "\"1\""}}));
  Store("/");
  SatchelProcess third(config);
  ASSERT_TRUE(third.WaitForRedis(1));
  relay.Set({.hold = true});
  const Fields wishes[] = {{},
                           {},
                           {{"Cache-Control", "max-age=5"}},
                           {{"Cache-Control", "min-fresh=50"}},
                           {{"Cache-Control", "max-age=50, min-fresh=20"}}};
  std::vector<RawClient> clients;
  for (const Fields& wish : wishes) {
    clients.push_back(third.Connect());
    clients.back().Send(Request("GET", "/", wish));
    const auto others = static_cast<double>(clients.size() - 1);
    EXPECT_TRUE(Eventually([&] {
      const Metrics metrics = third.ReadMetrics();
      return metrics.Sum("satchel_fills_led_total") == 1 &&
             metrics.Sum("satchel_fills_followed_total") == others;
    }));
  }
  origin.On("/", Fresh("y", 60, {{"ETag", "\"2\""}}));
  relay.Clear();
  for (size_t i = 0; i < clients.size(); ++i) {
    const Response response = clients[i].Read();
    const bool looked_again = i == 2 || i == 3;
    EXPECT_EQ(response.body, looked_again ? "y" : "x") << i << Describe(response);
    // J9: for the others nothing went forward, whoever looked.
    EXPECT_EQ(Hit(response), !looked_again) << i << Describe(response);
    EXPECT_EQ(CacheStatus(response).Has("fwd"), looked_again) << i << Describe(response);
  }
}

}  // namespace
}  // namespace satchel::testing
