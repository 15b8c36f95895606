#include "cache/freshness.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using test::At;
using test::DateAt;
using test::Judge;
using test::kNow;
using test::kNowText;
using test::LifetimeOf;
using test::Map;

// RFC 9111 4.2.1: s-maxage, else max-age, else Expires minus Date, else heuristic.
TEST(FreshnessTest, D1_SharedMaxAgeBeatsEverything) {
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=60, s-maxage=10"}}), 10);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=10, s-maxage=60"}}), 60);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "s-maxage=60"}, {"Expires", DateAt(-3600)}}), 60);
  EXPECT_EQ(Judge(200, {{"Cache-Control", "s-maxage=0, max-age=60"}}).reason, Reason::kNoLifetime);
}

TEST(FreshnessTest, D1_MaxAgeBeatsExpires) {
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=60"}, {"Expires", DateAt(3600)}}), 60);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=60"}, {"Expires", DateAt(-3600)}}), 60);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=60"}, {"Expires", "0"}}), 60);
  EXPECT_FALSE(Judge(200, {{"Cache-Control", "max-age=0"}, {"Expires", DateAt(3600)}}).store);
}

TEST(FreshnessTest, D1_ExpiresCountsFromDateOrReceipt) {
  EXPECT_EQ(LifetimeOf({{"Expires", DateAt(60)}, {"Date", kNowText}}), 60);
  EXPECT_EQ(LifetimeOf({{"Expires", DateAt(60)}}), 60);
  EXPECT_EQ(LifetimeOf({{"Expires", DateAt(60)}, {"Date", "yesterday"}}), 60);
  EXPECT_EQ(LifetimeOf({{"Expires", DateAt(60)}, {"Date", DateAt(-30)}}), 90);
  EXPECT_EQ(LifetimeOf({{"Expires", "Thursday, 01-Jan-26 00:01:00 GMT"}}), 60);
  EXPECT_EQ(LifetimeOf({{"Expires", "Thu Jan  1 00:01:00 2026"}}), 60);
}

// RFC 9111 5.3: "A cache recipient MUST interpret invalid date formats, especially the value "0",
// as representing a time in the past".
TEST(FreshnessTest, B5_RefusedOrRepeatedExpiresMeansExpired) {
  for (const std::string_view expires :
       {"0", "-1", "", "tomorrow", "Thu, 01 Jan 2026 01:00:00 UTC"}) {
    EXPECT_FALSE(Judge(200, {{"Expires", expires}}).store) << expires;
    // Nor does the heuristic take over.
    const StoreVerdict kept = Judge(200, {{"Expires", expires}, {"Last-Modified", DateAt(-86400)}});
    EXPECT_EQ(kept.facts.lifetime, Millis(0)) << expires;
    EXPECT_EQ(kept.reason, Reason::kForValidationOnly) << expires;
  }
  EXPECT_FALSE(Judge(200, {{"Expires", DateAt(60)}, {"Expires", DateAt(60)}}).store);
}

TEST(FreshnessTest, B4_FarAwayExpiryIsStillFresh) {
  Overrides rule;
  rule.ttl_max = hours(24 * 365 * 400);
  // 260 years are more than can be kept, which is what is kept then (RFC 9111 1.2.2).
  EXPECT_EQ(LifetimeOf({{"Expires", "Sat, 20 Nov 2286 17:46:40 GMT"}, {"Date", kNowText}}, rule),
            (int64_t{1} << 31) - 1);
  EXPECT_EQ(LifetimeOf({{"Expires", "Tue, 19 Jan 2038 03:14:08 GMT"}, {"Date", kNowText}}, rule),
            (int64_t{1} << 31) - 1767225600);
}

// RFC 9213 2.2, 2.3
TEST(FreshnessTest, C1_ATargetedFieldPutsExpiresOutOfForce) {
  EXPECT_EQ(
      LifetimeOf(
          {{"CDN-Cache-Control", "max-age=60"}, {"Cache-Control", "no-store"}, {"Expires", "0"}}),
      60);
  EXPECT_FALSE(Judge(200, {{"CDN-Cache-Control", "foo"}, {"Expires", DateAt(60)}}).store);
  EXPECT_FALSE(
      Judge(200, {{"CDN-Cache-Control", "no-store"}, {"Cache-Control", "max-age=60"}}).store);
  const StoreVerdict aged =
      Judge(200, {{"CDN-Cache-Control", "max-age=60"}, {"Age", "30"}, {"Date", DateAt(-10)}});
  EXPECT_EQ(aged.facts.initial_age, seconds(30));
}

