#include "cache/search_table.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

SearchVariance Variance(std::string_view field) {
  return ParseNoVarySearch(test::Map({{"No-Vary-Search", field}}));
}

std::vector<std::string> Keys(const SearchTable& table, std::string_view key) {
  std::vector<std::string> out;
  for (const SearchTable::Pointer& pointer : table.Find(key)) out.push_back(pointer.key);
  return out;
}

using Texts = std::vector<std::string>;

TEST(EquivalentTextTest, J2_OnlyTheQueryIsShaped) {
  const SearchVariance variance = Variance("params=(\"utm\"), key-order");
  const auto same = [&](std::string_view a, std::string_view b) {
    return EquivalentText(a, variance) == EquivalentText(b, variance);
  };
  EXPECT_TRUE(same("http://a/p?a=1&b=2&utm=x", "http://a/p?b=2&a=1"));
  EXPECT_TRUE(same("http://a/p", "http://a/p?utm=1"));
  EXPECT_TRUE(same("http://a/p?a=1\nheader", "http://a/p?utm=z&a=1\nheader"));
  EXPECT_FALSE(same("http://a/p?a=1", "http://a/p?a=2"));
  EXPECT_FALSE(same("http://a/p?a=1", "http://b/p?a=1"));
  EXPECT_FALSE(same("http://a/p?a=1", "http://a/q?a=1"));
  EXPECT_FALSE(same("http://a/p?a=1\nx", "http://a/p?a=1\ny"));
  EXPECT_NE(EquivalentText("http://a/p?a=1", variance),
            EquivalentText("http://a/p?a=1", Variance("params=(\"utm\")")));
  EXPECT_EQ(EquivalentText("http://a/p?a=1", Variance("")), "http://a/p?a=1");
  EXPECT_EQ(PathOfKey("http://a/p?a=1\nx"), PathOfKey("http://a/p\nx"));
}

TEST(SearchTableTest, J2_AnEquivalentQueryFindsTheKey) {
  SearchTable table(1 << 20);
  EXPECT_TRUE(table.empty());
  table.Learn("http://a/p?utm=1&a=1", Variance("params=(\"utm\")"), 7);
  EXPECT_EQ(table.size(), 1U);
  EXPECT_EQ(Keys(table, "http://a/p?a=1"), Texts{"http://a/p?utm=1&a=1"});
  EXPECT_EQ(table.Find("http://a/p?a=1")[0].asked, 7U);
  EXPECT_EQ(Keys(table, "http://a/p?a=2"), Texts());
  EXPECT_EQ(Keys(table, "http://a/q?a=1"), Texts());
  // Its own key needs no pointer.
  EXPECT_EQ(Keys(table, "http://a/p?utm=1&a=1"), Texts());
  // The latest response takes the place of the one before.
  table.Learn("http://a/p?utm=2&a=1", Variance("params=(\"utm\")"), 8);
  EXPECT_EQ(Keys(table, "http://a/p?a=1"), Texts{"http://a/p?utm=2&a=1"});
  EXPECT_EQ(table.size(), 1U);
}

TEST(SearchTableTest, J2_SeveralVariancesOfOnePathAreKnownTheLatestFirst) {
  SearchTable table(1 << 20);
  table.Learn("http://a/p?x=1&y=1", Variance("params=(\"x\")"), 1);
  table.Learn("http://a/p?y=1&x=2", Variance("params=(\"y\")"), 1);
  EXPECT_EQ(Keys(table, "http://a/p?x=3&y=1"), Texts{"http://a/p?x=1&y=1"});
  EXPECT_EQ(Keys(table, "http://a/p?x=2&y=1"), (Texts{"http://a/p?y=1&x=2", "http://a/p?x=1&y=1"}));
  for (const char* name : {"\"a\"", "\"b\"", "\"c\"", "\"d\""}) {
    table.Learn("http://a/p?z=1", Variance(std::string("params=(") + name + ")"), 1);
  }
  EXPECT_EQ(Keys(table, "http://a/p?x=3&y=1"), Texts());  // four are remembered
  EXPECT_EQ(Keys(table, "http://a/p?z=1&a=1"), Texts{"http://a/p?z=1"});
}

