#include "rules/path.h"

#include <gtest/gtest.h>

namespace satchel::rules {
namespace {

TEST(PathTest, PlainPathsNeedNoNormalising) {
  EXPECT_FALSE(NeedsNormalising("/"));
  EXPECT_FALSE(NeedsNormalising("/a/b.css"));
  EXPECT_FALSE(NeedsNormalising("*"));
  EXPECT_TRUE(NeedsNormalising("/a%20b"));
  EXPECT_TRUE(NeedsNormalising("//a"));
  EXPECT_TRUE(NeedsNormalising("/a/./b"));
  EXPECT_TRUE(NeedsNormalising("/a/.."));
}

TEST(PathTest, EscapesAreDecodedOnce) {
  EXPECT_EQ(NormalisePath("/%61dmin"), "/admin");
  EXPECT_EQ(NormalisePath("/%2561dmin"), "/%61dmin");
  EXPECT_EQ(NormalisePath("/a%2Fb"), "/a/b");
  EXPECT_EQ(NormalisePath("/a%00b"), std::string("/a\0b", 4));
}

TEST(PathTest, InvalidEscapesAreRefused) {
  EXPECT_EQ(NormalisePath("/%"), std::nullopt);
  EXPECT_EQ(NormalisePath("/%4"), std::nullopt);
  EXPECT_EQ(NormalisePath("/%zz"), std::nullopt);
  EXPECT_EQ(NormalisePath("/%4g/x"), std::nullopt);
}

TEST(PathTest, DotSegmentsAreResolvedAlsoWhenEscaped) {
  EXPECT_EQ(NormalisePath("/a/./b"), "/a/b");
  EXPECT_EQ(NormalisePath("/a/../b"), "/b");
  EXPECT_EQ(NormalisePath("/public/%2e%2e/admin"), "/admin");
  EXPECT_EQ(NormalisePath("/public/..%2fadmin"), "/admin");
  EXPECT_EQ(NormalisePath("/../../a"), "/a");
  EXPECT_EQ(NormalisePath("/a/b/.."), "/a/");
  EXPECT_EQ(NormalisePath("/a/."), "/a/");
  EXPECT_EQ(NormalisePath("/.."), "/");
  EXPECT_EQ(NormalisePath("/.hidden"), "/.hidden");
  EXPECT_EQ(NormalisePath("/a/..b"), "/a/..b");
}

TEST(PathTest, RunsOfSlashesCountAsOneAndTheLastOneStays) {
  EXPECT_EQ(NormalisePath("//a///b"), "/a/b");
  EXPECT_EQ(NormalisePath("/a//"), "/a/");
  EXPECT_EQ(NormalisePath("//"), "/");
}

TEST(PathTest, EscapingKeepsWhatAPathMayHold) {
  std::string text = "/x/";
  AppendPathEscaped("a b/ü?#%2e:@", &text);
  EXPECT_EQ(text, "/x/a%20b/%C3%BC%3F%23%252e:@");
}

}  // namespace
}  // namespace satchel::rules
