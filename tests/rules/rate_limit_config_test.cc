#include <gtest/gtest.h>

#include "rules/check.h"
#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

constexpr const char* kDigest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

TEST(RateLimitConfigTest, PlansKeysAndCostsAreRead) {
  FakeLoader loader;
  loader.files["keys.yaml"] = std::string(kDigest) + ": {plan: pro, owner: acme}\n";
  const Config config = MustParse(
      Framed("plans:\n"
             "  free: {limits: [{name: hour, rate: 1000/1h}, {name: burst, rate: 20/1s}]}\n"
             "  pro: {limits: [{rate: 50000/1h}]}\n"
             "rate_limits:\n"
             "  - name: api\n"
             "    match: {path: \"/api/**\"}\n"
             "    identify: {header: X-API-Key, missing: by_ip}\n"
             "    keys: {file: keys.yaml}\n"
             "    default_plan: free\n"
             "    count: origin\n"
             "    cost: [{match: {path: /api/export}, units: 10}]\n"
             "    store_down: closed\n"
             "    headers: [ietf]\n"
             "    mode: shadow\n"),
      loader);
  const RateLimitPolicy& policy = config.rate_limits[0];
  EXPECT_EQ(policy.identify.parts,
            (std::vector<Identify::Part>{{Identify::By::kHeader, "X-API-Key"}}));
  EXPECT_EQ(policy.identify.missing, Identify::Missing::kByIp);
  ASSERT_EQ(policy.plans.size(), 2U);
  EXPECT_EQ(policy.plans[0].windows[1], (RateWindow{"burst", 20, std::chrono::seconds(1)}));
  EXPECT_EQ(policy.plans[1].windows[0].name, "1h");
  EXPECT_EQ(policy.default_plan, 0U);
  ASSERT_NE(policy.keys, nullptr);
  const ApiKey* key = policy.keys->Find(*ParseDigest(kDigest));
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(key->plan, 1U);
  EXPECT_EQ(key->owner, "acme");
  EXPECT_EQ(policy.count, CountWhat::kOrigin);
  ASSERT_EQ(policy.costs.size(), 1U);
  EXPECT_EQ(policy.costs[0].units, 10U);
  EXPECT_EQ(policy.store_down, StoreDown::kClosed);
  EXPECT_TRUE(policy.ietf_headers);
  EXPECT_FALSE(policy.legacy_headers);
  EXPECT_EQ(policy.mode, LimitMode::kShadow);
}

TEST(RateLimitConfigTest, LimitsMayStandInline) {
  const Config config =
      MustParse(Framed("rate_limits: [{name: ip, identify: client_ip, limits: [{rate: 5/10s}], "
                       "cost: 2, headers: []}]\n"));
  const RateLimitPolicy& policy = config.rate_limits[0];
  EXPECT_TRUE(policy.identify.by_address());
  ASSERT_EQ(policy.plans.size(), 1U);
  EXPECT_EQ(policy.default_plan, 0U);
  EXPECT_EQ(policy.cost, 2U);
  EXPECT_FALSE(policy.ietf_headers || policy.legacy_headers);
  EXPECT_EQ(policy.store_down, StoreDown::kLocalShare);
  EXPECT_EQ(policy.mode, LimitMode::kEnforce);
}

TEST(RateLimitConfigTest, KeysMayStandInline) {
  const Config config =
      MustParse(Framed("plans: {free: {limits: [{rate: 1/1s}]}}\n"
                       "rate_limits: [{name: a, identify: {query: key}, keys: {" +
                       std::string(kDigest) + ": free}}]\n"));
  const ApiKey* key = config.rate_limits[0].keys->Find(*ParseDigest(kDigest));
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(key->owner, "2bb80d537b1da3e3");
}

