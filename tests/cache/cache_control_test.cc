#include "cache/cache_control.h"

#include <gmock/gmock.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using std::chrono::seconds;
using test::Map;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

int64_t MaxAge(std::string_view value) {
  const ResponseDirectives directives = ParseCacheControl(value);
  return directives.max_age ? directives.max_age->count() : -1;
}

// RFC 9111 5.2: "Cache directives are identified by a token, to be compared case-insensitively, and
// have an optional argument that can use both token and quoted-string syntax."
TEST(CacheControlTest, B1_NamesIgnoreCaseAndArgumentsMayBeQuoted) {
  EXPECT_EQ(MaxAge("max-age=60"), 60);
  EXPECT_EQ(MaxAge("MAX-AGE=60"), 60);
  EXPECT_EQ(MaxAge("max-age=\"60\""), 60);
  EXPECT_EQ(MaxAge(" public ,max-age=60 , foo"), 60);
  EXPECT_TRUE(ParseCacheControl("No-Store").no_store);
  EXPECT_TRUE(ParseCacheControl("a,,no-store").no_store);
}

// RFC 9111 5.2.3: "A cache MUST ignore unrecognized cache directives."
TEST(CacheControlTest, B1_UnknownDirectivesChangeNothing) {
  const ResponseDirectives directives =
      ParseCacheControl("nothing-to-see-here, x=1, no-storefoo, foo=\"no-store\", max-age=5");
  EXPECT_FALSE(directives.no_store);
  EXPECT_EQ(directives.max_age, seconds(5));
}

