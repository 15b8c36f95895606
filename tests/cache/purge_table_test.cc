#include "cache/purge_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace satchel::cache {
namespace {

constexpr std::string_view kKey = "https://shop.test/products/7?a=1\nc3:sid=4:abcd";

struct Subject {
  std::string key = std::string(kKey);
  std::vector<TagId> tags = {};
  std::string rule = "products";
  PurgeSubject get() const { return {key, tags, RuleTag(rule)}; }
};

Fate FateOf(const PurgeTable& table, const Subject& subject = {}, uint64_t since = 10) {
  return table.Judge(subject.get(), since).fate;
}

PurgeTable With(const PurgeRecord& record, uint64_t sequence = 11) {
  PurgeTable table;
  table.Apply(record, sequence);
  return table;
}

TEST(PurgeTableTest, EveryKindHitsWhatItNamesAndNothingElse) {
  const struct {
    PurgeRecord hits;
    PurgeRecord misses;
  } cases[] = {
      {PurgeRecord::Url("https://shop.test/products/7?a=1", false),
       PurgeRecord::Url("https://shop.test/products/7", false)},
      {PurgeRecord::Tag("product:7", false), PurgeRecord::Tag("product:77", false)},
      {PurgeRecord::Group("https", "shop.test", "g", false),
       PurgeRecord::Group("https", "other.test", "g", false)},
      {PurgeRecord::Prefix("https://shop.test/pro", false),
       PurgeRecord::Prefix("https://shop.test/prx", false)},
      {PurgeRecord::Rule("products", false), PurgeRecord::Rule("pages", false)},
      {PurgeRecord::Host("shop.test", false), PurgeRecord::Host("shop.test:80", false)},
      {PurgeRecord::All(false), PurgeRecord::Tag("*", false)},
  };
  TagSet tags;
  tags.Add("product:7");
  tags.AddId(GroupTag("https", "shop.test", "g"));
  const Subject subject{.tags = tags.ids()};
  for (const auto& c : cases) {
    EXPECT_EQ(FateOf(With(c.hits), subject), Fate::kGone) << c.hits.ToText();
    EXPECT_EQ(FateOf(With(c.misses), subject), Fate::kValid) << c.misses.ToText();
    PurgeRecord soft = c.hits;
    soft.soft = true;
    EXPECT_EQ(FateOf(With(soft), subject), Fate::kSoft) << soft.ToText();
  }
}

TEST(PurgeTableTest, OnlyWhatIsOlderThanThePurgeIsHit) {
  const PurgeTable table = With(PurgeRecord::All(false), 11);
  EXPECT_EQ(FateOf(table, {}, 10), Fate::kGone);
  EXPECT_EQ(FateOf(table, {}, 11), Fate::kValid);
  EXPECT_EQ(FateOf(table, {}, 12), Fate::kValid);
}

TEST(PurgeTableTest, AHardPurgeOutweighsASoftOneWhateverTheOrder) {
  for (const bool hard_first : {true, false}) {
    PurgeTable table;
    table.Apply(PurgeRecord::Rule("products", hard_first ? false : true), 11);
    table.Apply(PurgeRecord::Host("shop.test", hard_first ? true : false), 12);
    EXPECT_EQ(FateOf(table), Fate::kGone);
  }
}

TEST(PurgeTableTest, StalenessCountsFromTheFirstSoftPurge) {
  PurgeTable table;
  table.Apply(PurgeRecord::Rule("products", true), 13);
  table.Apply(PurgeRecord::Host("shop.test", true), 12);
  EXPECT_EQ(table.Judge(Subject().get(), 10).at, 12u);
}

TEST(PurgeTableTest, AnEmptyPrefixAndOneLongerThanTheUrlAreHarmless) {
  EXPECT_EQ(FateOf(With(PurgeRecord::Prefix("", false))), Fate::kGone);
  EXPECT_EQ(FateOf(With(PurgeRecord::Prefix(std::string(kKey) + "x", false))), Fate::kValid);
  // What follows the target in the key is not part of the URL.
  EXPECT_EQ(FateOf(With(PurgeRecord::Prefix(kKey, false))), Fate::kValid);
}

TEST(PurgeTableTest, ARuleWithoutHostInItsKeyHasNoHostToPurge) {
  const Subject subject{.key = "https:///a"};
  EXPECT_EQ(FateOf(With(PurgeRecord::Host("shop.test", false)), subject), Fate::kValid);
  EXPECT_EQ(FateOf(With(PurgeRecord::Prefix("https:///a", false)), subject), Fate::kGone);
}

TEST(PurgeTableTest, WhoHadTooManyTagsIsHitByAnyTag) {
  TagSet tags;
  for (size_t i = 0; i <= kMaxTags; ++i) tags.Add("t" + std::to_string(i));
  const Subject subject{.tags = tags.ids()};
  EXPECT_EQ(FateOf(With(PurgeRecord::Tag("some other", false)), subject), Fate::kGone);
  EXPECT_EQ(FateOf(With(PurgeRecord::Url("https://shop.test/", false)), subject), Fate::kValid);
}

TEST(PurgeTableTest, BelowTheFloorIsDoubtfulAndAHardPurgeStillEnds) {
  PurgeTable table;
  table.Apply(PurgeRecord::Host("shop.test", false), 20);
  table.RaiseFloor(30, false);
  EXPECT_EQ(FateOf(table, {}, 10), Fate::kGone);
  EXPECT_EQ(FateOf(table, {}, 25), Fate::kDoubtful);
  EXPECT_EQ(FateOf(table, {}, 30), Fate::kValid);
  EXPECT_EQ(table.Judge(Subject().get(), 25).at, 30u);
}

TEST(PurgeTableTest, BeyondTheLimitTheOlderFoldIntoTheFloor) {
  constexpr size_t kLimit = 1000;
  PurgeTable table(kLimit);
  for (uint64_t i = 1; i <= 50 * kLimit; ++i) {
    const std::string name = std::to_string(i);
    table.Apply(i % 3 == 0 ? PurgeRecord::Prefix(name, false) : PurgeRecord::Tag(name, false), i);
    ASSERT_LE(table.size(), kLimit);
  }
  EXPECT_GT(table.floor(), 49 * kLimit - kLimit);
  EXPECT_LT(table.floor(), 50 * kLimit);
  const Subject subject{.key = "http://a/", .tags = {TagOf("1")}};
  EXPECT_EQ(FateOf(table, subject, 0), Fate::kDoubtful);
  EXPECT_EQ(FateOf(table, subject, 50 * kLimit), Fate::kValid);
}

// The same in the plainest way: every purge kept, every one compared.
struct Model {
  struct Made {
    PurgeRecord record;
    std::string prefix;
    uint64_t sequence;
  };
  std::vector<Made> all;