TEST(RateLimitConfigTest, MistakesSayWhatToWrite) {
  EXPECT_EQ(
      ErrorsOf(Framed("plans:\n"
                      "  free: {limits: [{rate: 1000}, {rate: 10/s}, {rate: 0/1s}, {rate: 5/5}]}\n"
                      "  pro: {limits: []}\n"
                      "rate_limits:\n"
                      "  - {name: a, identify: {missing: skip}, default_plan: fre}\n"
                      "  - {name: a, identify: ip, limits: [{rate: 1/1s}]}\n"
                      "  - {name: b, identify: {header: K}}\n"
                      "  - {name: c, identify: {header: K}, limits: [{rate: 1/1s}, {rate: 2/1s}], "
                      "default_plan: free, headers: [rfc]}\n")),
      "rules.yaml:5:26: plans.free.limits[0].rate: \"1000\" is not a rate; write a count and a "
      "duration, as in 1000/1h\n"
      "rules.yaml:5:40: plans.free.limits[1].rate: \"10/s\" has no number of s; write 10/1s\n"
      "rules.yaml:5:54: plans.free.limits[2].rate: \"0/1s\" has a bad count: it is out of range; "
      "write 1 to 1000000000\n"
      "rules.yaml:5:68: plans.free.limits[3].rate: \"5/5\" has a bad duration: it has no unit; "
      "write ms, s, m, h or d behind it, as in 5s\n"
      "rules.yaml:6:17: plans.pro.limits: is no list of 1 to 8 limits; write [{name: hour, rate: "
      "1000/1h}]\n"
      "rules.yaml:8:25: rate_limits[0].identify: names nobody; write client_ip, everyone or "
      "{header: X-API-Key}\n"
      "rules.yaml:8:56: rate_limits[0].default_plan: \"fre\" is not a plan; did you mean free?\n"
      "rules.yaml:9:12: rate_limits[1].name: \"a\" names the limit in line 8 already; name them "
      "apart\n"
      "rules.yaml:9:25: rate_limits[1].identify: \"ip\" does not say who is counted; write "
      "client_ip, everyone or {header: X-API-Key}\n"
      "rules.yaml:10:5: rate_limits[2]: limits nobody; add limits: [{name: hour, rate: 1000/1h}] "
      "or default_plan\n"
      "rules.yaml:11:61: rate_limits[3].limits[1]: \"1s\" names two limits of one plan; name them "
      "apart\n"
      "rules.yaml:11:90: rate_limits[3].default_plan: does not go with limits written inline; name "
      "plans, or remove it\n"
      "rules.yaml:11:105: rate_limits[3].headers: \"rfc\" is unknown; write ietf, legacy, both or "
      "[]\n");
}

TEST(RateLimitConfigTest, WhoIsCountedAndHowCanBeSaidInFull) {
  const Config config = MustParse(
      Framed("plans: {free: {concurrent: 5, limits: [{rate: 9/1s}]}, bulk: {concurrent: 2}}\n"
             "rate_limits:\n"
             "  - name: api\n"
             "    identify: {all_of: [{header: X-Key}, client_ip, {cookie: sid}], unknown: 403}\n"
             "    per: [host, route]\n"
             "    exempt: {client_ip: 10.0.0.0/8, owner: [ops], match: {path: /health}}\n"
             "    keys: {" +
             std::string(kDigest) +
             ": bulk}\n"
             "    default_plan: free\n"
             "    cost: {response_header: X-Cost, units: 2, max: 50}\n"
             "    penalty: 30s\n"
             "    retry_jitter: 2s\n"
             "    max_entries: 120\n"
             "    reset: delta\n"
             "    origin_fields: keep\n"
             "  - {name: all, identify: everyone, concurrent: 7}\n"));
  const RateLimitPolicy& policy = config.rate_limits[0];
  EXPECT_EQ(policy.identify.parts, (std::vector<Identify::Part>{{Identify::By::kHeader, "X-Key"},
                                                                {Identify::By::kClientIp, ""},
                                                                {Identify::By::kCookie, "sid"}}));
  EXPECT_EQ(policy.identify.unknown, Identify::Unknown::kForbidden);
  EXPECT_EQ(policy.per, (QuotaScope{.host = true, .route = true}));
  EXPECT_EQ(policy.exempt.clients.size(), 1U);
  EXPECT_EQ(policy.exempt.owners, std::vector<std::string>{"ops"});
  EXPECT_EQ(policy.exempt.matches.size(), 1U);
  EXPECT_EQ(policy.plans[0].concurrent, 5U);
  EXPECT_TRUE(policy.plans[1].windows.empty());
  EXPECT_EQ(policy.cost, 2U);
  EXPECT_EQ(policy.cost_field.name, "X-Cost");
  EXPECT_EQ(policy.cost_field.max, 50U);
  EXPECT_EQ(policy.penalty, std::chrono::seconds(30));
  EXPECT_EQ(policy.retry_jitter, std::chrono::seconds(2));
  EXPECT_EQ(policy.max_entries, 120U);
  EXPECT_EQ(policy.reset, ResetForm::kDelta);
  EXPECT_EQ(policy.origin_fields, OriginFields::kKeep);
  EXPECT_TRUE(config.rate_limits[1].identify.parts.empty());
  EXPECT_EQ(config.rate_limits[1].plans[0].concurrent, 7U);
  // What is printed as effective means the same.
  const std::string once = EffectiveYaml(config);
  EXPECT_EQ(EffectiveYaml(MustParse(once)), once);
}

