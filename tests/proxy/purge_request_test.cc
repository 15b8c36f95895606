#include "proxy/purge_request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/purge_events.h"
#include "proxy/purge_targets.h"
#include "rules/config.h"

namespace satchel::proxy {
namespace {

using cache::PurgeRecord;

rules::RuleSet Rules(std::vector<rules::Rule> rules) {
  return std::move(*rules::RuleSet::Build(std::move(rules), {}));
}

rules::Rule Named(const std::string& name) {
  rules::Rule rule;
  rule.name = name;
  return rule;
}

cache::RequestHead Purge(std::vector<std::pair<std::string, std::string>> fields = {}) {
  cache::RequestHead head;
  head.method_text = "PURGE";
  head.scheme = "https";
  head.authority = "shop.test";
  head.target = "/a?b=1";
  for (const auto& [name, value] : fields) head.fields.Add(name, value);
  return head;
}

TEST(PurgeRequestTest, EveryMemberOfTheJsonIsRead) {
  const auto request = PurgeRequest::FromJson(
      R"({"urls": ["https://a/1"], "tags": "t", "prefixes": ["https://a/"], "rules": ["r"],
          "hosts": ["a"], "all": true, "soft": true, "refresh": true, "wait": false})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->urls, std::vector<std::string>{"https://a/1"});
  EXPECT_EQ(request->tags, std::vector<std::string>{"t"});
  EXPECT_TRUE(request->all && request->soft && request->refresh);
  EXPECT_FALSE(request->wait);
  EXPECT_EQ(request->Describe(),
            "everything; urls https://a/1; tags t; prefixes https://a/; rules r; hosts a");
}

TEST(PurgeRequestTest, TooManyNamesAtOnceAreRefused) {
  const auto json = [](size_t count) {
    std::string text = "{\"tags\": [";
    for (size_t i = 0; i < count; ++i) text += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + "\"";
    return text + "]}";
  };
  EXPECT_TRUE(PurgeRequest::FromJson(json(PurgeRequest::kMaxNames)));
  EXPECT_FALSE(PurgeRequest::FromJson(json(PurgeRequest::kMaxNames + 1)));
}

TEST(PurgeRequestTest, TheMethodNamesItsUrlUnlessItSaysOtherwise) {
  const auto plain = PurgeRequest::FromHead(Purge());
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->urls, std::vector<std::string>{"https://shop.test/a?b=1"});
  EXPECT_TRUE(plain->wait);
  const auto tags =
      PurgeRequest::FromHead(Purge({{"Surrogate-Key", "a  b"}, {"Cache-Tag", "c d, e"}}));
  ASSERT_TRUE(tags);
  EXPECT_TRUE(tags->urls.empty());
  EXPECT_EQ(tags->tags, (std::vector<std::string>{"a", "b", "c d", "e"}));
  const auto host = PurgeRequest::FromHead(Purge({{"satchel-purge", "host, soft"}, {"Satchel-Purge", "no-wait"}}));
  ASSERT_TRUE(host);
  EXPECT_EQ(host->hosts, std::vector<std::string>{"shop.test"});
  EXPECT_TRUE(host->soft && host->urls.empty() && !host->wait);
  EXPECT_FALSE(PurgeRequest::FromHead(Purge({{"Satchel-Purge", "everything"}})));
}