  Fate Judge(const Subject& subject, uint64_t since) const {
    bool gone = false;
    bool soft = false;
    for (const Made& made : all) {
      if (made.sequence <= since) continue;
      const std::string url = subject.key.substr(0, subject.key.find('\n'));
      bool hit = false;
      switch (made.record.kind) {
        case PurgeKind::kUrl:
          hit = made.record == PurgeRecord::Url(url, made.record.soft);
          break;
        case PurgeKind::kTag:
          hit = std::find(subject.tags.begin(), subject.tags.end(), made.record.id) !=
                subject.tags.end();
          break;
        case PurgeKind::kPrefix:
          hit = url.starts_with(made.prefix);
          break;
        case PurgeKind::kRule:
          hit = made.record.id == RuleTag(subject.rule);
          break;
        case PurgeKind::kHost: {
          const std::string host = url.substr(7, url.find('/', 7) - 7);
          hit = made.record == PurgeRecord::Host(host, made.record.soft);
          break;
        }
        case PurgeKind::kAll:
          hit = true;
          break;
      }
      if (hit) (made.record.soft ? soft : gone) = true;
    }
    return gone ? Fate::kGone : soft ? Fate::kSoft : Fate::kValid;
  }
};

TEST(PurgeTableTest, AgreesWithComparingEveryPurge) {
  std::mt19937 random(7);
  const auto pick = [&](size_t n) { return random() % n; };
  const std::string hosts[] = {"a", "bb", "a:80"};
  const std::string paths[] = {"/", "/x", "/x/y", "/x/z?q", "/xx"};
  const std::string rules[] = {"r1", "r2", "r3"};
  size_t hits = 0;
  for (int round = 0; round < 300; ++round) {
    PurgeTable table;
    Model model;
    uint64_t sequence = 100;
    for (int step = 0; step < 60; ++step) {
      const bool soft = pick(2) == 0;
      const std::string host = hosts[pick(3)];
      const std::string url = "http://" + host + paths[pick(5)];
      const std::string prefix = url.substr(0, pick(url.size() + 1));
      const PurgeRecord made[] = {
          PurgeRecord::Url(url, soft),   PurgeRecord::Tag("t" + std::to_string(pick(6)), soft),
          PurgeRecord::Prefix(prefix, soft), PurgeRecord::Rule(rules[pick(3)], soft),
          PurgeRecord::Host(host, soft), PurgeRecord::All(soft)};
      const PurgeRecord& record = made[pick(40) == 0 ? 5 : pick(5)];
      sequence += 1 + pick(3);
      table.Apply(record, sequence);
      model.all.push_back({record, prefix, sequence});

      Subject subject;
      subject.key = "http://" + hosts[pick(3)] + paths[pick(5)];
      if (pick(2) == 0) subject.key += "\nhaccept=1:x";
      TagSet tags;
      for (size_t i = pick(4); i > 0; --i) tags.Add("t" + std::to_string(pick(6)));
      subject.tags = tags.Take();
      subject.rule = rules[pick(3)];
      const uint64_t since = 100 + pick(sequence - 100 + 2);
      const Fate expected = model.Judge(subject, since);
      ASSERT_EQ(FateOf(table, subject, since), expected) << subject.key << " since " << since;
      if (expected != Fate::kValid) ++hits;
    }
  }
  EXPECT_GT(hits, 2000u);
}

TEST(PurgeRecordTest, ComesBackFromItsText) {
  for (const bool soft : {false, true}) {
    for (const PurgeRecord& record :
         {PurgeRecord::Url("http://a/", soft), PurgeRecord::Tag("t", soft),
          PurgeRecord::Prefix("http://a/x", soft), PurgeRecord::Rule("r", soft),
          PurgeRecord::Host("a", soft), PurgeRecord::All(soft)}) {
      EXPECT_EQ(PurgeRecord::FromText(record.ToText()), record) << record.ToText();
    }
  }
}

TEST(PurgeRecordTest, OtherTextsAreNone) {
  for (const std::string_view text :
       {"", "h", "x*", "h*x", "hq0000000000000001", "ht", "ht000000000000001", "ht00000000000000012",
        "ht000000000000000g", "hp0000000000000001", "hp0000000000000001.", "hp0000000000000001.x",
        "hp0000000000000001.99999999999", "ht-000000000000001", "#", "^", "@abc"}) {
    EXPECT_FALSE(PurgeRecord::FromText(text)) << text;
  }
}

}  // namespace
}  // namespace satchel::cache