TEST(SearchTableTest, J2_ItIsBoundedAndForgetsTheOldestFirst) {
  SearchTable table(10'000);
  const auto key = [](int i) { return "http://a/p?a=" + std::to_string(i); };
  for (int i = 0; i < 1000; ++i) table.Learn(key(i), Variance("params=(\"utm\")"), 1);
  EXPECT_LE(table.size(), 10'000U / 128);
  EXPECT_EQ(table.forgotten(), 1000 - table.size());
  EXPECT_EQ(Keys(table, key(0) + "&utm=1"), Texts());
  EXPECT_EQ(Keys(table, key(999) + "&utm=1"), Texts{key(999)});

  SearchTable paths(1 << 20);
  for (size_t i = 0; i < SearchTable::kMaxPaths + 1; ++i) {
    paths.Learn("http://a/" + std::to_string(i), Variance("params"), 1);
  }
  EXPECT_EQ(Keys(paths, "http://a/0?x"), Texts());
  EXPECT_EQ(Keys(paths, "http://a/1?x"), Texts{"http://a/1"});

  table.Clear();
  EXPECT_TRUE(table.empty());
  table.Learn("http://a/?" + std::string(SearchTable::kMaxKey, 'x'), Variance("params"), 1);
  table.Learn("http://a/", Variance(""), 1);
  EXPECT_TRUE(table.empty());
}

TEST(SearchTableTest, J2_EquivalentsThatAreFetchedAreAnnounced) {
  SearchTable table(1 << 20);
  EXPECT_EQ(table.Announce("http://a/p?utm=1"), "") << "nothing is known of the path";
  EXPECT_EQ(table.Announce("http://a/p?utm=2"), "");
  table.Learn("http://a/p?a=0", Variance("params=(\"utm\")"), 0);
  EXPECT_EQ(table.Announce("http://a/p?utm=1&a=1"), "");
  EXPECT_EQ(table.Announce("http://a/p?utm=1&a=1"), "") << "its own";
  EXPECT_EQ(table.Announce("http://a/p?utm=2&a=1"), "http://a/p?utm=1&a=1");
  EXPECT_EQ(table.Announce("http://a/p?utm=2&a=2"), "") << "no equivalent";
  // The other one is not fetched any more.
  EXPECT_EQ(table.Announce("http://a/p?utm=2&a=1", "http://a/p?utm=1&a=1"), "");
  EXPECT_EQ(table.Announce("http://a/p?a=1"), "http://a/p?utm=2&a=1");
}

TEST(SearchTableTest, J2_WhatIsAnnouncedIsBounded) {
  SearchTable table(1 << 20);
  table.Learn("http://a/p?a=0", Variance("params=(\"utm\")"), 0);
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_EQ(table.Announce("http://a/p?utm=1&a=" + std::to_string(i)), "");
  }
  EXPECT_EQ(table.Announce("http://a/p?a=0"), "") << "the oldest is forgotten";
  EXPECT_EQ(table.Announce("http://a/p?a=9999"), "http://a/p?utm=1&a=9999");
}

TEST(SearchTableTest, J2_TheLatestVarianceOfAPathIsKnown) {
  SearchTable table(1 << 20);
  EXPECT_EQ(table.VarianceOf("http://a/p"), nullptr);
  table.Learn("http://a/p?a=0", Variance("params=(\"utm\")"), 0);
  table.Learn("http://a/p?a=0", Variance("key-order"), 0);
  ASSERT_NE(table.VarianceOf("http://a/p?x"), nullptr);
  EXPECT_TRUE(table.VarianceOf("http://a/p?x")->ignore_order);
  EXPECT_EQ(table.VarianceOf("http://a/q"), nullptr);
}

}  // namespace
}  // namespace satchel::cache
