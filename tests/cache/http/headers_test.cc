#include "cache/http/headers.h"

#include <gtest/gtest.h>

namespace satchel::cache {
namespace {

// RFC 9110 5.1
TEST(FieldIdTest, EveryNameIsFoundInAnyCase) {
  for (size_t i = 1; i < static_cast<size_t>(FieldId::kCount); ++i) {
    const auto id = static_cast<FieldId>(i);
    std::string name(FieldName(id));
    ASSERT_FALSE(name.empty()) << i;
    EXPECT_EQ(FindFieldId(name), id) << name;
    for (char& c : name) c = ToLowerAscii(c);
    EXPECT_EQ(FindFieldId(name), id) << name;
  }
  EXPECT_EQ(FindFieldId(""), FieldId::kOther);
  EXPECT_EQ(FindFieldId("Cache-Controls"), FieldId::kOther);
  EXPECT_EQ(FindFieldId("X-Unknown"), FieldId::kOther);
}

TEST(FieldSetTest, BothWordsHold) {
  FieldSet set{FieldId::kAge, FieldId::kXkey};
  EXPECT_TRUE(set.Contains(FieldId::kAge));
  EXPECT_TRUE(set.Contains(FieldId::kXkey));
  EXPECT_FALSE(set.Contains(FieldId::kVary));
  EXPECT_TRUE(set.Intersects(FieldSet{FieldId::kXkey}));
  EXPECT_FALSE(set.Intersects(FieldSet{FieldId::kVary}));
  set.Erase(FieldId::kXkey);
  EXPECT_FALSE(set.Contains(FieldId::kXkey));
}

// RFC 9110 5.2, 5.3
TEST(HeaderMapTest, A2_LinesKeepOrderSpellingAndRepetition) {
  HeaderMap map;
  map.Add("X-B", "1");
  map.Add("SET-cookie", "a=1");
  map.Add("x-b", "2");
  map.Add("Set-Cookie", "b=2");
  ASSERT_EQ(map.size(), 4U);
  EXPECT_EQ(map[1].name, "SET-cookie");
  EXPECT_EQ(map[1].id, FieldId::kSetCookie);
  EXPECT_EQ(map[2].value, "2");
  EXPECT_EQ(map.First("X-b"), "1");
  EXPECT_EQ(map.Joined("x-B"), "1, 2");
  EXPECT_EQ(map.Joined(FieldId::kSetCookie), "a=1, b=2");
  EXPECT_EQ(map.Count(FieldId::kSetCookie), 2U);
  EXPECT_EQ(map.First("x-c"), std::nullopt);
  EXPECT_EQ(map.Joined("x-c"), std::nullopt);
  EXPECT_EQ(map.Joined(FieldId::kAge), std::nullopt);
}

TEST(HeaderMapTest, RemovingKeepsTheIndexOfWhatIsThereTrue) {
  HeaderMap map;
  map.Add("Age", "1");
  map.Add("X-A", "1");
  map.Add("age", "2");
  EXPECT_TRUE(map.HasAny(FieldSet{FieldId::kAge, FieldId::kVary}));
  EXPECT_EQ(map.Remove("AGE"), 2U);
  EXPECT_FALSE(map.Has(FieldId::kAge));
  EXPECT_FALSE(map.HasAny(FieldSet{FieldId::kAge}));
  EXPECT_EQ(map.Remove("x-a"), 1U);
  EXPECT_EQ(map.Remove("x-a"), 0U);
  EXPECT_TRUE(map.empty());
}

TEST(HeaderMapTest, AMapMayBeGivenItsOwnViews) {
  HeaderMap map;
  map.Add("X-A", "value");
  for (int i = 0; i < 100; ++i) map.Add(map[0].name, map[0].value);
  EXPECT_EQ(map.size(), 101U);
  EXPECT_EQ(map[100].value, "value");
  map.Set("X-B", map[5].value);
  EXPECT_EQ(map.First("x-b"), "value");
  map.Set(map[0].name, map[0].value);
  EXPECT_EQ(map.Joined("X-A"), "value");
}

TEST(HeaderMapTest, ANameOfAnyLengthComesBackWhole) {
  HeaderMap map;
  const std::string name(70000, 'n');
  map.Add(name, "v");
  EXPECT_EQ(map[0].name, name);
  EXPECT_EQ(map.First(name), "v");
}

TEST(HeaderMapTest, ClearedMapsAreEmpty) {
  HeaderMap map;
  map.Add("Age", "1");
  map.Clear();
  EXPECT_TRUE(map.empty());
  EXPECT_FALSE(map.Has(FieldId::kAge));
  map.Set(FieldId::kAge, "3");
  EXPECT_EQ(map.First("age"), "3");
}

}  // namespace
}  // namespace satchel::cache