TEST(PurgeRequestTest, AGrantHasToCoverAllOfIt) {
  rules::PurgeConfig config;
  config.allow.push_back({.from = {*rules::ParseIpPrefix("10.0.0.0/8")}});
  rules::PurgeConfig::Grant token;
  token.token = "secret";
  token.all = token.host = token.prefix = token.rule = false;
  config.allow.push_back(token);
  const auto allowed = [&](const char* ip, const char* authorization, const char* json) {
    return FindGrant(config, rules::ParseIp(ip), authorization, *PurgeRequest::FromJson(json)) !=
           nullptr;
  };
  EXPECT_TRUE(allowed("10.1.2.3", "", R"({"all": true})"));
  EXPECT_FALSE(allowed("11.1.2.3", "", R"({"tags": "a"})"));
  EXPECT_TRUE(allowed("11.1.2.3", "Bearer secret", R"({"tags": "a", "urls": "http://a/"})"));
  EXPECT_TRUE(allowed("11.1.2.3", "bearer  secret ", R"({"tags": "a"})"));
  EXPECT_FALSE(allowed("11.1.2.3", "Bearer secret", R"({"tags": "a", "all": true})"));
  EXPECT_FALSE(allowed("11.1.2.3", "Bearer secre", R"({"tags": "a"})"));
  EXPECT_FALSE(allowed("11.1.2.3", "Basic secret", R"({"tags": "a"})"));
  EXPECT_FALSE(FindGrant(config, std::nullopt, "", *PurgeRequest::FromJson(R"({"tags": "a"})")));
}

TEST(PurgeRequestTest, AUrlIsPurgedUnderTheKeyOfItsRule) {
  rules::Rule rule = Named("r");
  rule.key.query_deny = {"utm_*"};
  rule.key.headers = {"X-Team"};
  const auto rules = Rules({rule});
  const auto plan = PlanOf(
      *PurgeRequest::FromJson(R"({"urls": "https://SHOP.test:443/a?utm_x=1&b=2", "refresh": true})"),
      rules);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->order.records,
            std::vector<PurgeRecord>{PurgeRecord::Url("https://shop.test/a?b=2", false)});
  ASSERT_EQ(plan->refresh.uris.size(), 1u);
  EXPECT_EQ(plan->refresh.uris[0].target, "/a?utm_x=1&b=2");
}

TEST(PurgeRequestTest, APrefixReachesKeysWithoutSchemeOrHost) {
  rules::Rule plain = Named("a");
  rules::Rule anywhere = Named("b");
  anywhere.key.scheme = anywhere.key.host = false;
  const auto rules = Rules({plain, anywhere});
  const auto plan = PlanOf(*PurgeRequest::FromJson(R"({"prefixes": "https://a/x"})"), rules);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->order.records,
            (std::vector<PurgeRecord>{PurgeRecord::Prefix("https://a/x", false),
                                      PurgeRecord::Prefix(":///x", false)}));
}

TEST(PurgeRequestTest, TheReportTellsWhatCameOfIt) {
  PurgeRequest request;
  request.soft = true;
  PurgeAnswer answer;
  answer.sequence = 7;
  EXPECT_EQ(Report(request, answer).json, "{\"mode\":\"soft\",\"sequence\":7,\"shared\":true}\n");
  answer.shared = false;
  answer.error = "away";
  EXPECT_EQ(Report(request, answer).status, 202);
  EXPECT_EQ(Report(request, answer).json,
            "{\"mode\":\"soft\",\"sequence\":7,\"shared\":false,\"error\":\"away\"}\n");
}

// ---- Messages of applications

rules::PurgeConfig Events() {
  rules::PurgeConfig config;
  config.events = {{"user",
                    {*rules::TagTemplate::Compile("user:{id}"),
                     *rules::TagTemplate::Compile("team:{team_id}:members")}}};
  return config;
}

TEST(PurgeEventsTest, AnEntityNamesItsTags) {
  const auto tags = [](std::string_view message) {
    const auto request = RequestOfEvent(Events(), message);
    return request ? request->tags : std::vector<std::string>{"refused"};
  };
  EXPECT_EQ(tags(R"({"entity": "user", "id": "7", "action": "update"})"),
            std::vector<std::string>{"user:7"});
  EXPECT_EQ(tags(R"({"entity": "user", "id": 7, "team_id": 3})"),
            (std::vector<std::string>{"user:7", "team:3:members"}));
  EXPECT_EQ(tags(R"({"tags": ["direct"]})"), std::vector<std::string>{"direct"});
  for (const char* message : {"", "[]", "{}", R"({"entity": 1})", R"({"entity": "order"})",
                              R"({"entity": "user"})", R"({"entity": "user", "id": null})",
                              R"({"entity": "user", "id": {}})"}) {
    EXPECT_EQ(tags(message), std::vector<std::string>{"refused"}) << message;
  }
  EXPECT_FALSE(RequestOfEvent(Events(), std::string(70'000, ' ')));
}

// ---- What unsafe requests purge

TEST(PurgeTargetsTest, ASuccessPurgesWhatTheRuleAndTheAnswerSay) {
  rules::Rule write = Named("write");
  write.on_success.purge_tags = {*rules::TagTemplate::Compile("team:{request.header.X-Team}"),
                                 *rules::TagTemplate::Compile("none:{response.header.X-None}")};
  write.on_success.purge_urls = {*rules::TagTemplate::Compile("/list")};
  write.on_success.refresh = true;
  const auto rules = Rules({write});
  cache::RequestHead request = Purge({{"X-Team", "blue"}});
  request.method = cache::Method::kPut;
  request.method_text = "PUT";
  cache::ResponseHead response;
  response.status = 200;
  response.fields.Add("Location", "/made");
  response.fields.Add("Cache-Group-Invalidation", "\"g\"");
  const OwnPurges purges = PurgedBy(rules, rules.rules()[0], request, response);
  EXPECT_EQ(purges.records,
            (std::vector<PurgeRecord>{PurgeRecord::Url("https://shop.test/a?b=1", false),
                                      PurgeRecord::Url("https://shop.test/made", false),
                                      PurgeRecord::Group("https", "shop.test", "g", false),
                                      PurgeRecord::Tag("team:blue", true),
                                      PurgeRecord::Url("https://shop.test/list", true)}));
  EXPECT_EQ(purges.refresh.uris.size(), 3u);
  EXPECT_EQ(purges.refresh.records, std::vector{PurgeRecord::Tag("team:blue", true)});
  response.status = 500;
  EXPECT_TRUE(PurgedBy(rules, rules.rules()[0], request, response).records.empty());
}

}  // namespace
}  // namespace satchel::proxy
