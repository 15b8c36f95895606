#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "rules/rate_limit.h"

namespace satchel::rules {
namespace {

// Not SHA-256, but different for different texts, which is all that is asked of it here.
std::array<uint8_t, 32> FakeSha256(std::string_view bytes) {
  std::array<uint8_t, 32> digest{};
  uint64_t hash = 14695981039346656037ULL;
  for (size_t round = 0; round < 4; ++round) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    hash = (hash ^ round) * 1099511628211ULL;
    std::memcpy(digest.data() + 8 * round, &hash, 8);
  }
  return digest;
}

RateLimitPolicy PolicyBy(Identify::By by, std::string name) {
  RateLimitPolicy policy;
  policy.name = "api";
  policy.identify.parts = {{by, std::move(name)}};
  policy.plans = {{"free", {{"s", 1, std::chrono::seconds(1)}}, 0, "", 0},
                  {"pro", {{"s", 9, std::chrono::seconds(1)}}, 0, "", 0}};
  policy.default_plan = 0;
  return policy;
}

cache::RequestHead With(std::initializer_list<std::pair<const char*, const char*>> fields,
                        std::string_view target = "/") {
  cache::RequestHead request;
  request.target = target;
  for (const auto& [name, value] : fields) request.fields.Add(name, value);
  return request;
}

Identity Find(const RateLimitPolicy& policy, const cache::RequestHead& request,
              std::string_view client = "192.0.2.1") {
  return FindIdentity(policy, request, *ParseIp(client), &FakeSha256);
}

TEST(IdentityTest, AKeyInAHeaderIsAnIdentity) {
  const auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  const Identity a = Find(policy, With({{"x-api-key", "k1"}}));
  const Identity b = Find(policy, With({{"X-API-Key", "k2"}}));
  const Identity again = Find(policy, With({{"X-API-Key", "k1"}}), "198.51.100.7");
  ASSERT_EQ(a.outcome, Identity::Outcome::kKnown);
  EXPECT_EQ(a.plan, &policy.plans[0]);
  EXPECT_FALSE(a.by_ip);
  EXPECT_NE(a.id_text(), b.id_text());
  EXPECT_EQ(a.id_text(), again.id_text());
  EXPECT_EQ(a.id_text().find("k1"), std::string_view::npos);
}

TEST(IdentityTest, KeysMayStandInTheQueryOrACookie) {
  const auto query = PolicyBy(Identify::By::kQuery, "key");
  EXPECT_EQ(Find(query, With({}, "/?a=1&key=k%31")).id_text(),
            Find(query, With({}, "/?key=k1")).id_text());
  EXPECT_EQ(Find(query, With({}, "/?keys=k1")).outcome, Identity::Outcome::kUnauthorized);
  const auto cookie = PolicyBy(Identify::By::kCookie, "sid");
  EXPECT_EQ(Find(cookie, With({{"Cookie", "a=b; sid=7"}})).outcome, Identity::Outcome::kKnown);
}

TEST(IdentityTest, AMissingKeyDoesWhatThePolicySays) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  EXPECT_EQ(Find(policy, With({})).outcome, Identity::Outcome::kUnauthorized);
  EXPECT_EQ(Find(policy, With({{"X-API-Key", ""}})).outcome, Identity::Outcome::kUnauthorized);
  policy.identify.missing = Identify::Missing::kSkip;
  EXPECT_EQ(Find(policy, With({})).outcome, Identity::Outcome::kSkip);
  policy.identify.missing = Identify::Missing::kByIp;
  const Identity by_ip = Find(policy, With({}));
  EXPECT_EQ(by_ip.outcome, Identity::Outcome::kKnown);
  EXPECT_TRUE(by_ip.by_ip);
}

TEST(IdentityTest, TwoDifferentKeysAreNoIdentity) {
  const auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "a"}, {"X-API-Key", "b"}})).outcome,
            Identity::Outcome::kUnauthorized);
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "a"}, {"X-API-Key", "a"}})).outcome,
            Identity::Outcome::kKnown);
}

TEST(IdentityTest, ListedKeysHaveTheirPlanAndShareTheirOwnersQuota) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  auto keys = std::make_shared<ApiKeys>();
  keys->Add(FakeSha256("k1"), {1, "acme"});
  keys->Add(FakeSha256("k2"), {1, "acme"});
  policy.keys = keys;
  const Identity one = Find(policy, With({{"X-API-Key", "k1"}}));
  const Identity two = Find(policy, With({{"X-API-Key", "k2"}}));
  EXPECT_EQ(one.plan, &policy.plans[1]);
  EXPECT_EQ(one.owner, "acme");
  EXPECT_EQ(one.id_text(), two.id_text());
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "other"}})).plan, &policy.plans[0]);
}

