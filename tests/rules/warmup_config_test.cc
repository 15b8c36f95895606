// The warmup block.
#include <gtest/gtest.h>

#include <string>

#include "rules/check.h"
#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

constexpr char kRedis[] = "stores: {l2: {redis: \"redis://127.0.0.1:6379\"}}\n";

TEST(WarmupConfigTest, EveryKeyIsReadAndWrittenOut) {
  FakeLoader loader;
  loader.files["warm/plans.txt"] =
      "# the plans\n\nhttps://shop.test/plans\r\n  http://shop.test:81/plans?b=1&a  \n";
  const Config config = MustParse(
      Framed(std::string(kRedis) +
             "warmup:\n"
             "  - name: plans\n"
             "    urls: [warm/plans.txt, \"https://shop.test/\"]\n"
             "    headers: {Accept-Language: [en, de], Accept-Encoding: [gzip, br]}\n"
             "    at: [startup, \"*/30 * * * *\", \"@every 2h\"]\n"
             "    concurrency: 8\n"
             "    rate: 50/1s\n"
             "    max_bytes: 1MiB\n"
             "    max_time: 90s\n"
             "    ready_at: 80%\n"
             "    ready_timeout: 10s\n"
             "  - {name: peak, from: history, top: 20, at: \"50 8 * * *\"}\n"
             "  - {name: all, urls: \"https://shop.test/a\", all_variants: true, at: startup}\n"),
      loader);
  ASSERT_EQ(config.warmup.size(), 3u);
  const WarmupConfig& plans = config.warmup[0];
  EXPECT_EQ(plans.urls, (std::vector<std::string>{"https://shop.test/plans",
                                                  "http://shop.test:81/plans?b=1&a",
                                                  "https://shop.test/"}));
  ASSERT_EQ(plans.headers.size(), 2u);
  EXPECT_EQ(plans.headers[1].second, (std::vector<std::string>{"gzip", "br"}));
  EXPECT_TRUE(plans.at_startup);
  EXPECT_EQ(plans.at.size(), 2u);
  EXPECT_EQ(plans.concurrency, 8u);
  EXPECT_EQ(plans.rate.first, 50u);
  EXPECT_EQ(plans.max_bytes, uint64_t{1} << 20);
  EXPECT_EQ(plans.max_time, std::chrono::seconds(90));
  EXPECT_DOUBLE_EQ(plans.ready_at, 0.8);
  EXPECT_EQ(plans.ready_timeout, std::chrono::seconds(10));
  EXPECT_TRUE(config.warmup[1].history);
  EXPECT_EQ(config.warmup[1].top, 20u);
  EXPECT_FALSE(config.warmup[1].at_startup);
  EXPECT_TRUE(config.warmup[2].all_variants);
  const std::string text = EffectiveYaml(config);
  for (const char* part :
       {"- name: \"plans\"", "urls: [\"https://shop.test/plans\", ",
        "headers: {\"Accept-Language\": [\"en\", \"de\"], \"Accept-Encoding\": [\"gzip\", \"br\"]}",
        "at: [\"startup\", \"*/30 * * * *\", \"@every 2h\"]", "rate: 50/1s", "max_bytes: 1MiB",
        "max_time: 90s", "ready_at: 80%", "ready_timeout: 10s", "from: history", "top: 20",
        "all_variants: true"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(WarmupConfigTest, DefaultsAreThoseOfTheDocumentation) {
  const Config config =
      MustParse(Framed("warmup: [{name: a, urls: \"https://shop.test/\", at: startup}]\n"));
  const WarmupConfig& entry = config.warmup[0];
  EXPECT_EQ(entry.concurrency, 4u);
  EXPECT_EQ(entry.rate.first, 20u);
  EXPECT_EQ(entry.rate.second, std::chrono::seconds(1));
  EXPECT_EQ(entry.max_bytes, uint64_t{64} << 20);
  EXPECT_EQ(entry.max_time, std::chrono::minutes(5));
  EXPECT_EQ(entry.ready_at, 0);
  EXPECT_EQ(entry.ready_timeout, std::chrono::seconds(30));
  EXPECT_TRUE(MustParse(Framed("")).warmup.empty());
}

TEST(WarmupConfigTest, AllMistakesComeAtOnceWithTheirPlaces) {
  FakeLoader loader;
  loader.files["bad.txt"] = "https://shop.test/\n  shop.test/a\n";
  loader.files["empty.txt"] = "# nothing\n";
  const std::string all = ErrorsOf(
      Framed("warmup:\n"
             "  - {name: a, urls: bad.txt, at: startup}\n"
             "  - {name: b, urls: none.txt, at: startup}\n"
             "  - {name: c, urls: empty.txt, at: startup}\n"
             "  - {name: d, urls: [], at: []}\n"
             "  - {name: d, from: history, at: startup, headers: {Accept: [a]}, all_variants: true}\n"
             "  - {name: e, at: noon}\n"
             "  - {name: f, urls: \"https://a.test/\", from: history, at: startup}\n"
             "  - {urls: \"https:///\", at: startup, top: 5}\n"
             "  - {name: g, urls: \"https://a.test/\", headers: {Cookie: [a], \"X Y\": [b], "
             "Accept: []}, at: startup}\n"
             "  - {name: h, urls: \"https://a.test/\", at: \"0 0 * * *\", ready_at: 50%, rate: 5}\n"
             "  - {name: i, urls: \"https://a.test/\", at: startup, headers: {Accept: [a]}, "
             "all_variants: true, ready_at: 101%, concurrency: 0, max_bytes: 0, when: now}\n"),
      loader);
  for (const char* part :
       {"bad.txt:2:3: warmup[0].urls: \"shop.test/a\" is no URL; write https://host/path",
        "warmup[1].urls: cannot read \"none.txt\": no such file",
        "warmup[2].urls: names no URL; write one a line",
        "warmup[3].urls: is empty; write [\"https://host/path\"]", "warmup[3].at: is empty",
        "\"d\" names another warm-up already",
        "warmup[4]: from: history is kept in Redis, and there is none",
        "headers goes with urls", "all_variants goes with urls",
        "warmup[5].at: \"noon\" is no time; write five fields",
        "warmup[5]: names no requests, or both kinds", "warmup[6]: names no requests, or both kinds",
        "warmup[7]: \"name\" is missing", "\"https:///\" is no URL", "top goes with from: history",
        "\"Cookie\" may not be sent to warm by", "\"X Y\" is not the name of a field",
        "warmup[8].headers.Accept: is empty", "ready_at and ready_timeout go with at: startup",
        "warmup[9].rate", "has both headers and all_variants", "warmup[10].ready_at",
        "warmup[10].concurrency", "warmup[10].max_bytes", "warmup[10].when"}) {
    EXPECT_NE(all.find(part), std::string::npos) << part << "\n" << all;
  }
}

TEST(WarmupConfigTest, ListsAndCombinationsHaveBounds) {
  const auto with_urls = [](int count) {
    FakeLoader loader;
    for (int i = 0; i < count; ++i) loader.files["l"] += "https://a.test/" + std::to_string(i) + "\n";
    return ErrorsOf(Framed("warmup: [{name: a, urls: l, at: startup}]\n"), loader);
  };
  EXPECT_EQ(with_urls(10'000), "");
  EXPECT_NE(with_urls(10'001).find("l:10001:1: warmup[0].urls: is one URL too many"),
            std::string::npos);
  const auto with_values = [](const std::string& first, const std::string& second) {
    return ErrorsOf(Framed("warmup: [{name: a, urls: \"https://a.test/\", at: startup, headers: "
                           "{Accept: [" + first + "], Accept-Language: [" + second + "]}}]\n"));
  };
  const std::string eight = "a, b, c, d, e, f, g, h";
  EXPECT_EQ(with_values(eight, eight), "");
  EXPECT_NE(with_values(eight, eight + ", i").find("more than 64 combinations"), std::string::npos);
}

}  // namespace
}  // namespace satchel::rules
