#include "cache/http/message.h"

#include <gtest/gtest.h>

namespace satchel::cache {
namespace {

// RFC 9110 9.1: "The method token is case-sensitive".
TEST(MessageTest, A1_MethodNamesAreCaseSensitive) {
  EXPECT_EQ(ParseMethod("GET"), Method::kGet);
  EXPECT_EQ(ParseMethod("get"), Method::kOther);
  EXPECT_EQ(ParseMethod("M-SEARCH"), Method::kOther);
  EXPECT_EQ(ParseMethod(""), Method::kOther);
  for (const std::string_view name : {"HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
                                      "CONNECT", "QUERY", "PURGE"}) {
    EXPECT_NE(ParseMethod(name), Method::kOther) << name;
  }
}

// RFC 9110 9.2.1, 9.2.2
TEST(MessageTest, A5_UnknownMethodsAreNeitherSafeNorIdempotent) {
  EXPECT_TRUE(IsSafe(Method::kGet));
  EXPECT_TRUE(IsSafe(Method::kOptions));
  EXPECT_FALSE(IsSafe(Method::kPut));
  EXPECT_FALSE(IsSafe(Method::kOther));
  EXPECT_TRUE(IsIdempotent(Method::kPut));
  EXPECT_TRUE(IsIdempotent(Method::kDelete));
  EXPECT_FALSE(IsIdempotent(Method::kPost));
  EXPECT_FALSE(IsIdempotent(Method::kPatch));
  EXPECT_FALSE(IsIdempotent(Method::kOther));
}

TEST(MessageTest, TheTargetSplitsAtTheFirstQuestionMark) {
  RequestHead head;
  head.target = "/a?b?c";
  EXPECT_EQ(head.path(), "/a");
  EXPECT_EQ(head.query(), "b?c");
  head.target = "/a?";
  EXPECT_EQ(head.path(), "/a");
  EXPECT_EQ(head.query(), "");
  head.target = "*";
  EXPECT_EQ(head.path(), "*");
  head.Clear();
  EXPECT_EQ(head.path(), "");
}

TEST(MessageTest, TokensHoldNoSeparators) {
  EXPECT_TRUE(IsToken("max-age"));
  EXPECT_TRUE(IsToken("!#$%&'*+-.^_`|~09azAZ"));
  for (const std::string_view text : {"", "a b", "a,b", "a:b", "a\"", "a/b", "a\x7f", "\xe4"}) {
    EXPECT_FALSE(IsToken(text)) << text;
  }
  EXPECT_EQ(TrimOws(" \ta b\t "), "a b");
  EXPECT_EQ(TrimOws(" \t"), "");
}

}  // namespace
}  // namespace satchel::cache