// RFC 9111 4.2.2: "a typical setting of this fraction might be 10%".
TEST(FreshnessTest, D3_TheHeuristicIsATenthSinceLastModified) {
  EXPECT_EQ(LifetimeOf({{"Last-Modified", DateAt(-6000)}}), 600);
  EXPECT_EQ(LifetimeOf({{"Last-Modified", DateAt(-6000)}, {"Date", DateAt(-1000)}}), 500);
  EXPECT_EQ(Judge(200, {{"Last-Modified", DateAt(-6000)}}).reason, Reason::kHeuristicLifetime);
  EXPECT_EQ(LifetimeOf({{"Last-Modified", DateAt(-86400 * 365)}}), 3600);
  Overrides day;
  day.heuristic_max = hours(24);
  EXPECT_EQ(LifetimeOf({{"Last-Modified", DateAt(-86400 * 365)}}, day), 86400);
  EXPECT_EQ(LifetimeOf({{"Last-Modified", DateAt(60)}}), 0);
  EXPECT_EQ(LifetimeOf({{"Last-Modified", kNowText}}), 0);
}

// RFC 9110 15.1
TEST(FreshnessTest, D3_TheHeuristicHoldsForTheListedStatusesOrPublicOnly) {
  for (const uint16_t status : {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}) {
    const StoreVerdict verdict = Judge(status, {{"Last-Modified", DateAt(-6000)}});
    EXPECT_TRUE(verdict.store) << status;
    EXPECT_EQ(verdict.facts.lifetime, seconds(600)) << status;
  }
  for (const uint16_t status : {201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599}) {
    EXPECT_FALSE(Judge(status, {{"Last-Modified", DateAt(-6000)}}).store) << status;
    EXPECT_EQ(Judge(status, {{"Last-Modified", DateAt(-6000)}, {"Cache-Control", "public"}})
                  .facts.lifetime,
              seconds(600))
        << status;
  }
}

TEST(FreshnessTest, D4_WithoutLifetimeAndLastModifiedNothingIsFresh) {
  EXPECT_FALSE(Judge(200, {}).store);
  EXPECT_EQ(Judge(200, {}).reason, Reason::kNoLifetime);
  EXPECT_FALSE(Judge(200, {{"Cache-Control", "public"}}).store);
  const StoreVerdict etag = Judge(200, {{"ETag", "\"a\""}});
  EXPECT_TRUE(etag.store);
  EXPECT_EQ(etag.reason, Reason::kForValidationOnly);
  EXPECT_FALSE(etag.facts.IsFreshAt(kNow));
}

Millis AgeOf(test::Fields fields, Millis delay = Millis(0)) {
  return InitialAge(Map(fields), kNow - delay, kNow);
}

// RFC 9111 4.2.3: apparent_age, corrected_age_value, corrected_initial_age.
TEST(FreshnessTest, D2_InitialAgeIsTheLargerOfApparentAndCorrected) {
  EXPECT_EQ(AgeOf({}), seconds(0));
  EXPECT_EQ(AgeOf({{"Date", DateAt(-100)}}), seconds(100));
  EXPECT_EQ(AgeOf({{"Date", DateAt(100)}}), seconds(0));
  EXPECT_EQ(AgeOf({{"Age", "50"}}), seconds(50));
  EXPECT_EQ(AgeOf({{"Age", "50"}, {"Date", DateAt(-100)}}), seconds(100));
  EXPECT_EQ(AgeOf({{"Age", "150"}, {"Date", DateAt(-100)}}), seconds(150));
  EXPECT_EQ(AgeOf({{"Age", "50"}}, milliseconds(1500)), milliseconds(51500));
  EXPECT_EQ(AgeOf({}, milliseconds(1500)), milliseconds(1500));
  EXPECT_EQ(AgeOf({}, -seconds(5)), seconds(0));
}

// RFC 9111 4.2: "response_is_fresh = (freshness_lifetime > current_age)"
TEST(FreshnessTest, D2_FreshIsStrict) {
  ResponseFacts facts;
  facts.received = kNow;
  facts.initial_age = seconds(10);
  facts.lifetime = seconds(60);
  EXPECT_EQ(facts.AgeAt(At(5)), seconds(15));
  EXPECT_EQ(facts.AgeAt(At(-5)), seconds(10));
  EXPECT_TRUE(facts.IsFreshAt(At(50) - milliseconds(1)));
  EXPECT_FALSE(facts.IsFreshAt(At(50)));
  EXPECT_EQ(facts.StaleFor(At(49)), Millis(0));
  EXPECT_EQ(facts.StaleFor(At(51)), seconds(1));
  EXPECT_FALSE(Judge(200, {{"Expires", kNowText}, {"Date", kNowText}}).facts.IsFreshAt(kNow));
}

TEST(FreshnessTest, F1_AgesAreKeptInMillisecondsAndFloorOnlyWhenSent) {
  const StoreVerdict verdict =
      MayStore(test::Get(), test::Response(200, {{"Cache-Control", "max-age=60"}}),
               kNow - milliseconds(600), kNow, 0.0, {});
  EXPECT_EQ(verdict.facts.AgeAt(kNow + milliseconds(600)), milliseconds(1200));
}

