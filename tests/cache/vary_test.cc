#include "cache/vary.h"

#include <gmock/gmock.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::Get;
using test::Map;
using ::testing::ElementsAre;

// Would a response stored for `first` answer `second`?
bool Matches(std::string_view vary, test::Fields first, test::Fields second,
             const Overrides& rule = {}, std::string_view content_language = "") {
  const VarySpec spec = ParseVary(Map({{"Vary", vary}}));
  return Selects(spec, VaryValues(spec, Get(first), rule), content_language, Get(second), rule);
}

// RFC 9111 4.1, RFC 9110 12.5.5
TEST(VaryTest, E1_AllLinesCountInLowerCaseOnceAndSorted) {
  const VarySpec spec = ParseVary(Map({{"Vary", "Foo, BAR,,"}, {"vary", "foo ,Accept"}}));
  EXPECT_THAT(spec.names, ElementsAre("accept", "bar", "foo"));
  EXPECT_FALSE(spec.star);
  EXPECT_TRUE(ParseVary(Map({})).empty());
}

// "A stored response with a Vary header field value containing a member "*" always fails to match."
TEST(VaryTest, E1_AStarAnywhereNeverMatches) {
  for (const std::string_view vary : {"*", "Foo, *", "*, Foo", ", *"}) {
    EXPECT_FALSE(Matches(vary, {{"Foo", "1"}}, {{"Foo", "1"}})) << vary;
  }
  EXPECT_TRUE(ParseVary(Map({{"Vary", "Foo"}, {"Vary", "*"}})).star);
}

TEST(VaryTest, E1_NamedFieldsMustMatchAndOthersAreIrrelevant) {
  EXPECT_TRUE(Matches("Foo", {{"Foo", "1"}}, {{"Foo", "1"}}));
  EXPECT_TRUE(Matches("Foo", {{"foo", "1"}, {"Bar", "1"}}, {{"FOO", "1"}, {"Bar", "2"}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "1"}}, {{"Foo", "2"}}));
  EXPECT_FALSE(Matches("Foo, Bar", {{"Foo", "1"}, {"Bar", "1"}}, {{"Foo", "1"}, {"Bar", "2"}}));
  EXPECT_TRUE(Matches("Foo, Bar", {{"Foo", "1"}, {"Bar", "2"}}, {{"Bar", "2"}, {"Foo", "1"}}));
  EXPECT_TRUE(Matches("", {{"Foo", "1"}}, {{"Foo", "2"}}));
}

// "if a header field is absent from a request, it can only match another request if it is also
// absent there"
TEST(VaryTest, E1_AbsentMatchesOnlyAbsent) {
  EXPECT_TRUE(Matches("Foo", {}, {}));
  EXPECT_FALSE(Matches("Foo", {}, {{"Foo", "1"}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "1"}}, {}));
  EXPECT_FALSE(Matches("Foo", {}, {{"Foo", ""}}));
  EXPECT_TRUE(Matches("Foo", {{"Foo", ""}}, {{"Foo", " "}}));
}

// RFC 9111 4.1: "adding or removing whitespace, where allowed"; "combining multiple header field
// lines with the same field name".
// A request with the fields that a stored text stands for selects the same response.
TEST(VaryTest, TheSelectingFieldsCanBeHadBackFromTheirText) {
  const VarySpec spec = ParseVary(Map({{"Vary", "Accept-Language, X-A, X-B"}}));
  const RequestHead asked = Get({{"Accept-Language", "fr;q=0.5, DE"}, {"X-B", "a=1:b!"}});
  const std::string values = VaryValues(spec, asked, {});
  const auto fields = SelectingFields(spec, values);
  ASSERT_TRUE(fields);
  EXPECT_FALSE(fields->Has("X-A"));
  EXPECT_EQ(fields->Joined("X-B"), asked.fields.Joined("X-B"));
  RequestHead again = Get({});
  again.fields = *fields;
  EXPECT_EQ(VaryValues(spec, again, {}), values);
  for (const std::string_view wrong : {"", "x-a!\n", "accept-language=99:de\nx-a!\nx-b!\n",
                                       "accept-language=x:de\nx-a!\nx-b!\n"}) {
    EXPECT_FALSE(SelectingFields(spec, wrong)) << wrong;
  }
  EXPECT_FALSE(SelectingFields(ParseVary(Map({{"Vary", "*"}})), ""));
}

TEST(VaryTest, E3_LinesAndWhiteSpaceAreNormalised) {
  EXPECT_TRUE(Matches("Foo", {{"Foo", "1, 2"}}, {{"Foo", "1"}, {"Foo", "2"}}));
  EXPECT_TRUE(Matches("Foo", {{"Foo", " 1 ,\t2 "}}, {{"Foo", "1,2"}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "1,2"}}, {{"Foo", "2,1"}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "1 2"}}, {{"Foo", "12"}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "A"}}, {{"Foo", "a"}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "\"a, b\""}}, {{"Foo", "\"a,b\""}}));
  EXPECT_FALSE(Matches("Foo", {{"Foo", "a,,b"}}, {{"Foo", "a,b"}}));
  EXPECT_TRUE(Matches("Accept-Encoding", {{"Accept-Encoding", "GZIP, br"}},
                      {{"Accept-Encoding", "gzip,BR"}}));
}

