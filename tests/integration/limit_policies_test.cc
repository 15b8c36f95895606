// Who is limited by what, and what operators can do about it.

#include <cmath>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;

// As the documentation tells people to do it.
std::string DigestOf(const std::string& key) {
  return RunCommand({"/bin/sh", "-c", "printf %s '" + key + "' | sha256sum"}).out.substr(0, 64);
}

class LimitPoliciesTest : public ProxyTest {
 protected:
  void SetUp() override {
    origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "ok"}); });
  }
  // `policies` are block list items at column 2; plans stand before them.
  SatchelConfig With(const std::string& policies, const std::string& plans = "") const {
    SatchelConfig config = Config();
    config.rest = plans + "rate_limits:\n" + policies;
    return config;
  }
  Response Ask(const std::string& key, const std::string& target = "/x", Fields more = {}) {
    more.Add("X-API-Key", key);
    return Get(target, more);
  }
  CommandResult Limits(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "limits");
    arguments.insert(arguments.end(), {"--admin", satchel->admin()});
    return RunSatchel(arguments);
  }
};

TEST_F(LimitPoliciesTest, ListedKeysHaveTheirPlanUnlistedOnesAreForbiddenAndOwnersShare) {
  Start(
      With("  - name: api\n"
           "    identify: {header: X-API-Key, unknown: 403}\n"
           "    keys:\n"
           "      " +
               DigestOf("old") +
               ": {plan: pro, owner: acme}\n"
               "      " +
               DigestOf("new") + ": {plan: pro, owner: acme}\n",
           "plans: {pro: {limits: [{name: hour, rate: 3/1h}]}}\n"));
  EXPECT_EQ(Ask("old").status, 200);
  EXPECT_EQ(Ask("new").Get("X-RateLimit-Remaining"), "1");  // rotated: the quota is the owner's
  const Response unknown = Ask("guess");
  EXPECT_EQ(unknown.status, 403) << Describe(unknown);
  EXPECT_THAT(unknown.Get("Content-Type"), HasSubstr("problem+json"));
  EXPECT_EQ(Get("/x").status, 401);
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(LimitPoliciesTest, AFileOfKeysIsReadAgainWhenItChanges) {
  TempDir dir;
  const std::string file = dir.Write("keys.yaml", DigestOf("one") + ": pro\n");
  Start(
      With("  - name: api\n"
           "    identify: {header: X-API-Key, unknown: 403}\n"
           "    keys: {file: \"" +
               file + "\"}\n",
           "plans: {pro: {limits: [{name: hour, rate: 100/1h}]}}\n"));
  EXPECT_EQ(Ask("one").status, 200);
  EXPECT_EQ(Ask("two").status, 403);
  ReplaceFile(file, DigestOf("two") + ": pro\n");
  EXPECT_TRUE(Eventually([&] { return Ask("two").status == 200; }));
  EXPECT_EQ(Ask("one").status, 403);
}

TEST_F(LimitPoliciesTest, AnIdentityMayHaveSeveralParts) {
  Start(
      With("  - name: api\n"
           "    identify: {all_of: [{header: X-API-Key}, {cookie: sid}]}\n"
           "    limits: [{name: hour, rate: 1/1h}]\n"));
  EXPECT_EQ(Ask("k", "/x", {{"Cookie", "sid=1"}}).status, 200);
  EXPECT_EQ(Ask("k", "/x", {{"Cookie", "sid=1"}}).status, 429);
  EXPECT_EQ(Ask("k", "/x", {{"Cookie", "sid=2"}}).status, 200);
  EXPECT_EQ(Ask("other", "/x", {{"Cookie", "sid=1"}}).status, 200);
  EXPECT_EQ(Ask("k").status, 401);
}

TEST_F(LimitPoliciesTest, SeveralPoliciesCountTogetherOrNotAtAll) {
  Start(With(
      "  - {name: all, identify: everyone, limits: [{name: hour, rate: 3/1h}]}\n"
      "  - {name: key, identify: {header: X-API-Key}, limits: [{name: minute, rate: 2/1m}]}\n"));
  EXPECT_EQ(Ask("a").status, 200);
  EXPECT_EQ(Ask("a").status, 200);
  const Response refused = Ask("a");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(Problem(refused)["violated-policies"], nlohmann::json::array({"minute"}));
  EXPECT_EQ(Ask("b").status, 200);  // the refused one took nothing of what all share
  EXPECT_EQ(Problem(Ask("b"))["violated-policies"], nlohmann::json::array({"hour"}));
}

TEST_F(LimitPoliciesTest, AQuotaMayBelongToAHostOrARoute) {
  SatchelConfig config = With(
      "  - {name: host, match: {path: /h}, identify: everyone, per: host, "
      "limits: [{name: hour, rate: 1/1h}]}\n"
      "  - {name: route, match: {path: [\"/a/*\", \"/b/*\"]}, identify: everyone, per: route, "
      "limits: [{name: hour, rate: 1/1h}]}\n");
  config.rules = "  - {name: r, match: {path: [\"/a/{id}\", \"/b/{id}\", /h]}, upstream: app}\n";
  Start(config);
  EXPECT_EQ(Get("/h", {{"Host", "one.test"}}).status, 200);
  EXPECT_EQ(Get("/h", {{"Host", "one.test"}}).status, 429);
  EXPECT_EQ(Get("/h", {{"Host", "two.test"}}).status, 200);
  EXPECT_EQ(Get("/a/1").status, 200);
  EXPECT_EQ(Get("/a/2").status, 429);
  EXPECT_EQ(Get("/b/1").status, 200);
}

TEST_F(LimitPoliciesTest, SomeAreExempt) {
  Start(
      With("  - name: api\n"
           "    identify: client_ip\n"
           "    limits: [{name: hour, rate: 1/1h}]\n"
           "    exempt: {match: {path: /health}}\n"));
  EXPECT_EQ(Get("/x").status, 200);
  EXPECT_EQ(Get("/x").status, 429);
  for (int i = 0; i < 3; ++i) {
    const Response response = Get("/health");
    EXPECT_EQ(response.status, 200);
    EXPECT_FALSE(response.fields.Has("X-RateLimit-Limit"));
  }
}

TEST_F(LimitPoliciesTest, TheAnswerMaySayWhatItCost) {
  origin.On("/query", Reply{.fields = {{"X-Cost", "40"}}, .body = "ok"});
  origin.On("/cached", Fresh("c", 60, {{"X-Cost", "30"}}));
  Start(
      With("  - name: api\n"
           "    identify: {header: X-API-Key}\n"
           "    limits: [{name: hour, rate: 100/1h}]\n"
           "    cost: {response_header: X-Cost}\n"));
  EXPECT_EQ(Ask("k", "/query").Get("X-RateLimit-Remaining"), "99");
  EXPECT_EQ(Ask("k").Get("X-RateLimit-Remaining"), "59");
  EXPECT_EQ(Ask("k", "/cached").status, 200);
  EXPECT_EQ(Ask("k", "/cached").Get("X-RateLimit-Remaining"), "28");  // a hit costs its one
  EXPECT_EQ(Ask("k", "/query").status, 200);
  EXPECT_EQ(Ask("k").status, 429);  // debt
}

TEST_F(LimitPoliciesTest, TheOriginsOwnLimitsStandBesideOurs) {
  const Fields theirs = {{"X-RateLimit-Limit", "9"},
                         {"X-RateLimit-Remaining", "2"},
                         {"X-RateLimit-Reset", "7"},
                         {"RateLimit", "\"o\";r=2"}};
  origin.On("/api", Reply{.fields = theirs, .body = "ok"});
  origin.On("/cached", Fresh("c", 60, theirs));
  Start(With(
      "  - {name: api, identify: {header: X-API-Key}, limits: [{name: hour, rate: 100/1h}]}\n"));
  for (const char* target : {"/api", "/cached"}) {
    const Response response = Ask("k", target);
    EXPECT_EQ(response.fields.All("X-RateLimit-Remaining"), std::vector<std::string>{"2"})
        << target;
    EXPECT_THAT(response.fields.Joined("RateLimit"), HasSubstr("\"o\";r=2")) << target;
    EXPECT_THAT(response.fields.Joined("RateLimit"), HasSubstr("\"hour\"")) << target;
  }
  EXPECT_EQ(Ask("k", "/cached").fields.Joined("RateLimit").find("\"o\""), std::string::npos);
}

TEST_F(LimitPoliciesTest, WithoutAPolicyTheOriginsLimitsPassToWhoAsked) {
  origin.On("/cached", Fresh("c", 60, {{"X-RateLimit-Limit", "9"}}));
  Start(Config());
  EXPECT_EQ(Get("/cached").Get("X-RateLimit-Limit"), "9");
  EXPECT_FALSE(Get("/cached").fields.Has("X-RateLimit-Limit"));
}

TEST_F(LimitPoliciesTest, AHitWaitsForTheVerdictAndKeepsTheConnectionInStep) {
  RedisProcess redis;
  origin.On("/cached", Fresh("cached"));
  SatchelConfig config =
      With("  - {name: api, identify: {header: X-API-Key}, limits: [{name: hour, rate: 5/1h}]}\n");
  config.l2 = "redis: \"" + redis.url() + "\", deadline: 5s";
  Start(config);
  ASSERT_TRUE(satchel->WaitForRedis());
  EXPECT_EQ(Ask("warm", "/cached").status, 200);
  RawClient client = satchel->Connect();
  std::string pipelined;
  for (int i = 0; i < 8; ++i) {
    pipelined += Request(i % 2 == 0 ? "GET" : "HEAD", "/cached", {{"X-API-Key", "k"}});
  }
  ASSERT_TRUE(client.Send(pipelined));
  for (int i = 0; i < 8; ++i) {
    const Response response = client.Read(i % 2 == 0 ? "GET" : "HEAD");
    EXPECT_EQ(response.status, i < 5 ? 200 : 429) << i << Describe(response);
    EXPECT_EQ(response.Get("X-RateLimit-Remaining"), std::to_string(i < 5 ? 4 - i : 0));
    if (i % 2 == 0 && i < 5) {
      EXPECT_EQ(response.body, "cached");
    }
  }
  EXPECT_EQ(origin.RequestCount("/cached"), 1u);
  EXPECT_TRUE(satchel->WaitForLogEntry({{"limit_verdict", "refused"}, {"cache", "limited"}}));
}

TEST_F(LimitPoliciesTest, AClientThatLeavesWhileItsHitIsCheckedHurtsNobody) {
  RedisProcess redis;
  origin.On("/cached", Fresh("cached"));
  SatchelConfig config = With(
      "  - {name: api, identify: {header: X-API-Key}, limits: [{name: hour, rate: 500/1h}]}\n");
  config.l2 = "redis: \"" + redis.url() + "\", deadline: 5s";
  Start(config);
  ASSERT_TRUE(satchel->WaitForRedis());
  EXPECT_EQ(Ask("k", "/cached").status, 200);
  redis.Pause();
  std::vector<RawClient> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(satchel->Connect());
    ASSERT_TRUE(clients.back().Send(Request("GET", "/cached", {{"X-API-Key", "k"}})));
  }
  for (int i = 0; i < 10; ++i) clients[static_cast<size_t>(i)].Reset();
  redis.Continue();
  for (int i = 10; i < 20; ++i) EXPECT_EQ(clients[static_cast<size_t>(i)].Read().status, 200);
}