// RFC 9111 5.1, 1.2.2
TEST(FreshnessTest, B3_AgeIsTheFirstMemberOfTheFirstLineOrNothing) {
  const auto age = [](test::Fields fields) { return AgeField(Map(fields)).count() / 1000; };
  EXPECT_EQ(age({{"Age", "7200"}}), 7200);
  EXPECT_EQ(age({{"Age", "7200, 0"}}), 7200);
  EXPECT_EQ(age({{"Age", "0, 7200"}}), 0);
  EXPECT_EQ(age({{"Age", "7200"}, {"Age", "0"}}), 7200);
  EXPECT_EQ(age({{"Age", "0"}, {"Age", "7200"}}), 0);
  EXPECT_EQ(age({{"Age", "99999999999"}}), int64_t{1} << 31);
  for (const std::string_view value :
       {"abc", "-7200", "7200.0", "7200;x=y", "", "\"7200\"", "72 00"}) {
    EXPECT_EQ(age({{"Age", value}}), 0) << value;
  }
  EXPECT_FALSE(Judge(200, {{"Cache-Control", "max-age=60"}, {"Age", "60"}}).facts.IsFreshAt(kNow));
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=60"}, {"Age", "59"}}).facts.IsFreshAt(kNow));
}

TEST(FreshnessTest, ARulesLifetimeCountsFromReceipt) {
  Overrides rule;
  rule.ttl = minutes(5);
  const StoreVerdict verdict = Judge(200, {{"Age", "7200"}}, rule);
  EXPECT_EQ(verdict.reason, Reason::kRuleLifetime);
  EXPECT_TRUE(verdict.facts.IsFreshAt(At(299)));
  EXPECT_FALSE(verdict.facts.IsFreshAt(At(300)));
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=1"}}, rule), 300);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=3600"}}, rule), 300);
  // It does not lift what the origin forbids.
  EXPECT_EQ(Judge(200, {{"Cache-Control", "no-store"}}, rule).reason, Reason::kNoStore);
  EXPECT_EQ(Judge(200, {{"Cache-Control", "private"}}, rule).reason, Reason::kPrivate);
  EXPECT_FALSE(Judge(200, {{"Cache-Control", "no-cache"}}, rule).facts.IsFreshAt(kNow));
  // Nor is it for errors, which have their own list.
  EXPECT_FALSE(Judge(404, {}, rule).store);
  EXPECT_FALSE(Judge(500, {}, rule).store);
  EXPECT_FALSE(Judge(302, {}, rule).store);
}

TEST(FreshnessTest, NegativeLifetimesAreForErrorsWithoutTheirOwn) {
  Overrides rule;
  rule.negative = {{404, seconds(10)}, {503, seconds(1)}};
  EXPECT_EQ(Judge(404, {}, rule).reason, Reason::kNegativeLifetime);
  EXPECT_EQ(Judge(404, {}, rule).facts.lifetime, seconds(10));
  EXPECT_EQ(Judge(404, {{"Last-Modified", DateAt(-9000)}}, rule).facts.lifetime, seconds(10));
  EXPECT_EQ(Judge(404, {{"Cache-Control", "max-age=3600"}}, rule).facts.lifetime, hours(1));
  EXPECT_EQ(Judge(404, {{"Cache-Control", "max-age=1"}}, rule).facts.lifetime, seconds(1));
  EXPECT_EQ(Judge(503, {}, rule).facts.lifetime, seconds(1));
  EXPECT_EQ(Judge(404, {{"Cache-Control", "no-store"}}, rule).reason, Reason::kNoStore);
  EXPECT_FALSE(Judge(410, {}, rule).store);
}

TEST(FreshnessTest, TheRulesBoundsHoldSinceReceipt) {
  Overrides rule;
  rule.ttl_min = seconds(30);
  rule.ttl_max = seconds(90);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=5"}}, rule), 30);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=60"}}, rule), 60);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=600"}}, rule), 90);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=600"}, {"Age", "100"}}, rule), 190);
  EXPECT_EQ(LifetimeOf({{"Cache-Control", "max-age=5"}, {"Age", "100"}}, rule), 130);
  EXPECT_FALSE(Judge(200, {}, rule).store);
  // Without a lower bound an aged response stays as stale as it is.
  EXPECT_EQ(
      LifetimeOf({{"Cache-Control", "max-age=10, stale-while-revalidate=900"}, {"Age", "100"}}),
      10);
}

TEST(FreshnessTest, JitterOnlyShortens) {
  Overrides rule;
  rule.jitter = 0.2;
  const auto lifetime = [&](double random) {
    return MayStore(test::Get(),
                    test::Response(200, {{"Cache-Control", "max-age=100"}, {"Age", "50"}}), kNow,
                    kNow, random, rule)
        .facts.lifetime;
  };
  EXPECT_EQ(lifetime(0.0), seconds(100));
  EXPECT_EQ(lifetime(0.5), seconds(95));
  EXPECT_GE(lifetime(0.999999), seconds(90));
  EXPECT_LT(lifetime(0.999999), seconds(91));
}

}  // namespace
}  // namespace satchel::cache