TEST(RateLimitConfigTest, LeasesGoWithWindowsAlone) {
  const std::string head = "rate_limits: [{name: a, identify: everyone, limits: [{rate: 9/1s}], ";
  EXPECT_TRUE(MustParse(Framed(head + "lease: auto}]\n")).rate_limits[0].lease);
  for (const char* more : {"concurrent: 3", "penalty: 5s"}) {
    EXPECT_NE(ErrorsOf(Framed(head + "lease: auto, " + more + "}]\n")).find("takes slots ahead"),
              std::string::npos);
  }
}

TEST(RateLimitConfigTest, UnknownKeysNeedAListOfKnownOnes) {
  EXPECT_NE(ErrorsOf(Framed("rate_limits: [{name: a, identify: {header: K, unknown: 403}, limits: "
                            "[{rate: 9/1s}]}]\n"))
                .find("no keys to know"),
            std::string::npos);
}

TEST(RateLimitConfigTest, LimitsMayBeCountedInAnotherRedis) {
  const Config config =
      MustParse(Framed("stores: {l2: {redis: \"redis://a:1/0\"}, limits: {redis: "
                       "\"redis://b:2/0\", prefix: lim}}\n"));
  ASSERT_NE(config.limit_store(), nullptr);
  EXPECT_EQ(config.limit_store()->prefix, "lim");
  const Config one = MustParse(Framed("stores: {l2: {redis: \"redis://a:1/0\"}}\n"));
  EXPECT_EQ(one.limit_store(), &*one.l2);
  EXPECT_EQ(MustParse(Framed("")).limit_store(), nullptr);
}

TEST(RateLimitConfigTest, AKeyWrittenInClearIsRefusedWithoutShowingIt) {
  FakeLoader loader;
  loader.files["keys.yaml"] = "sk_live_1234: {plan: free}\nsk_live_1234: free\n";
  const std::string errors =
      ErrorsOf(Framed("plans: {free: {limits: [{rate: 1/1s}]}}\n"
                      "rate_limits: [{name: a, identify: {header: K}, keys: {file: keys.yaml}}]\n"),
               loader);
  EXPECT_EQ(errors.find("sk_live"), std::string::npos) << errors;
  EXPECT_EQ(
      errors,
      "keys.yaml:1:15: *: is not under the SHA-256 of a key; write 64 hex digits (printf %s KEY | "
      "sha256sum)\n"
      "keys.yaml:2:1: *: stands twice, first in line 1; keep one of them\n");
}

}  // namespace
}  // namespace satchel::rules
