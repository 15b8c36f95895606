#include "proxy/warm_recipe.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/proxy/snapshot_of.h"

namespace satchel::proxy {
namespace {

// One rule of these keys.
SnapshotPtr Compile(const std::string& rule, const std::string& rest = "") {
  return SnapshotOf("rules: [{name: r" + (rule.empty() ? "" : ", " + rule) + "}]\n" + rest);
}

struct Asked {
  std::string target = "/a?b=1";
  std::vector<std::pair<std::string, std::string>> fields{};
  std::vector<std::string> vary{};
  bool star = false;
  cache::Method method = cache::Method::kGet;
};

std::string Recipe(const SnapshotPtr& snapshot, const Asked& asked) {
  cache::RequestHead head;
  head.method = asked.method;
  head.scheme = "https";
  head.authority = "shop.test";
  head.target = asked.target;
  for (const auto& [name, value] : asked.fields) head.fields.Add(name, value);
  cache::VarySpec vary;
  vary.names = asked.vary;
  vary.star = asked.star;
  const auto recipe = RecipeOf(*snapshot, snapshot->rules.rules()[0], head, vary);
  return recipe ? recipe->ToText() : "none";
}

TEST(WarmRecipeTest, TheUrlAndWhatTheAnswerDependsOnAreKept) {
  const SnapshotPtr plain = Compile("");
  EXPECT_EQ(Recipe(plain, {}), "1 GET https://shop.test/a?b=1");
  EXPECT_EQ(Recipe(plain, {.fields = {{"Accept-Language", "de, en"}, {"User-Agent", "x"}},
                           .vary = {"accept-encoding", "accept-language"}}),
            "1 GET https://shop.test/a?b=1\naccept-language: de, en");
  const SnapshotPtr keyed = Compile("cache: {key: {headers: [X-Tenant]}}");
  EXPECT_EQ(Recipe(keyed, {.fields = {{"x-tenant", "7"}, {"Accept", "a/b"}}, .vary = {"accept"}}),
            "1 GET https://shop.test/a?b=1\naccept: a/b\nx-tenant: 7");
  const SnapshotPtr normal = Compile("cache: {normalize: {Accept-Language: [en, de]}}");
  EXPECT_EQ(Recipe(normal, {.fields = {{"Accept-Language", "de-CH;q=0.9, de;q=0.8, fr;q=0.1"}},
                            .vary = {"accept-language"}}),
            "1 GET https://shop.test/a?b=1\naccept-language: de");
}

TEST(WarmRecipeTest, NothingThatDependsOnCredentialsIsKept) {
  const SnapshotPtr plain = Compile("");
  EXPECT_EQ(Recipe(plain, {.fields = {{"Authorization", "Bearer s3cret"}}}), "none");
  EXPECT_EQ(Recipe(plain, {.fields = {{"Cookie", "sid=s3cret"}}, .vary = {"cookie"}}), "none");
  EXPECT_EQ(Recipe(plain, {.fields = {{"X-API-Key", "s3cret"}}, .vary = {"x-api-key"}}), "none");
  // A cookie that the answer does not depend on is left out; so is the key of who asked.
  EXPECT_EQ(Recipe(plain, {.fields = {{"Cookie", "sid=s3cret"}, {"X-API-Key", "s3cret"}}}),
            "1 GET https://shop.test/a?b=1");
  // Without a cookie the answer for those who have none is meant.
  EXPECT_EQ(Recipe(plain, {.vary = {"cookie"}}), "1 GET https://shop.test/a?b=1");
  EXPECT_EQ(Recipe(Compile("cache: {key: {cookies: [sid]}}"), {}), "none");
  EXPECT_EQ(Recipe(Compile("cache: {shared: per_key, key: {headers: [X-User]}}"), {}), "none");
  EXPECT_EQ(Recipe(Compile("cache: false"), {}), "none");
}

TEST(WarmRecipeTest, WhatTheConfigurationCallsASecretIsNotKept) {
  const SnapshotPtr limited = Compile(
      "", "plans: {free: {limits: [{rate: 10/1s}]}}\n"
          "rate_limits: [{name: api, identify: {all_of: [{query: api_key}, {header: X-Customer}]}, default_plan: free}]\n"
          "log: {redact: [X-Session, token]}\n");
  EXPECT_EQ(Recipe(limited, {.target = "/a?api_key=s3cret"}), "none");
  EXPECT_EQ(Recipe(limited, {.target = "/a?x=1&api%5Fkey=s3cret"}), "none");
  EXPECT_EQ(Recipe(limited, {.target = "/a?Token=s3cret"}), "none");
  EXPECT_EQ(Recipe(limited, {.fields = {{"X-Customer", "s"}}, .vary = {"x-customer"}}), "none");
  EXPECT_EQ(Recipe(limited, {.fields = {{"x-session", "s"}}, .vary = {"x-session"}}), "none");
  EXPECT_EQ(Recipe(limited, {.target = "/a?keys=1"}), "1 GET https://shop.test/a?keys=1");
  // Whoever wrote it: what is secret by our configuration is not sent.
  const auto hostile = WarmRequest::FromText("1 GET https://shop.test/\nx-customer: 7");
  ASSERT_TRUE(hostile);
  EXPECT_TRUE(HasSecrets(*limited, *hostile));
  EXPECT_FALSE(HasSecrets(*Compile(""), *hostile));
}

TEST(WarmRecipeTest, WhatAGetAloneDoesNotBringIsNotKept) {
  const SnapshotPtr plain = Compile("");
  EXPECT_EQ(Recipe(plain, {.star = true}), "none");
  EXPECT_EQ(Recipe(plain, {.method = cache::Method::kHead}), "none");
  EXPECT_EQ(Recipe(plain, {.method = cache::Method::kPost}), "none");
  EXPECT_EQ(Recipe(plain, {.fields = {{"Range", "bytes=0-1"}}, .vary = {"range"}}), "none");
  EXPECT_EQ(Recipe(plain, {.fields = {{"X-Forwarded-Proto", "https"}}, .vary = {"x-forwarded-proto"}}),
            "none");
}

TEST(WarmRecipeTest, ARecipeHasBounds) {
  const SnapshotPtr plain = Compile("");
  const std::string head = "1 GET https://shop.test";
  const std::string longest = "/" + std::string(WarmRequest::kMaxText - head.size() - 1, 'a');
  EXPECT_EQ(Recipe(plain, {.target = longest}), head + longest);
  EXPECT_EQ(Recipe(plain, {.target = longest + "a"}), "none");
  Asked many;
  for (int i = 0; i < 8; ++i) {
    many.vary.push_back("x-" + std::to_string(i));
    many.fields.emplace_back(many.vary.back(), "v");
  }
  EXPECT_NE(Recipe(plain, many), "none");
  many.vary.emplace_back("x-9");
  many.fields.emplace_back("x-9", "v");
  EXPECT_EQ(Recipe(plain, many), "none");
}

TEST(WarmRecipeTest, WhatOthersWroteIsReadOnlyIfItCouldBeOurs) {
  const auto reads = [](std::string_view text) {
    const auto request = WarmRequest::FromText(text);
    return request && request->ToText() == text;
  };
  EXPECT_TRUE(reads("1 GET http://a.test/"));
  EXPECT_TRUE(reads("1 GET http://a.test:81/b?c\naccept: d\naccept-language: "));
  for (const char* text :
       {"", "1 GET ", "2 GET http://a.test/", "1 POST http://a.test/", "1 GET /a", "1 GET ftp://a.test/",
        "1 GET http://A.test/", "1 GET http://a.test:80/", "1 GET http://u:p@a.test/",
        "1 GET http://a.test/ b", "1 GET http://a.test/#b", "1 GET http://a.test/\n",
        "1 GET http://a.test/\naccept", "1 GET http://a.test/\naccept:x", "1 GET http://a.test/\nAccept: x",
        "1 GET http://a.test/\naccept:  x", "1 GET http://a.test/\naccept: x\r", "1 GET http://a.test/\nb: 1\na: 2",
        "1 GET http://a.test/\na: 1\na: 2", "1 GET http://a.test/\ncookie: a=b",
        "1 GET http://a.test/\nauthorization: x", "1 GET http://a.test/\nhost: b", "1 GET http://a.test/\nrange: x",
        "1 GET http://a.test/\nif-none-match: x", "1 GET http://a.test/\ntransfer-encoding: chunked",
        "1 GET http://a.test/\ncontent-length: 5", "1 GET http://a.test/\nx-forwarded-for: 1.2.3.4",
        "1 GET http://a.test/\n: x"}) {
    EXPECT_FALSE(WarmRequest::FromText(text)) << text;
  }
}

TEST(WarmRecipeTest, CombinationsAreAllAndBounded) {
  const auto uri = *cache::ParseHttpUri("https://shop.test/");
  const auto all = Combine(uri, {{"Accept-Language", {"en", "de"}}, {"Accept-Encoding", {"gzip", ""}}});
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].ToText(), "1 GET https://shop.test/\naccept-encoding: gzip\naccept-language: en");
  EXPECT_EQ(all[3].ToText(), "1 GET https://shop.test/\naccept-encoding: \naccept-language: de");
  EXPECT_EQ(Combine(uri, {}).size(), 1u);
  std::vector<std::string> nine(9, "v");
  EXPECT_EQ(Combine(uri, {{"A", nine}, {"B", nine}}).size(), kMaxCombinations);
  const cache::RequestHead head = all[0].Head();
  EXPECT_EQ(head.method, cache::Method::kGet);
  EXPECT_EQ(head.fields.First("Accept-Language"), "en");
}

}  // namespace
}  // namespace satchel::proxy
