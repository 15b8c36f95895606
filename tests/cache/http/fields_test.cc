#include "cache/http/fields.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace satchel::cache {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Members(std::string_view text) {
  std::vector<std::string> out;
  ListReader reader(text);
  for (std::string_view member; reader.Next(member);) out.emplace_back(member);
  return out;
}

// RFC 9110 5.6.1: "A recipient MUST parse and ignore a reasonable number of empty list elements".
TEST(ListReaderTest, EmptyMembersAreSkipped) {
  EXPECT_THAT(Members("a, b,c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(Members(" ,\t, a ,,b\t,"), ElementsAre("a", "b"));
  EXPECT_THAT(Members(""), IsEmpty());
  EXPECT_THAT(Members(" , "), IsEmpty());
}

// RFC 9110 5.6.4
TEST(ListReaderTest, CommasInsideQuotedStringsSeparateNothing) {
  EXPECT_THAT(Members(R"(a="b, c", d)"), ElementsAre(R"(a="b, c")", "d"));
  EXPECT_THAT(Members(R"(a="b\", c", d)"), ElementsAre(R"(a="b\", c")", "d"));
  EXPECT_THAT(Members(R"(a="b\\", d)"), ElementsAre(R"(a="b\\")", "d"));
  EXPECT_THAT(Members(R"(a="b, c)"), ElementsAre(R"(a="b, c)"));
  EXPECT_THAT(Members("a\\, b"), ElementsAre("a\\", "b"));
  EXPECT_THAT(Members("\"a\\"), ElementsAre("\"a\\"));
}

// RFC 9111 1.2.2: "If a cache receives a delta-seconds value greater than the greatest integer it
// can represent [...] the cache MUST consider the value to be 2147483648 (2^31)".
TEST(DeltaSecondsTest, B2_LargeValuesClampAndOnlyDigitsCount) {
  const auto parse = [](std::string_view text) -> int64_t {
    const auto value = ParseDeltaSeconds(text);
    return value ? value->count() : -1;
  };
  EXPECT_EQ(parse("0"), 0);
  EXPECT_EQ(parse("60"), 60);
  EXPECT_EQ(parse("0060"), 60);
  EXPECT_EQ(parse("000000000000000000000000000000000000001"), 1);
  EXPECT_EQ(parse("2147483647"), 2147483647);
  EXPECT_EQ(parse("2147483648"), 2147483648);
  EXPECT_EQ(parse("2147483649"), 2147483648);
  EXPECT_EQ(parse("99999999999"), 2147483648);
  EXPECT_EQ(parse("99999999999999999999999999999999999999"), 2147483648);
  for (const std::string_view text :
       {"", "-1", "+1", "1.0", "1 ", " 1", "0x10", "1e3", "a", "'1'"}) {
    EXPECT_EQ(parse(text), -1) << text;
  }
}

TEST(DecimalTest, OverflowIsRefused) {
  EXPECT_EQ(ParseDecimal("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(ParseDecimal("18446744073709551616"), std::nullopt);
  EXPECT_EQ(ParseDecimal("007"), 7U);
  EXPECT_EQ(ParseDecimal(""), std::nullopt);
  EXPECT_EQ(ParseDecimal("-1"), std::nullopt);
  EXPECT_EQ(ParseDecimal("1 "), std::nullopt);
}

// RFC 9110 8.8.3
TEST(EntityTagTest, WeakStrongAndUnquotedAreToldApart) {
  const auto strong = ParseEntityTag("\"a\"");
  ASSERT_TRUE(strong);
  EXPECT_TRUE(strong->strong());
  EXPECT_EQ(strong->opaque, "\"a\"");
  const auto weak = ParseEntityTag(" W/\"a\" ");
  ASSERT_TRUE(weak);
  EXPECT_TRUE(weak->weak);
  EXPECT_FALSE(weak->strong());
  EXPECT_EQ(weak->opaque, "\"a\"");
  EXPECT_TRUE(ParseEntityTag("\"\"")->strong());
  // Case-sensitive: "w/" is no weakness indicator.
  EXPECT_FALSE(ParseEntityTag("w/\"a\"")->strong());
  EXPECT_FALSE(ParseEntityTag("w/\"a\"")->weak);
  EXPECT_FALSE(ParseEntityTag("abc")->strong());
  EXPECT_FALSE(ParseEntityTag("\"a\"b\"")->strong());
  EXPECT_FALSE(ParseEntityTag("\"")->strong());
  EXPECT_EQ(ParseEntityTag(""), std::nullopt);
  EXPECT_EQ(ParseEntityTag("W/"), std::nullopt);
}

std::vector<std::string> Tags(std::string_view text) {
  std::vector<std::string> out;
  EntityTagReader reader(text);
  for (EntityTag tag; reader.Next(tag);) {
    out.push_back((tag.weak ? "W" : "") + std::string(tag.opaque));
  }
  return out;
}

// RFC 9110 8.8.3: etagc has no escapes.
TEST(EntityTagTest, BackslashesAndCommasInsideTagsMeanNothing) {
  EXPECT_THAT(Tags(R"("a", W/"b","c")"), ElementsAre(R"("a")", R"(W"b")", R"("c")"));
  EXPECT_THAT(Tags(R"("a\", "b")"), ElementsAre(R"("a\")", R"("b")"));
  EXPECT_THAT(Tags(R"("a,b", "c")"), ElementsAre(R"("a,b")", R"("c")"));
  EXPECT_THAT(Tags("abc, def"), ElementsAre("abc", "def"));
  EXPECT_THAT(Tags("\"open, b"), ElementsAre("\"open, b"));
  EXPECT_THAT(Tags(" , "), IsEmpty());
}

// RFC 9110 12.4.2
TEST(PreferenceTest, WeightsAreThousandths) {
  EXPECT_EQ(ParseWeight("1"), 1000);
  EXPECT_EQ(ParseWeight("1.000"), 1000);
  EXPECT_EQ(ParseWeight("0"), 0);
  EXPECT_EQ(ParseWeight("0."), 0);
  EXPECT_EQ(ParseWeight("0.5"), 500);
  EXPECT_EQ(ParseWeight("0.123"), 123);
  for (const std::string_view text :
       {"", "1.1", "1.001", "2", "0.1234", ".5", "-1", "0,5", "0.x"}) {
    EXPECT_EQ(ParseWeight(text), std::nullopt) << text;
  }
  EXPECT_EQ(ParsePreference("de;q=0.7")->weight, 700);
  EXPECT_EQ(ParsePreference("de ; Q=0.7")->weight, 700);
  EXPECT_EQ(ParsePreference("de")->weight, 1000);
  EXPECT_EQ(ParsePreference("de;q=0.7")->value, "de");
  EXPECT_EQ(ParsePreference("de;x=1"), std::nullopt);
  EXPECT_EQ(ParsePreference(";q=1"), std::nullopt);
}

}  // namespace
}  // namespace satchel::cache