TEST_F(LimitPoliciesTest, OperatorsSeeWhoAsksAndTurnPoliciesOff) {
  Start(
      With("  - {name: api, identify: {header: X-API-Key}, limits: [{name: hour, rate: 2/1h}]}\n"));
  for (int i = 0; i < 4; ++i) Ask("sk_live_secret");
  const CommandResult overview = Limits({});
  ASSERT_EQ(overview.status, 0) << overview.err;
  EXPECT_EQ(overview.out.find("sk_live"), std::string::npos);
  const auto json = nlohmann::json::parse(overview.out);
  EXPECT_EQ(json["counts"][0]["allowed"], 2);
  EXPECT_EQ(json["counts"][0]["refused"], 2);
  EXPECT_EQ(json["top_identities"][0]["checks"], 4);
  const std::string id = json["top_identities"][0]["id"];
  ASSERT_TRUE(satchel->WaitForLogEntry({{"limit_identity", id}}));

  EXPECT_EQ(Limits({"off", "--policy", "api"}).status, 0);
  EXPECT_EQ(Ask("sk_live_secret").status, 200);
  EXPECT_EQ(Limits({"on"}).status, 0);
  EXPECT_EQ(Ask("sk_live_secret").status, 429);
  EXPECT_NE(Limits({"off", "--policy", "nope"}).status, 0);
}

