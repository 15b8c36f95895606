#include "proxy/json_tags.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace satchel::proxy {
namespace {

std::vector<cache::TagId> TagsIn(std::string_view body, const std::vector<std::string>& pointers) {
  cache::TagSet tags;
  AddJsonTags(body, pointers, tags);
  return tags.Take();
}

std::vector<cache::TagId> Ids(std::initializer_list<std::string_view> names) {
  cache::TagSet tags;
  for (const std::string_view name : names) tags.Add(name);
  return tags.Take();
}

constexpr std::string_view kBody =
    R"({"id": 7, "on": true, "none": null, "list": [{"id": "a"}, {"id": 1.5}, {"x": 1}, 3],
        "map": {"a/b": "slash", "m~n": "tilde"}})";

TEST(JsonTagsTest, PointersLeadToTextsNumbersAndBooleans) {
  EXPECT_EQ(TagsIn(kBody, {"/id", "/on"}), Ids({"7", "true"}));
  EXPECT_EQ(TagsIn(kBody, {"/list/0/id", "/list/3"}), Ids({"a", "3"}));
  EXPECT_EQ(TagsIn(kBody, {"/map/a~1b", "/map/m~0n"}), Ids({"slash", "tilde"}));
}

TEST(JsonTagsTest, AStarStandsForEveryMember) {
  EXPECT_EQ(TagsIn(kBody, {"/list/*/id"}), Ids({"a", "1.5"}));
  EXPECT_EQ(TagsIn(kBody, {"/map/*"}), Ids({"slash", "tilde"}));
  EXPECT_EQ(TagsIn(R"([[1, 2], [3]])", {"/*/*"}), Ids({"1", "2", "3"}));
}

TEST(JsonTagsTest, WhatStandsBeforeThePointerStandsBeforeTheTag) {
  EXPECT_EQ(TagsIn(kBody, {"product:/list/*/id"}), Ids({"product:a", "product:1.5"}));
}

TEST(JsonTagsTest, WhatIsNotThereIsNoTag) {
  EXPECT_TRUE(TagsIn(kBody, {"/nothing", "/none", "/list/9", "/list/x", "/id/deeper", "/list"}).empty());
}

TEST(JsonTagsTest, OtherBodiesHaveNone) {
  for (const std::string_view body : {"", "{", "no json", "{\"id\": 7} x"}) {
    cache::TagSet tags;
    EXPECT_FALSE(AddJsonTags(body, {"/id"}, tags)) << body;
    EXPECT_TRUE(tags.ids().empty());
  }
}

TEST(JsonTagsTest, MoreThanCanBeKeptMeansAnyTag) {
  std::string body = "[";
  for (int i = 0; i < 1000; ++i) body += std::to_string(i) + ",";
  body += "0]";
  const auto tags = TagsIn(body, {"/*"});
  EXPECT_EQ(tags.size(), cache::kMaxTags);
  EXPECT_EQ(tags.front(), cache::kAnyTag);
}

TEST(JsonTagsTest, TypesOfJson) {
  EXPECT_TRUE(IsJsonType("application/json"));
  EXPECT_TRUE(IsJsonType("Application/Problem+JSON; charset=utf-8"));
  EXPECT_FALSE(IsJsonType("text/html"));
  EXPECT_FALSE(IsJsonType("+json"));
}

}  // namespace
}  // namespace satchel::proxy