TEST(VaryTest, ValuesCannotImitateOtherFields) {
  EXPECT_FALSE(Matches("A, B", {{"A", "x\nb=1:y"}}, {{"A", "x"}, {"B", "y"}}));
  EXPECT_FALSE(Matches("A, B", {{"A", "1:2"}, {"B", "3"}}, {{"A", "1"}, {"B", "2:3"}}));
  EXPECT_FALSE(Matches("A, B", {{"A", "x"}}, {{"B", "x"}}));
}

TEST(VaryTest, E3_LanguagesAreOrderedByWeightThenTag) {
  const auto same = [](std::string_view a, std::string_view b) {
    return Matches("Accept-Language", {{"Accept-Language", a}}, {{"Accept-Language", b}});
  };
  EXPECT_TRUE(same("en, de", "de,en"));
  EXPECT_TRUE(same("EN, De;q=0.5", "de;q=0.5, en;q=1.0"));
  EXPECT_TRUE(same("de;q=0.5, en", "en, de;q=0.500"));
  EXPECT_FALSE(same("en, de;q=0.5", "de, en;q=0.5"));
  EXPECT_FALSE(same("en, de;q=0.5", "en, de;q=0.6"));
  EXPECT_FALSE(same("en", "en, de"));
  // Malformed: compared as it stands, but for white space and case.
  EXPECT_TRUE(same("en;q=x,  de", "EN;q=x,de"));
  EXPECT_FALSE(same("en;q=x, de", "de, en;q=x"));
}

TEST(VaryTest, E3_AStoredContentLanguageThatIsMostPreferredMatches) {
  const auto match = [](std::string_view asked, std::string_view stored_language) {
    return Matches("Accept-Language", {{"Accept-Language", "de, fr;q=0.1"}},
                   {{"Accept-Language", asked}}, {}, stored_language);
  };
  EXPECT_TRUE(match("de;q=0.9, en;q=0.8", "de"));
  EXPECT_TRUE(match("en;q=0.8, DE;q=0.9", " De "));
  EXPECT_FALSE(match("de, en", "de"));  // two are preferred alike
  EXPECT_FALSE(match("en, de;q=0.9", "de"));
  EXPECT_FALSE(match("de-AT, en;q=0.8", "de"));
  EXPECT_FALSE(match("de;q=0", "de"));
  EXPECT_FALSE(match("*", "*"));
  EXPECT_FALSE(match("de;q=0.9", "de, en"));
  EXPECT_FALSE(match("de;q=0.9", ""));
  // All other nominated fields still have to agree.
  for (const std::string_view vary : {"Accept-Language, Foo", "Accept-Language, A"}) {
    const std::string_view other = vary.substr(17);
    EXPECT_TRUE(Matches(vary, {{"Accept-Language", "fr"}, {other, "1"}},
                        {{"Accept-Language", "de"}, {other, "1"}}, {}, "de"));
    EXPECT_FALSE(Matches(vary, {{"Accept-Language", "fr"}, {other, "1"}},
                         {{"Accept-Language", "de"}, {other, "2"}}, {}, "de"));
    EXPECT_FALSE(Matches(vary, {{"Accept-Language", "fr"}, {other, "1"}},
                         {{"Accept-Language", "de"}}, {}, "de"));
  }
  EXPECT_FALSE(Matches("Foo", {{"Foo", "1"}}, {{"Foo", "2"}, {"Accept-Language", "de"}}, {}, "de"));
}

TEST(VaryTest, ARuleTellsApartOnlyTheValuesItNames) {
  Overrides rule;
  rule.normalize = {{"Accept-Language", {"en", "de"}}, {"accept-encoding", {"br", "gzip"}}};
  const auto language = [&](std::string_view value) {
    return NormalizedValue("accept-language", Get({{"Accept-Language", value}}), rule);
  };
  EXPECT_EQ(language("de"), "de");
  EXPECT_EQ(language("de-AT, en;q=0.5"), "de");
  EXPECT_EQ(language("fr, en;q=0.2, de;q=0.1"), "en");
  EXPECT_EQ(language("en, de"), "en");
  EXPECT_EQ(language("*"), "en");
  EXPECT_EQ(language("fr"), "");
  EXPECT_EQ(language("en;q=0, *"), "de");
  const auto encoding = [&](std::string_view value) {
    return NormalizedValue("Accept-Encoding", Get({{"Accept-Encoding", value}}), rule);
  };
  EXPECT_EQ(encoding("gzip, deflate, br"), "br");
  EXPECT_EQ(encoding("gzip, br;q=0"), "gzip");
  EXPECT_EQ(encoding("identity"), "");
  EXPECT_EQ(NormalizedValue("Accept-Encoding", Get(), rule), std::nullopt);
  EXPECT_EQ(NormalizedValue("Foo", Get({{"Foo", "1"}}), rule), std::nullopt);
  EXPECT_TRUE(Matches("Accept-Encoding", {{"Accept-Encoding", "gzip, deflate, br"}},
                      {{"Accept-Encoding", "br;q=1.0, zstd"}}, rule));
  EXPECT_FALSE(Matches("Accept-Encoding", {{"Accept-Encoding", "gzip, br"}},
                       {{"Accept-Encoding", "gzip"}}, rule));
}

}  // namespace
}  // namespace satchel::cache
