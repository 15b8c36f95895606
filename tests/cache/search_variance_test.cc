#include "cache/search_variance.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

bool Same(std::string_view field, std::string_view a, std::string_view b) {
  const SearchVariance variance = ParseNoVarySearch(test::Map({{"No-Vary-Search", field}}));
  return CanonicalQuery(a, variance) == CanonicalQuery(b, variance);
}

TEST(SearchVarianceTest, J2_ByDefaultEveryByteCounts) {
  EXPECT_TRUE(ParseNoVarySearch(test::Map({})).byte_for_byte());
  EXPECT_TRUE(Same("", "a=1", "a=1"));
  EXPECT_FALSE(Same("", "a=1", "a=1&"));
  EXPECT_FALSE(Same("", "a=%31", "a=1"));
  EXPECT_FALSE(Same("", "a=1&b=2", "b=2&a=1"));
}

TEST(SearchVarianceTest, J2_KeyOrderMakesTheOrderOfNamesIrrelevant) {
  EXPECT_TRUE(Same("key-order", "a=1&b=2", "b=2&a=1"));
  EXPECT_TRUE(Same("key-order", "a=1&&b=2", "b=%32&a=1"));
  EXPECT_FALSE(Same("key-order", "a=1&a=2", "a=2&a=1"));
  EXPECT_FALSE(Same("key-order=?0", "a=1&b=2", "b=2&a=1"));
}

TEST(SearchVarianceTest, J2_ParamsNamesWhatDoesNotCount) {
  EXPECT_TRUE(Same("params=(\"a\")", "a=1&b=2", "b=2&a=9&a=8"));
  EXPECT_TRUE(Same("params=(\"a\")", "b=2", "%61=1&b=2"));
  EXPECT_TRUE(Same("params=(\"a+b\")", "a%20b=1&c", "c"));
  EXPECT_FALSE(Same("params=(\"a\")", "b=2", "b=3"));
  EXPECT_FALSE(Same("params=(\"a\")", "b=2&c=1", "c=1&b=2"));
  EXPECT_TRUE(Same("params", "a=1", "z=7"));
  EXPECT_TRUE(Same("params", "", "z=7"));
  EXPECT_FALSE(Same("params=?0", "a=1", "a=2"));
}

TEST(SearchVarianceTest, J2_ExceptNamesWhatStillCounts) {
  EXPECT_TRUE(Same("params, except=(\"id\")", "a=1&id=7", "id=7&b=2"));
  EXPECT_FALSE(Same("params, except=(\"id\")", "id=7", "id=8"));
  EXPECT_FALSE(Same("params, except=(\"id\")", "id=7", ""));
}

TEST(SearchVarianceTest, J2_WhatIsMalformedChangesNothing) {
  for (const std::string_view field :
       {"key-order=1", "params=(a)", "params=1", "params=\"a\"", "except=(\"a\")",
        "params=(\"a\"), except=(\"b\")", "params, except", "params, except=(1)", "key-order,",
        "params=(\"a\"", "Params", "params=(\"a\"), key-order=x"}) {
    EXPECT_TRUE(ParseNoVarySearch(test::Map({{"No-Vary-Search", field}})).byte_for_byte()) << field;
  }
  EXPECT_FALSE(
      ParseNoVarySearch(test::Map({{"No-Vary-Search", "unknown=1, key-order"}})).byte_for_byte());
}

TEST(SearchVarianceTest, NamesAndValuesCannotImitateEachOther) {
  EXPECT_FALSE(Same("key-order", "a=b%26c=d", "a=b&c=d"));
  EXPECT_FALSE(Same("key-order", "a=1%3A1", "a=1&1"));
  EXPECT_FALSE(Same("key-order", "a%3Db", "a=b"));
}

}  // namespace
}  // namespace satchel::cache
