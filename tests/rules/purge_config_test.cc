// tags, tags_from_json, on_success and the purge block.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "cache/tags.h"
#include "rules/check.h"
#include "rules/rule_set.h"
#include "rules/tag_template.h"
#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

constexpr char kHead[] =
    "version: 1\n"
    "listeners: [{name: web, address: \":8080\"}]\n"
    "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n"
    "stores: {l2: {redis: \"redis://127.0.0.1:6379\"}}\n";

ParseResult Parse(const std::string& rest) {
  const FakeLoader loader;
  return ParseConfig(kHead + rest, "a.yaml", loader);
}

// The first mistake, without its place.
std::string Mistake(const std::string& rest) {
  const ParseResult result = Parse(rest);
  return result.errors.empty() ? "none" : result.errors[0].path + ": " + result.errors[0].what;
}

std::string Rule(const std::string& path, const std::string& keys) {
  return "rules: [{name: r, match: {path: \"" + path + "\"}, " + keys + "}]\n";
}

TEST(TagTemplateTest, VariablesAreFilledIn) {
  cache::RequestHead request;
  request.authority = "shop.test:81";
  request.target = "/p/7?lat=1&lon=%32";
  request.fields.Add("X-Team", "blue");
  cache::HeaderMap response;
  response.Add("X-Category", "shoes");
  Captures captures;
  captures.size = 1;
  captures.names[0] = "id";
  captures.values[0] = "7";
  const auto fill = [&](std::string_view text) {
    std::string out;
    const auto made = TagTemplate::Compile(text);
    return made && made->Fill(request, captures, &response, &out) ? out : "none";
  };
  EXPECT_EQ(fill("plain"), "plain");
  EXPECT_EQ(fill("product:{id}"), "product:7");
  EXPECT_EQ(fill("geo:{query.lat},{query.lon}"), "geo:1,2");
  EXPECT_EQ(fill("{request.header.x-team}/{response.header.X-Category}@{host}"),
            "blue/shoes@shop.test:81");
  EXPECT_EQ(fill("geo:{query.other}"), "none");  // no such tag then
  EXPECT_EQ(fill("{response.header.X-None}"), "none");
}

TEST(TagTemplateTest, WhatCannotBeFilledIsRefused) {
  for (const char* text : {"", "{id", "id}", "{}", "{a b}", "{response.header.}", "{response.x}",
                           "a\nb", "{query.}"}) {
    EXPECT_FALSE(TagTemplate::Compile(text)) << text;
  }
}

