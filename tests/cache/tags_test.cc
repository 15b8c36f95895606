#include "cache/tags.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace satchel::cache {
namespace {

std::vector<TagId> TagsOf(std::string_view name, std::string_view value) {
  HeaderMap fields;
  fields.Add("Content-Type", "text/plain");
  fields.Add(name, value);
  TagSet tags;
  AddTagsOf(fields, tags);
  return tags.Take();
}

std::vector<TagId> Ids(std::initializer_list<std::string_view> names) {
  TagSet tags;
  for (const std::string_view name : names) tags.Add(name);
  return tags.Take();
}

TEST(TagsTest, SurrogateKeyAndXkeyAreSeparatedBySpaces) {
  EXPECT_EQ(TagsOf("Surrogate-Key", "  a b\tc,d "), Ids({"a", "b", "c,d"}));
  EXPECT_EQ(TagsOf("xkey", "a  b"), Ids({"a", "b"}));
}

TEST(TagsTest, CacheTagIsSeparatedByCommas) {
  EXPECT_EQ(TagsOf("Cache-Tag", "a, b c,,d ,"), Ids({"a", "b c", "d"}));
}

TEST(TagsTest, LinesAddUpAndOtherFieldsAreNoTags) {
  HeaderMap fields;
  fields.Add("surrogate-key", "a");
  fields.Add("Surrogate-Key", "b a");
  fields.Add("Cache-Tag", "c");
  fields.Add("X-Tag", "d");
  TagSet tags;
  AddTagsOf(fields, tags);
  EXPECT_EQ(tags.ids(), Ids({"a", "b", "c"}));
}

TEST(TagsTest, IdsAreSortedUniqueAndTheSameInEveryProcess) {
  const std::vector<TagId> ids = Ids({"b", "a", "b", "", "c"});
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  // Stands in records: a change wants another format version.
  EXPECT_EQ(TagOf("product:7"), TagOf(std::string("product:") + "7"));
  EXPECT_EQ(TagOf("product:7"), 5091032915972154016u);
}

TEST(TagsTest, BeyondTheBoundAnyTagStandsForTheRest) {
  TagSet tags;
  for (size_t i = 0; i < kMaxTags; ++i) tags.Add("tag" + std::to_string(i));
  EXPECT_EQ(tags.ids().size(), kMaxTags);
  EXPECT_NE(tags.ids().front(), kAnyTag);
  for (size_t i = 0; i < 1000; ++i) tags.Add("more" + std::to_string(i));
  EXPECT_EQ(tags.ids().size(), kMaxTags);
  EXPECT_EQ(tags.ids().front(), kAnyTag);
}

TEST(TagsTest, ALongTagIsCutOffAlikeWhereverItComesFrom) {
  const std::string longest(kMaxTagBytes, 'x');
  EXPECT_EQ(TagOf(longest), TagOf(longest + "y"));
  EXPECT_NE(TagOf(longest), TagOf(longest.substr(1)));
}

TEST(TagsTest, AGroupBelongsToItsOrigin) {
  EXPECT_EQ(GroupTag("https", "a.test", "g"), GroupTag("https", "a.test", "g"));
  EXPECT_NE(GroupTag("https", "a.test", "g"), GroupTag("http", "a.test", "g"));
  EXPECT_NE(GroupTag("https", "a.test", "g"), GroupTag("https", "b.test", "g"));
  EXPECT_NE(GroupTag("https", "a.test", "g"), TagOf("g"));
}

}  // namespace
}  // namespace satchel::cache