TEST_F(LimitPoliciesTest, OneIdentityIsShownAndBeginsAnew) {
  RedisProcess redis;
  SatchelConfig config = With(
      "  - name: api\n"
      "    identify: {header: X-API-Key}\n"
      "    default_plan: free\n"
      "    keys: {" +
          DigestOf("listed") + ": {plan: pro, owner: acme}}\n",
      "plans:\n"
      "  free: {limits: [{name: hour, rate: 2/1h}]}\n"
      "  pro: {limits: [{name: hour, rate: 9/1h}]}\n");
  config.l2 = "redis: \"" + redis.url() + "\", deadline: 5s";
  Start(config);
  ASSERT_TRUE(satchel->WaitForRedis());
  for (int i = 0; i < 3; ++i) Ask("free-key");
  Ask("listed");
  const auto show = [&](std::vector<std::string> who) {
    who.insert(who.begin(), "show");
    const CommandResult result = Limits(who);
    EXPECT_EQ(result.status, 0) << result.err << result.out;
    return nlohmann::json::parse(result.out, nullptr, false)["identities"][0];
  };
  EXPECT_EQ(show({"free-key"})["limits"][0]["remaining"], 0);
  EXPECT_EQ(show({"listed"})["limits"][0]["remaining"], 8);
  EXPECT_EQ(show({"--owner", "acme"})["plan"], "pro");
  EXPECT_EQ(show({"--ip", "192.0.2.1"})["used"], false);
  EXPECT_EQ(Ask("free-key").status, 429);
  const CommandResult reset = Limits({"reset", "free-key"});
  EXPECT_EQ(reset.status, 0) << reset.err;
  EXPECT_TRUE(Eventually([&] { return Ask("free-key").status == 200; }));
  EXPECT_EQ(Limits({"show"}).status, 2);
  EXPECT_EQ(satchel->process().err().find("free-key"), std::string::npos);
}

TEST_F(LimitPoliciesTest, MetricsTellPolicyAndPlan) {
  Start(
      With("  - {name: api, identify: {header: X-API-Key}, limits: [{name: hour, rate: 5/1h}]}\n"));
  for (int i = 0; i < 6; ++i) Ask("k");
  const Metrics metrics = satchel->ReadMetrics();
  const std::vector<std::string> labels = {"policy=\"api\"", "plan=\"inline\""};
  EXPECT_EQ(metrics.Sum("satchel_rate_limit_allowed_total", labels), 5);
  EXPECT_EQ(metrics.Sum("satchel_rate_limit_refused_total", labels), 1);
  EXPECT_EQ(metrics.Sum("satchel_rate_limit_near_total", labels), 1);
  EXPECT_EQ(metrics.Sum("satchel_rate_limit_instances"), 1);
}

}  // namespace
}  // namespace satchel::testing