TEST(PurgeConfigTest, EveryKeyIsReadAndWrittenOut) {
  const ParseResult result = Parse(
      Rule("/p/{id}", "cache: {tags: [\"product:{id}\", all], tags_from_json: [\"/a/*/id\"]}, "
                      "on_success: {purge_tags: [\"product:{id}\"], purge_urls: [\"/p/{id}\"], "
                      "mode: hard, refresh: true}") +
      "purge:\n"
      "  allow: [{from: [10.0.0.0/8], token: s3cret, may: [url, tag]}]\n"
      "  channel: \"cache:invalidate\"\n"
      "  events: {user: [\"user:{id}\"]}\n"
      "  ack: 250ms\n"
      "  refresh_rate: 7\n");
  ASSERT_TRUE(result.config) << (result.errors.empty() ? "" : result.errors[0].ToString());
  const PurgeConfig& purge = result.config->purge;
  ASSERT_EQ(purge.allow.size(), 1u);
  EXPECT_TRUE(purge.allow[0].url && purge.allow[0].tag);
  EXPECT_FALSE(purge.allow[0].prefix || purge.allow[0].rule || purge.allow[0].host ||
               purge.allow[0].all);
  EXPECT_EQ(purge.ack, Millis(250));
  EXPECT_EQ(purge.refresh_rate, 7u);
  const OnSuccess& success = result.config->rules[0].on_success;
  EXPECT_FALSE(success.soft);
  EXPECT_TRUE(success.refresh);
  const std::string text = EffectiveYaml(*result.config);
  EXPECT_EQ(text.find("s3cret"), std::string::npos);
  for (const char* part :
       {"tags: [\"product:{id}\", \"all\"]", "tags_from_json: [\"/a/*/id\"]",
        "purge_urls: [\"/p/{id}\"], mode: hard, refresh: true", "from: [\"10.0.0.0/8\"], token: \"***\"",
        "channel: \"cache:invalidate\"", "events: {\"user\": [\"user:{id}\"]}", "ack: 250ms",
        "refresh_rate: 7", "incoherent_ttl: 1s"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(PurgeConfigTest, WithoutABlockLoopbackMayPurgeEverything) {
  const ParseResult result = Parse("");
  ASSERT_TRUE(result.config);
  ASSERT_EQ(result.config->purge.allow.size(), 1u);
  EXPECT_EQ(result.config->purge.allow[0].from.size(), 2u);
  EXPECT_TRUE(result.config->purge.allow[0].all);
  EXPECT_EQ(result.config->purge.ack, Millis(500));
}

TEST(PurgeConfigTest, MistakesSayWhatToWriteInstead) {
  const auto says = [](const std::string& rest, const std::string& what) {
    EXPECT_NE(Mistake(rest).find(what), std::string::npos) << rest << "\n" << Mistake(rest);
  };
  says(Rule("/p", "cache: {tags: [\"product:{id}\"]}"), "{id} is not captured by every match.path");
  says(Rule("/p", "cache: {tags: [\"{id\"]}"), "has { without }");
  says(Rule("/p", "cache: {tags_from_json: [\"id\"]}"), "write /id");
  says(Rule("/p", "on_success: {mode: hard}"), "does nothing");
  says(Rule("/p", "on_success: {purge_tags: [a], mode: weak}"), "soft or hard");
  says(Rule("/p", "on_success: {purge_urls: [\"p\"]}"), "is no URL");
  says(Rule("/p", "on_success: {purge_tags: [a], store_for_get: true}"), "store_for_get");
  says("purge: {allow: [{may: [url]}]}", "allows everybody");
  says("purge: {allow: [{from: [all]}]}", "is no address");
  says("purge: {allow: [{token: t, may: [urls]}]}", "write url, tag, prefix, rule, host or all");
  says("purge: {events: {user: [\"user:{id}\"]}}", "no channel");
  says("purge: {channel: c, events: {user: [\"user:{query.id}\"]}}", "a message does not have");
  says("purge: {ack: 10s}", "ack");
  says("stores: {l1: {incoherent_ttl: 10ms}}", "stores");
}

TEST(PurgeConfigTest, ATagThatUsesWhatTheKeyDropsIsWarnedOf) {
  const auto warned = [](const std::string& key) {
    const ParseResult result =
        Parse(Rule("/p", "cache: {tags: [\"geo:{query.lat}\"], key: {query: {" + key + "}}}"));
    return std::any_of(result.warnings.begin(), result.warnings.end(), [](const Diagnostic& warning) {
      return warning.what.find("which the key drops") != std::string::npos;
    });
  };
  EXPECT_TRUE(warned("deny: [lat]"));
  EXPECT_TRUE(warned("allow: [lon]"));
  EXPECT_FALSE(warned("allow: [lat]"));
  EXPECT_FALSE(warned("allow: [\"l*\"]"));
  EXPECT_FALSE(warned("deny: [utm]"));
}

TEST(PurgeConfigTest, RulesCarryTheNumberOfTheirName) {
  const ParseResult result = Parse(Rule("/p", "cache: {ttl: 1s}"));
  ASSERT_TRUE(result.config);
  const auto set = RuleSet::Build(result.config->rules, {});
  ASSERT_TRUE(set);
  EXPECT_EQ(set->rules()[0].cache.rule, cache::RuleTag("r"));
}

TEST(PurgeConfigTest, AScheduleIsReadAndWrittenOut) {
  const ParseResult result = Parse(
      "purge:\n"
      "  schedule:\n"
      "    - {name: nightly, at: [\"0 3 * * *\", \"@every 2h\"], tags: prices, mode: soft}\n"
      "    - {name: pages, at: \"*/5 * * * mon-fri\", urls: [\"https://shop.test/a\"], refresh: true,\n"
      "       prefixes: [\"https://shop.test/b/\"], rules: default, hosts: [\"shop.test:81\"]}\n"
      "    - {name: all, at: \"0 0 1 * *\", all: true}\n");
  ASSERT_TRUE(result.config) << (result.errors.empty() ? "" : result.errors[0].ToString());
  const auto& schedule = result.config->purge.schedule;
  ASSERT_EQ(schedule.size(), 3u);
  EXPECT_EQ(schedule[0].at.size(), 2u);
  EXPECT_TRUE(schedule[0].soft);
  EXPECT_FALSE(schedule[1].soft);  // as purges by hand
  EXPECT_TRUE(schedule[2].all);
  const std::string text = EffectiveYaml(*result.config);
  for (const char* part :
       {"- {name: \"nightly\", at: [\"0 3 * * *\", \"@every 2h\"], tags: [\"prices\"], mode: soft, "
        "refresh: false}",
        "urls: [\"https://shop.test/a\"], prefixes: [\"https://shop.test/b/\"], rules: [\"default\"], "
        "hosts: [\"shop.test:81\"], mode: hard, refresh: true}",
        "all: true, mode: hard"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(PurgeConfigTest, AllMistakesOfAScheduleComeAtOnceWithTheirPlaces) {
  const FakeLoader loader;
  const ParseResult result = ParseConfig(std::string(kHead) +
                                             "purge:\n"
                                             "  schedule:\n"
                                             "    - {name: a b, at: \"0 25 * * *\", tags: x}\n"
                                             "    - {name: n, at: [], all: false}\n"
                                             "    - {name: n, at: \"@every 1ms\", rules: none}\n"
                                             "    - {at: \"* * * * *\", urls: /a, prefixes: a, hosts: \"b c\"}\n"
                                             "    - {name: r, at: \"* * * * *\", tags: x, refresh: true}\n"
                                             "    - {name: s, tags: x, when: now}\n",
                                         "a.yaml", loader);
  std::string all;
  for (const Diagnostic& error : result.errors) all += error.ToString() + "\n";
  for (const char* part :
       {"a.yaml:7:14: purge.schedule[0].name: \"a b\" is not a name",
        "a.yaml:7:23: purge.schedule[0].at: \"0 25 * * *\" has no valid hour; write 0 to 23",
        "purge.schedule[1].at: is empty", "a.yaml:8:7: purge.schedule[1]: purges nothing; write urls",
        "purge.schedule[2].name: \"n\" names another scheduled purge already",
        "\"@every 1ms\" is too often; write @every 1s", "\"none\" names no rule",
        "purge.schedule[3]: \"name\" is missing", "\"/a\" is no URL", "\"a\" is no beginning of a URL",
        "\"b c\" is no host", "a.yaml:11:7: purge.schedule[4]: refresh is of urls",
        "purge.schedule[5]: \"at\" is missing", "purge.schedule[5].when"}) {
    EXPECT_NE(all.find(part), std::string::npos) << part << "\n" << all;
  }
}

TEST(PurgeConfigTest, AScheduleHasBounds) {
  const auto with = [](int entries, int times) {
    std::string text = "purge:\n  schedule:\n";
    for (int i = 0; i < entries; ++i) {
      text += "    - {name: n" + std::to_string(i) + ", all: true, at: [\"* * * * *\"";
      for (int j = 1; j < times; ++j) text += ", \"* * * * *\"";
      text += "]}\n";
    }
    return Mistake(text);
  };
  EXPECT_EQ(with(100, 1), "none");
  EXPECT_NE(with(101, 1).find("more than 100 entries"), std::string::npos);
  EXPECT_EQ(with(1, 32), "none");
  EXPECT_NE(with(1, 33).find("more than 32 times"), std::string::npos);
}

}  // namespace
}  // namespace satchel::rules