TEST(CacheControlTest, B1_TextInsideAQuotedArgumentIsNoDirective) {
  EXPECT_EQ(MaxAge(R"(extension="max-age=3600", max-age=1)"), 1);
  EXPECT_EQ(MaxAge(R"(extension="max-age=3600")"), -1);
  EXPECT_EQ(MaxAge(R"(extension="a\", max-age=3600", max-age=1)"), 1);
  EXPECT_FALSE(ParseCacheControl(R"(a="x, no-store, y")").no_store);
}

TEST(CacheControlTest, B1_WhiteSpaceNextToTheEqualsSignInvalidatesTheMember) {
  EXPECT_EQ(MaxAge("max-age =60"), -1);
  EXPECT_EQ(MaxAge("max-age= 60"), -1);
  EXPECT_EQ(MaxAge("max-age\t=60"), -1);
  EXPECT_EQ(MaxAge("max-age =60, max-age=10"), 10);
}

// RFC 9111 4.2.1: "Caches are encouraged to consider responses that have invalid freshness
// information (e.g., a max-age directive with non-integer content) to be stale."
TEST(CacheControlTest, B2_AnUnusableLifetimeIsZeroNotAbsent) {
  for (const std::string_view value :
       {"max-age=-1", "max-age=60.0", "max-age=abc", "max-age='60'", "max-age=", "max-age",
        "max-age=\"60", "max-age=60;x", "max-age=0x3c", "max-age=\"-60\""}) {
    EXPECT_EQ(MaxAge(value), 0) << value;
    EXPECT_EQ(
        ParseCacheControl("s-" + std::string("maxage") + std::string(value.substr(7))).s_maxage,
        seconds(0))
        << value;
  }
  EXPECT_EQ(MaxAge("max-age=0060"), 60);
  EXPECT_EQ(MaxAge("max-age=99999999999999999999"), int64_t{1} << 31);
}

// RFC 9111 4.2.1: "either the first occurrence should be used or the response should be considered
// stale".
TEST(CacheControlTest, B2_TheFirstOfRepeatedDirectivesStands) {
  EXPECT_EQ(MaxAge("max-age=1, max-age=60"), 1);
  EXPECT_EQ(MaxAge("max-age=60, max-age=1"), 60);
  EXPECT_EQ(MaxAge("max-age=abc, max-age=60"), 0);
}

// RFC 5861 3, 4
TEST(CacheControlTest, AnUnusableStaleGrantGrantsNothing) {
  const ResponseDirectives good =
      ParseCacheControl("stale-while-revalidate=30, stale-if-error=\"60\"");
  EXPECT_EQ(good.stale_while_revalidate, seconds(30));
  EXPECT_EQ(good.stale_if_error, seconds(60));
  const ResponseDirectives bad =
      ParseCacheControl("stale-while-revalidate=x, stale-while-revalidate=9, stale-if-error");
  EXPECT_EQ(bad.stale_while_revalidate, std::nullopt);
  EXPECT_EQ(bad.stale_if_error, std::nullopt);
}

// RFC 9111 5.2.2.4, 5.2.2.7
TEST(CacheControlTest, C7_QualifiedDirectivesNameFields) {
  const ResponseDirectives qualified =
      ParseCacheControl(R"(no-cache="Set-Cookie, X-A", private=X-B)");
  EXPECT_FALSE(qualified.no_cache);
  EXPECT_FALSE(qualified.is_private);
  EXPECT_THAT(qualified.unstored_fields, ElementsAre("set-cookie", "x-a", "x-b"));
  for (const std::string_view value : {"no-cache", "no-cache=\"\"", "no-cache=", "no-cache=\"a b\"",
                                       "no-cache=\"a", "no-cache, no-cache=\"a\""}) {
    EXPECT_TRUE(ParseCacheControl(value).no_cache) << value;
  }
  EXPECT_TRUE(ParseCacheControl("private=\"Set-Cookie").is_private);
}

TEST(CacheControlTest, RestrictionsHoldWhateverArgumentTheyCarryPermissionsDoNot) {
  EXPECT_TRUE(ParseCacheControl("no-store=1").no_store);
  EXPECT_TRUE(ParseCacheControl("must-revalidate=\"x\"").must_revalidate);
  EXPECT_TRUE(ParseCacheControl("proxy-revalidate=0").proxy_revalidate);
  EXPECT_FALSE(ParseCacheControl("public=1").is_public);
  EXPECT_FALSE(ParseCacheControl("must-understand=1").must_understand);
  EXPECT_TRUE(ParseCacheControl("immutable=1").immutable);  // RFC 8246 2
}

ResponseDirectives InForce(test::Fields fields) { return DirectivesInForce(Map(fields), {}); }

TEST(CacheControlTest, B1_AllLinesAreOneList) {
  const ResponseDirectives directives =
      InForce({{"Cache-Control", "max-age=5"}, {"X", "y"}, {"cache-control", "no-store"}});
  EXPECT_TRUE(directives.no_store);
  EXPECT_EQ(directives.max_age, seconds(5));
}

// RFC 9213 2.1: "a Dictionary Structured Field"
TEST(TargetedFieldTest, B6_ADictionaryIsParsedStrictly) {
  const auto good = ParseTargetedField("max-age=60;x=1, no-store, foo=(1 2)");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->max_age, seconds(60));
  EXPECT_TRUE(good->no_store);
  EXPECT_TRUE(good->targeted);
  EXPECT_EQ(ParseTargetedField("max-age=1, max-age=2")->max_age, seconds(2));
  EXPECT_EQ(ParseTargetedField("max-age=-1")->max_age, seconds(0));
  EXPECT_EQ(ParseTargetedField("max-age=99999999999")->max_age, seconds(int64_t{1} << 31));
  EXPECT_FALSE(ParseTargetedField("no-store=?0")->no_store);
  EXPECT_TRUE(ParseTargetedField("no-store=1")->no_store);
  EXPECT_THAT(ParseTargetedField("private=\"X-A\"")->unstored_fields, ElementsAre("x-a"));
  EXPECT_TRUE(ParseTargetedField("private")->is_private);
  EXPECT_TRUE(ParseTargetedField("no-cache=1")->no_cache);
  EXPECT_THAT(ParseTargetedField("no-cache")->unstored_fields, IsEmpty());
}

// RFC 9213 2.1: "If a targeted field in a given response is empty, or a parsing error is
// encountered, that field MUST be ignored by the cache".
TEST(TargetedFieldTest, B6_AllLinesAreOneDictionary) {
  const ResponseDirectives both = InForce({{"CDN-Cache-Control", "max-age=60"},
                                           {"CDN-Cache-Control", "no-store"},
                                           {"Cache-Control", "max-age=7"}});
  EXPECT_TRUE(both.targeted);
  EXPECT_EQ(both.max_age, seconds(60));
  EXPECT_TRUE(both.no_store);
  const ResponseDirectives fallback = InForce({{"CDN-Cache-Control", "max-age=60"},
                                               {"CDN-Cache-Control", "&"},
                                               {"Cache-Control", "max-age=7"}});
  EXPECT_FALSE(fallback.targeted);
  EXPECT_EQ(fallback.max_age, seconds(7));
}