TEST(IdentityTest, WithoutADefaultPlanUnlistedKeysAreRefused) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  policy.default_plan.reset();
  policy.keys = std::make_shared<ApiKeys>();
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k"}})).outcome, Identity::Outcome::kUnauthorized);
}

TEST(IdentityTest, AKeyCannotPretendToBeAnOwnerOrAnAddress) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  auto keys = std::make_shared<ApiKeys>();
  keys->Add(FakeSha256("k1"), {0, "acme"});
  policy.keys = keys;
  policy.identify.missing = Identify::Missing::kByIp;
  std::set<std::string> ids;
  ids.emplace(Find(policy, With({{"X-API-Key", "k1"}})).id_text());
  ids.emplace(Find(policy, With({{"X-API-Key", "acme"}})).id_text());
  ids.emplace(Find(policy, With({{"X-API-Key", "192.0.2.1"}})).id_text());
  ids.emplace(Find(policy, With({})).id_text());
  EXPECT_EQ(ids.size(), 4U);
}

TEST(IdentityTest, OneClientIsOneIdentityUnderAllPolicies) {
  auto a = PolicyBy(Identify::By::kHeader, "X-API-Key");
  auto b = a;
  b.name = "other";
  EXPECT_EQ(Find(a, With({{"X-API-Key", "k1"}})).id_text(),
            Find(b, With({{"X-API-Key", "k1"}})).id_text());
}

TEST(IdentityTest, AnUnlistedKeyIsRefusedWhereAsked) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  auto keys = std::make_shared<ApiKeys>();
  keys->Add(FakeSha256("k1"), {1, "acme"});
  policy.keys = keys;
  policy.identify.unknown = Identify::Unknown::kForbidden;
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "other"}})).outcome, Identity::Outcome::kForbidden);
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k1"}})).outcome, Identity::Outcome::kKnown);
  EXPECT_EQ(Find(policy, With({})).outcome, Identity::Outcome::kUnauthorized);
  policy.identify.unknown = Identify::Unknown::kUnauthorized;
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "other"}})).outcome, Identity::Outcome::kUnauthorized);
}

TEST(IdentityTest, PartsTogetherAreTheIdentity) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  policy.identify.parts.push_back({Identify::By::kClientIp, ""});
  const auto id = [&](const char* key, std::string_view ip) {
    return std::string(Find(policy, With({{"X-API-Key", key}}), ip).id_text());
  };
  EXPECT_EQ(id("a", "192.0.2.1"), id("a", "192.0.2.1"));
  EXPECT_NE(id("a", "192.0.2.1"), id("a", "192.0.2.2"));
  EXPECT_NE(id("a", "192.0.2.1"), id("b", "192.0.2.1"));
  policy.identify.parts.push_back({Identify::By::kCookie, "sid"});
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "a"}})).outcome, Identity::Outcome::kUnauthorized);
}

TEST(IdentityTest, PartsDoNotRunIntoEachOther) {
  auto policy = PolicyBy(Identify::By::kHeader, "A");
  policy.identify.parts.push_back({Identify::By::kHeader, "B"});
  EXPECT_NE(Find(policy, With({{"A", "xy"}, {"B", "z"}})).id_text(),
            Find(policy, With({{"A", "x"}, {"B", "yz"}})).id_text());
}

TEST(IdentityTest, EveryoneIsOneIdentity) {
  auto policy = PolicyBy(Identify::By::kClientIp, "");
  policy.identify.parts.clear();
  EXPECT_EQ(Find(policy, With({}), "192.0.2.1").id_text(),
            Find(policy, With({}), "198.51.100.7").id_text());
}