TEST(TargetedFieldTest, B6_EmptyUnparsableOrMistypedCountsAsAbsent) {
  for (const std::string_view value :
       {"", "  ", "max-age=60, &", "max-age=60,", "Max-Age=60", "max-age = 60", "max-age=60.0",
        "max-age=\"60\"", "max-age=abc", "max-age", "max-age=(60)", "no-store, max-age=?1",
        "s-maxage=1.5"}) {
    EXPECT_FALSE(ParseTargetedField(value)) << value;
    const ResponseDirectives fallback =
        InForce({{"CDN-Cache-Control", value}, {"Cache-Control", "max-age=7"}});
    EXPECT_EQ(fallback.max_age, seconds(7)) << value;
    EXPECT_FALSE(fallback.targeted) << value;
  }
}

// RFC 9213 2.2: "the first field in the target list [...] with a valid, non-empty value".
TEST(TargetedFieldTest, C1_TheFirstUsableFieldOfTheListAloneIsInForce) {
  EXPECT_EQ(InForce({{"CDN-Cache-Control", "max-age=2"},
                     {"Satchel-Cache-Control", "max-age=1"},
                     {"Cache-Control", "max-age=3"}})
                .max_age,
            seconds(1));
  EXPECT_EQ(InForce({{"CDN-Cache-Control", "max-age=2"},
                     {"Satchel-Cache-Control", "%"},
                     {"Cache-Control", "max-age=3"}})
                .max_age,
            seconds(2));
  const ResponseDirectives targeted =
      InForce({{"CDN-Cache-Control", "foo"}, {"Cache-Control", "no-store, max-age=3"}});
  EXPECT_TRUE(targeted.targeted);
  EXPECT_FALSE(targeted.no_store);
  EXPECT_EQ(targeted.max_age, std::nullopt);
  Overrides none;
  none.targeted_fields.clear();
  EXPECT_TRUE(DirectivesInForce(
                  Map({{"CDN-Cache-Control", "max-age=2"}, {"Cache-Control", "no-store"}}), none)
                  .no_store);
}

RequestDirectives Client(test::Fields fields) { return ParseRequestDirectives(Map(fields)); }

// RFC 9111 5.2.1
TEST(RequestDirectivesTest, F5_AllAreRead) {
  const RequestDirectives all = Client({{"Cache-Control", "no-cache, no-store, only-if-cached"},
                                        {"Cache-Control", "max-age=1, min-fresh=2, max-stale=3"},
                                        {"Cache-Control", "stale-if-error=4"}});
  EXPECT_TRUE(all.no_cache);
  EXPECT_TRUE(all.no_store);
  EXPECT_TRUE(all.only_if_cached);
  EXPECT_EQ(all.max_age, seconds(1));
  EXPECT_EQ(all.min_fresh, seconds(2));
  EXPECT_EQ(all.max_stale, seconds(3));
  EXPECT_EQ(all.stale_if_error, seconds(4));
  EXPECT_EQ(Client({{"Cache-Control", "max-stale"}}).max_stale, RequestDirectives::kUnbounded);
  EXPECT_EQ(Client({{"Cache-Control", "max-stale=x"}}).max_stale, std::nullopt);
  EXPECT_EQ(Client({{"Cache-Control", "max-age=x"}}).max_age, std::nullopt);
}

// RFC 9111 5.4
TEST(RequestDirectivesTest, B7_PragmaCountsOnlyWithoutCacheControl) {
  EXPECT_TRUE(Client({{"Pragma", "no-cache"}}).no_cache);
  EXPECT_TRUE(Client({{"Pragma", "foo, No-Cache"}}).no_cache);
  EXPECT_FALSE(Client({{"Pragma", "no-cache"}, {"Cache-Control", "max-age=60"}}).no_cache);
  EXPECT_FALSE(Client({{"Pragma", "foo"}}).no_cache);
  EXPECT_FALSE(Client({{"Pragma", "no-store"}}).no_store);
}

}  // namespace
}  // namespace satchel::cache