TEST(IdentityTest, AQuotaMayBelongToAHostARuleOrARoute) {
  auto policy = PolicyBy(Identify::By::kClientIp, "");
  cache::RequestHead request = With({});
  request.authority = "a.test";
  const auto id = [&](RequestPlace place) {
    return std::string(
        FindIdentity(policy, request, *ParseIp("192.0.2.1"), &FakeSha256, place).id_text());
  };
  const std::string global = id({"r", "/a"});
  EXPECT_EQ(id({"other", "/b"}), global);
  policy.per.rule = true;
  EXPECT_NE(id({"r", "/a"}), id({"other", "/a"}));
  EXPECT_EQ(id({"r", "/a"}), id({"r", "/b"}));
  policy.per = {.route = true};
  EXPECT_NE(id({"r", "/a"}), id({"r", "/b"}));
  policy.per = {.host = true};
  const std::string one_host = id({"r", "/a"});
  request.authority = "b.test";
  EXPECT_NE(id({"r", "/a"}), one_host);
}

TEST(IdentityTest, ExemptAddressesAndOwnersAreNotCounted) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  auto keys = std::make_shared<ApiKeys>();
  keys->Add(FakeSha256("k1"), {1, "acme"});
  policy.keys = keys;
  policy.exempt.owners = {"acme"};
  policy.exempt.clients = {*ParseIpPrefix("10.0.0.0/8")};
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k1"}})).outcome, Identity::Outcome::kSkip);
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k2"}})).outcome, Identity::Outcome::kKnown);
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k2"}}), "10.1.2.3").outcome,
            Identity::Outcome::kSkip);
}

TEST(IdentityTest, AnIdentityCanBeNamedByHand) {
  auto policy = PolicyBy(Identify::By::kHeader, "X-API-Key");
  auto keys = std::make_shared<ApiKeys>();
  keys->Add(FakeSha256("k1"), {1, "acme"});
  policy.keys = keys;
  policy.identify.missing = Identify::Missing::kByIp;
  const auto text = [](IdentityKind kind, std::string_view what) {
    const auto id = IdentityOf(kind, what, &FakeSha256);
    return std::string(id.data(), id.size());
  };
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k1"}})).id_text(), text(IdentityKind::kOwner, "acme"));
  EXPECT_EQ(Find(policy, With({{"X-API-Key", "k2"}})).id_text(), text(IdentityKind::kKey, "k2"));
  EXPECT_EQ(Find(policy, With({}), "2001:db8::9").id_text(),
            text(IdentityKind::kIp, "2001:db8::1"));
}

TEST(IdentityTest, AnIpv6ClientIsItsHomeNetwork) {
  const auto policy = PolicyBy(Identify::By::kClientIp, "");
  const auto id = [&](std::string_view ip) {
    return std::string(Find(policy, With({}), ip).id_text());
  };
  EXPECT_EQ(id("2001:db8:1:2::1"), id("2001:db8:1:2:ffff::9"));
  EXPECT_NE(id("2001:db8:1:2::1"), id("2001:db8:1:3::1"));
  EXPECT_NE(id("192.0.2.1"), id("192.0.2.2"));
  EXPECT_EQ(id("192.0.2.1"), id("::ffff:192.0.2.1"));
}

TEST(IdentityTest, TheHashIsBase64UrlOf128Bits) {
  const auto ones = IdentityHash("", [](std::string_view) {
    std::array<uint8_t, 32> digest;
    digest.fill(0xff);
    return digest;
  });
  EXPECT_EQ(std::string_view(ones.data(), ones.size()), "_____________________w");
  const auto counted = IdentityHash("", [](std::string_view) {
    std::array<uint8_t, 32> digest{};
    for (size_t i = 0; i < 32; ++i) digest[i] = static_cast<uint8_t>(i);
    return digest;
  });
  EXPECT_EQ(std::string_view(counted.data(), counted.size()), "AAECAwQFBgcICQoLDA0ODw");
}

TEST(ApiKeysTest, DigestsAreHexInEitherCase) {
  const std::string hex = "00ff" + std::string(60, 'a');
  ASSERT_TRUE(ParseDigest(hex).has_value());
  EXPECT_EQ(DigestText(*ParseDigest(hex)), hex);
  EXPECT_EQ(ParseDigest("00FF" + std::string(60, 'A')), ParseDigest(hex));
  EXPECT_EQ(ParseDigest(hex.substr(1)), std::nullopt);
  EXPECT_EQ(ParseDigest("g" + hex.substr(1)), std::nullopt);
  ApiKeys keys;
  EXPECT_TRUE(keys.Add(*ParseDigest(hex), {0, "a"}));
  EXPECT_FALSE(keys.Add(*ParseDigest(hex), {1, "b"}));
  EXPECT_EQ(keys.Find(*ParseDigest(hex))->owner, "a");
}

}  // namespace
}  // namespace satchel::rules
