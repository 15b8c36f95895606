#include "cache/storability.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using test::DateAt;
using test::Get;
using test::Judge;
using test::kNow;
using test::Request;
using test::Response;

Reason Why(uint16_t status, test::Fields fields, const Overrides& rule = {}) {
  return Judge(status, fields, rule).reason;
}
Reason Why(const RequestHead& request, test::Fields fields, const Overrides& rule = {}) {
  return Judge(request, Response(200, fields), rule).reason;
}

// RFC 9111 3
TEST(StorabilityTest, C2_WhatMayNeverBeStoredIsNot) {
  EXPECT_EQ(Why(200, {{"Cache-Control", "no-store, max-age=60"}}), Reason::kNoStore);
  EXPECT_EQ(Why(200, {{"Cache-Control", "private, max-age=60"}}), Reason::kPrivate);
  EXPECT_EQ(Why(Get({{"Cache-Control", "no-store"}}), {{"Cache-Control", "max-age=60"}}),
            Reason::kRequestNoStore);
  EXPECT_EQ(Why(200, {{"Cache-Control", "max-age=60"}, {"Vary", "*"}}), Reason::kVaryStar);
  EXPECT_EQ(Why(200, {{"Cache-Control", "max-age=60"}, {"Vary", "Accept, *"}}), Reason::kVaryStar);
  EXPECT_EQ(Why(103, {{"Cache-Control", "max-age=60"}}), Reason::kNotFinal);
  EXPECT_EQ(Why(304, {{"Cache-Control", "max-age=60"}}), Reason::kUnsolicitedNotModified);
  for (const uint16_t status : {103, 304})
    EXPECT_FALSE(Judge(status, {{"Cache-Control", "max-age=60"}}).store);
}

TEST(StorabilityTest, A4_InterimResponsesAreNeverStored) {
  for (const uint16_t status : {100, 101, 102, 103, 199}) {
    EXPECT_EQ(Why(status, {{"Cache-Control", "max-age=60"}}), Reason::kNotFinal) << status;
  }
}

TEST(StorabilityTest, A1_OnlyGetIsStored) {
  for (const std::string_view method :
       {"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "QUERY", "M-SEARCH"}) {
    EXPECT_EQ(Why(Request(method, "/"), {{"Cache-Control", "max-age=60"}}),
              Reason::kMethodNotCacheable)
        << method;
  }
}

// RFC 9111 5.2.2.3: "the cache [...] MAY store only if it understands the status code".
TEST(StorabilityTest, C3_MustUnderstandOverridesNoStoreForKnownStatusesOnly) {
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "no-store, must-understand, max-age=60"}}).store);
  EXPECT_TRUE(Judge(404, {{"Cache-Control", "no-store, must-understand, max-age=60"}}).store);
  EXPECT_EQ(Why(299, {{"Cache-Control", "no-store, must-understand, max-age=60"}}),
            Reason::kStatusNotUnderstood);
  EXPECT_EQ(Why(599, {{"Cache-Control", "must-understand, max-age=60"}}),
            Reason::kStatusNotUnderstood);
  EXPECT_EQ(Why(200, {{"Cache-Control", "must-understand, private, max-age=60"}}),
            Reason::kPrivate);
}

// RFC 9213 2.1: a targeted field is made of the same directives.
TEST(StorabilityTest, C3_MustUnderstandHoldsInATargetedFieldToo) {
  EXPECT_TRUE(Judge(200, {{"CDN-Cache-Control", "no-store, must-understand, max-age=60"}}).store);
  EXPECT_EQ(Why(299, {{"CDN-Cache-Control", "no-store, must-understand, max-age=60"}}),
            Reason::kStatusNotUnderstood);
  EXPECT_EQ(Why(200, {{"CDN-Cache-Control", "no-store, must-understand=?0, max-age=60"}}),
            Reason::kNoStore);
}

// RFC 9111 3.5: "unless the response contains a Cache-Control field with a response directive that
// allows it to be stored by a shared cache: must-revalidate, public, and s-maxage".
TEST(StorabilityTest, C4_AuthorizationNeedsPublicSMaxageOrMustRevalidate) {
  const RequestHead request = Get({{"Authorization", "Basic x"}});
  EXPECT_EQ(Why(request, {{"Cache-Control", "max-age=60"}}), Reason::kAuthorization);
  EXPECT_EQ(Why(request, {{"Expires", DateAt(60)}}), Reason::kAuthorization);
  EXPECT_EQ(Why(request, {{"Cache-Control", "max-age=60, proxy-revalidate"}}),
            Reason::kAuthorization);
  EXPECT_EQ(Why(request, {{"Cache-Control", "max-age=60, immutable"}}), Reason::kAuthorization);
  for (const std::string_view value :
       {"max-age=60, public", "s-maxage=60", "max-age=60, must-revalidate"}) {
    EXPECT_EQ(Why(request, {{"Cache-Control", value}}), Reason::kExplicitLifetime) << value;
  }
  Overrides rule;
  rule.ttl = hours(1);
  EXPECT_EQ(Why(request, {}, rule), Reason::kAuthorization);
}

TEST(StorabilityTest, C4_WithThePrincipalInTheKeyPrivateAnswersMayBeStored) {
  Overrides rule;
  rule.principal_in_key = true;
  const RequestHead request = Get({{"Authorization", "Basic x"}});
  EXPECT_TRUE(
      Judge(request, Response(200, {{"Cache-Control", "private, max-age=60"}}), rule).store);
  EXPECT_EQ(Why(request, {{"Cache-Control", "no-store"}}, rule), Reason::kNoStore);
}

// RFC 9111 3: "the response status code is final"
TEST(StorabilityTest, C5_AnyFinalStatusWithExplicitLifetimeIsStored) {
  for (const uint16_t status :
       {200, 201, 202, 203, 204, 299, 300, 301, 302, 303, 307, 308, 399, 400, 401,
        403, 404, 405, 410, 414, 418, 451, 499, 500, 501, 502, 503, 504, 599}) {
    EXPECT_TRUE(Judge(status, {{"Cache-Control", "max-age=60"}}).store) << status;
    EXPECT_TRUE(Judge(status, {{"Cache-Control", "s-maxage=60"}}).store) << status;
    EXPECT_TRUE(Judge(status, {{"Expires", DateAt(60)}}).store) << status;
    EXPECT_TRUE(Judge(status, {{"CDN-Cache-Control", "max-age=60"}}).store) << status;
    EXPECT_EQ(Why(status, {{"Cache-Control", "max-age=60"}}), Reason::kExplicitLifetime) << status;
  }
}

TEST(StorabilityTest, C5_AValidatorIsKeptForValidation) {
  EXPECT_EQ(Why(200, {{"ETag", "\"a\""}}), Reason::kForValidationOnly);
  EXPECT_EQ(Why(200, {{"ETag", "\"a\""}, {"Cache-Control", "max-age=0"}}),
            Reason::kForValidationOnly);
  EXPECT_EQ(Why(200, {{"ETag", "\"a\""}, {"Cache-Control", "no-cache"}}),
            Reason::kForValidationOnly);
  EXPECT_EQ(Why(302, {{"ETag", "\"a\""}, {"Cache-Control", "max-age=0"}}),
            Reason::kForValidationOnly);
  EXPECT_EQ(Why(500, {{"ETag", "\"a\""}}), Reason::kNoLifetime);
  EXPECT_EQ(Why(200, {{"Cache-Control", "max-age=0"}}), Reason::kNoLifetime);
}

// RFC 9111 4.2.4: it may be served to max-stale, after an error, and while the origin is lost.
TEST(StorabilityTest, C5_WhatCameStaleIsStoredWhereItMayBeServedStale) {
  const auto verdict = [](std::string_view control) {
    return Judge(200, {{"Cache-Control", control}, {"Age", "15"}});
  };
  EXPECT_TRUE(verdict("max-age=10").store);
  EXPECT_FALSE(verdict("max-age=10").shareable);
  EXPECT_TRUE(verdict("s-maxage=10, stale-if-error=60").store);
  EXPECT_TRUE(verdict("s-maxage=10, stale-while-revalidate=60").shareable);
  EXPECT_TRUE(verdict("max-age=0, stale-if-error=60").store);
  EXPECT_FALSE(verdict("s-maxage=10").store);
  EXPECT_FALSE(verdict("max-age=10, must-revalidate").store);
  EXPECT_FALSE(verdict("max-age=10, no-cache").store);
  EXPECT_FALSE(verdict("max-age=0").store);
}

// RFC 9111 7.3
TEST(StorabilityTest, C6_SetCookieCookieAndQueriesDoNotPreventStoring) {
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=60"}, {"Set-Cookie", "a=b"}}).store);
  EXPECT_TRUE(
      Judge(Get({{"Cookie", "a=b"}}), Response(200, {{"Cache-Control", "max-age=60"}})).store);
  EXPECT_TRUE(
      Judge(Request("GET", "/a?b=c"), Response(200, {{"Cache-Control", "max-age=60"}})).store);
  EXPECT_TRUE(
      Judge(Request("GET", "/a?b=c"), Response(200, {{"Last-Modified", DateAt(-9999)}})).store);
  EXPECT_TRUE(
      Judge(200, {{"Cache-Control", "max-age=60"}, {"Content-Disposition", "attachment"}}).store);
  Overrides refuse;
  refuse.store_set_cookie = false;
  EXPECT_EQ(Why(200, {{"Cache-Control", "max-age=60"}, {"Set-Cookie", "a=b"}}, refuse),
            Reason::kSetCookie);
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=60"}}, refuse).store);
}

// RFC 9111 5.2.2.4
TEST(StorabilityTest, C7_NoCacheIsStoredAndNeverFresh) {
  const StoreVerdict verdict =
      Judge(200, {{"Cache-Control", "no-cache, max-age=60"}, {"ETag", "\"a\""}});
  EXPECT_TRUE(verdict.store);
  EXPECT_FALSE(verdict.shareable);
  EXPECT_TRUE(verdict.facts.no_cache);
  EXPECT_FALSE(verdict.facts.IsFreshAt(kNow));
  EXPECT_EQ(Why(200, {{"Cache-Control", "no-cache, max-age=60"}}), Reason::kResponseNoCache);
  const StoreVerdict qualified =
      Judge(200, {{"Cache-Control", "no-cache=\"X-A\", max-age=60"}, {"X-A", "1"}});
  EXPECT_TRUE(qualified.facts.IsFreshAt(kNow));
  EXPECT_TRUE(qualified.shareable);
  EXPECT_TRUE(qualified.facts.has_unstored_fields);
}

// RFC 9110 9.3.3
TEST(StorabilityTest, C8_APostThatSaysItIsTheRepresentationIsStored) {
  const auto why = [](std::string_view location, std::string_view control, uint16_t status = 200) {
    return Judge(Request("POST", "/a/b?c"),
                 Response(status, {{"Content-Location", location}, {"Cache-Control", control}}))
        .reason;
  };
  EXPECT_EQ(why("/a/b?c", "max-age=60"), Reason::kExplicitLifetime);
  EXPECT_EQ(why("http://EXAMPLE.com:80/a/b?c", "max-age=60"), Reason::kExplicitLifetime);
  EXPECT_EQ(why("b?c", "max-age=60"), Reason::kExplicitLifetime);
  EXPECT_EQ(why("?c", "max-age=60"), Reason::kExplicitLifetime);
  EXPECT_EQ(why("/a/b", "max-age=60"), Reason::kMethodNotCacheable);
  EXPECT_EQ(why("http://other.com/a/b?c", "max-age=60"), Reason::kMethodNotCacheable);
  EXPECT_EQ(why("/a/b?c", "public"), Reason::kMethodNotCacheable);
  EXPECT_EQ(why("/a/b?c", "no-store, max-age=60"), Reason::kNoStore);
  EXPECT_EQ(why("/a/b?c", "max-age=60", 201), Reason::kMethodNotCacheable);
  EXPECT_FALSE(Judge(Request("POST", "/a"),
                     Response(200, {{"Content-Location", "/a"}, {"Cache-Control", "max-age=60"}}))
                   .shareable);
}

ResponseHead Part(std::string_view content_range, std::string_view length = "") {
  ResponseHead out = Response(206, {{"Cache-Control", "max-age=60"}});
  if (!content_range.empty()) out.fields.Add("Content-Range", content_range);
  if (!length.empty()) out.fields.Add("Content-Length", length);
  return out;
}

// RFC 9111 3.3, RFC 9110 15.3.7
TEST(StorabilityTest, F6_APartIsStoredOnlyIfWholeSingleAndAskedFor) {
  const RequestHead asked = Get({{"Range", "bytes=2-5"}});
  const StoreVerdict good = Judge(asked, Part("bytes 2-5/10", "4"));
  EXPECT_TRUE(good.store);
  EXPECT_TRUE(good.facts.partial);
  EXPECT_FALSE(good.shareable);
  EXPECT_TRUE(Judge(asked, Part("bytes 2-5/10")).store);
  EXPECT_TRUE(Judge(asked, Part("bytes 2-4/10", "3")).store);
  EXPECT_TRUE(Judge(Get({{"Range", "bytes=-4"}}), Part("bytes 6-9/10")).store);
  EXPECT_TRUE(Judge(Get({{"Range", "bytes=3-"}}), Part("bytes 3-9/10")).store);
  for (const auto& [range, length] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{"", "4"},
                                                                            {"bytes 2-5/10", "5"},
                                                                            {"bytes 2-5/10", "x"},
                                                                            {"bytes 1-4/10", "4"},
                                                                            {"bytes 2-6/10", "5"},
                                                                            {"bytes 2-5/*", "4"},
                                                                            {"bytes 5-2/10", "4"},
                                                                            {"bytes 2-5/5", "4"},
                                                                            {"bytes */10", ""},
                                                                            {"lines 2-5/10", "4"},
                                                                            {"bytes 2-5", "4"}}) {
    EXPECT_EQ(Judge(asked, Part(range, length)).reason, Reason::kBadPartial)
        << range << " " << length;
  }
  EXPECT_EQ(Judge(Get(), Part("bytes 2-5/10")).reason, Reason::kBadPartial);
  EXPECT_EQ(Judge(Get({{"Range", "bytes=2-5, 8-9"}}), Part("bytes 2-5/10")).reason,
            Reason::kBadPartial);
  ResponseHead twice = Part("bytes 2-5/10");
  twice.fields.Add("Content-Range", "bytes 2-5/10");
  EXPECT_EQ(Judge(asked, twice).reason, Reason::kBadPartial);
}

// RFC 9110 14.4: Content-Range has no meaning elsewhere.
TEST(StorabilityTest, A3_ContentRangeOnA200MeansNothing) {
  const StoreVerdict verdict =
      Judge(200, {{"Cache-Control", "max-age=60"}, {"Content-Range", "bytes 2-5/10"}});
  EXPECT_TRUE(verdict.store);
  EXPECT_FALSE(verdict.facts.partial);
}

TEST(StorabilityTest, B7_PragmaInAResponseIsIgnored) {
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=60"}, {"Pragma", "no-cache"}}).store);
  EXPECT_TRUE(Judge(200, {{"Expires", DateAt(60)}, {"Pragma", "no-cache"}}).facts.IsFreshAt(kNow));
}

TEST(StorabilityTest, TheRulesSwitchesHold) {
  Overrides off;
  off.enabled = false;
  EXPECT_EQ(Why(200, {{"Cache-Control", "max-age=60"}}, off), Reason::kRuleBypass);
  Overrides narrow;
  narrow.statuses = {200, 404};
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=60"}}, narrow).store);
  EXPECT_EQ(Why(301, {{"Cache-Control", "max-age=60"}}, narrow), Reason::kStatusExcluded);
  Overrides deaf;
  deaf.obey_request_directives = false;
  EXPECT_TRUE(Judge(Get({{"Cache-Control", "no-store"}}),
                    Response(200, {{"Cache-Control", "max-age=60"}}), deaf)
                  .store);
}

// An answer that has to be validated before its next use is nobody else's (RFC 9111 4).
TEST(StorabilityTest, OnlyWhatIsReusableAtOnceIsSharedWithFollowers) {
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=60"}}).shareable);
  EXPECT_FALSE(Judge(200, {{"Cache-Control", "max-age=0"}, {"ETag", "\"a\""}}).shareable);
  EXPECT_TRUE(Judge(200, {{"Cache-Control", "max-age=0, stale-while-revalidate=60"}}).shareable);
  EXPECT_FALSE(
      Judge(200, {{"Cache-Control", "no-cache, stale-while-revalidate=60"}, {"ETag", "\"a\""}})
          .shareable);
  EXPECT_FALSE(Judge(200, {{"Cache-Control", "private"}}).shareable);
  EXPECT_FALSE(Judge(200, {}).shareable);
}

// RFC 9111 4.2.4, 5.2.2.2, 5.2.2.8, 5.2.2.10; RFC 5861
TEST(StorabilityTest, G1_StaleGrantsGiveWayToRevalidationDirectives) {
  const auto facts = [](std::string_view control, const Overrides& rule = {}) {
    return Judge(200, {{"Cache-Control", control}, {"ETag", "\"a\""}}, rule).facts;
  };
  const ResponseFacts granted = facts("max-age=60, stale-while-revalidate=30, stale-if-error=40");
  EXPECT_TRUE(granted.swr_granted);
  EXPECT_TRUE(granted.sie_granted);
  EXPECT_FALSE(granted.must_revalidate);
  EXPECT_EQ(granted.stale_while_revalidate, seconds(30));
  EXPECT_EQ(granted.stale_if_error, seconds(40));
  for (const std::string_view word : {"must-revalidate", "proxy-revalidate", "no-cache"}) {
    Overrides rule;
    rule.stale_while_revalidate = seconds(5);
    rule.stale_if_error = seconds(5);
    const ResponseFacts strict = facts(
        "max-age=60, stale-while-revalidate=30, stale-if-error=40, " + std::string(word), rule);
    EXPECT_FALSE(strict.swr_granted) << word;
    EXPECT_FALSE(strict.sie_granted) << word;
    EXPECT_TRUE(strict.must_revalidate) << word;
  }
  const ResponseFacts shared = facts("s-maxage=60, stale-while-revalidate=30");
  EXPECT_TRUE(shared.must_revalidate);
  EXPECT_TRUE(shared.swr_granted);
  EXPECT_FALSE(facts("stale-while-revalidate=30").swr_granted);  // no lifetime to extend
  Overrides rule;
  rule.stale_while_revalidate = seconds(7);
  EXPECT_EQ(facts("max-age=60, stale-while-revalidate=30", rule).stale_while_revalidate,
            seconds(7));
}

Reason WhyError(uint16_t status, test::Fields request) {
  return Judge(Get(request), Response(status, {{"Cache-Control", "max-age=60"}})).reason;
}

TEST(OddRequestTest, ErrorsThatARequestCausedItselfAreNotStored) {
  const std::string large(9000, 'x');
  for (const uint16_t status : {400, 405, 413, 414, 431, 501}) {
    EXPECT_EQ(WhyError(status, {{"X-Large", large}}), Reason::kOddRequest) << status;
    EXPECT_EQ(WhyError(status, {{"x-http-method-override", "DELETE"}}), Reason::kOddRequest)
        << status;
    EXPECT_EQ(WhyError(status, {{"Range", "bytes=0-"}}), Reason::kOddRequest) << status;
    EXPECT_EQ(WhyError(status, {{"X-Meta", "a\x01z"}}), Reason::kOddRequest) << status;
    EXPECT_EQ(WhyError(status, {{"User-Agent", "x"}}), Reason::kExplicitLifetime) << status;
  }
  EXPECT_EQ(WhyError(404, {{"X-Large", large}}), Reason::kExplicitLifetime);
  EXPECT_EQ(WhyError(412, {{"If-Match", "\"x\""}}), Reason::kOddRequest);
  EXPECT_EQ(WhyError(412, {}), Reason::kExplicitLifetime);
  EXPECT_EQ(WhyError(416, {{"Range", "bytes=9-"}}), Reason::kOddRequest);
  EXPECT_EQ(WhyError(416, {}), Reason::kExplicitLifetime);
  EXPECT_EQ(Judge(Request("GET", "/" + std::string(5000, 'a')),
                  Response(414, {{"Cache-Control", "max-age=60"}}))
                .reason,
            Reason::kOddRequest);
}

Reason WhyPage(std::string_view target, test::Fields fields, const Overrides& rule = {}) {
  return Judge(Request("GET", target), Response(200, fields), rule).reason;
}

TEST(DeceptivePathTest, APageUnderTheNameOfAFileNeedsExplicitFreshnessAndNoCookie) {
  EXPECT_EQ(
      WhyPage("/account/x.css", {{"Content-Type", "text/html"}, {"Last-Modified", DateAt(-9000)}}),
      Reason::kDeceptivePath);
  EXPECT_EQ(WhyPage("/account/x.PNG?y",
                    {{"Content-Type", "application/json; charset=utf-8"}, {"ETag", "\"a\""}}),
            Reason::kDeceptivePath);
  EXPECT_EQ(WhyPage("/x.js", {{"Content-Type", "text/html"},
                              {"Cache-Control", "max-age=60"},
                              {"Set-Cookie", "a=b"}}),
            Reason::kDeceptivePath);
  EXPECT_EQ(WhyPage("/x.js", {{"Content-Type", "text/html"}, {"Cache-Control", "max-age=60"}}),
            Reason::kExplicitLifetime);
  EXPECT_EQ(
      WhyPage("/x.js", {{"Content-Type", "text/javascript"}, {"Last-Modified", DateAt(-9000)}}),
      Reason::kHeuristicLifetime);
  EXPECT_EQ(WhyPage("/x.html", {{"Content-Type", "text/html"}, {"Last-Modified", DateAt(-9000)}}),
            Reason::kHeuristicLifetime);
  EXPECT_EQ(WhyPage("/x.js/y", {{"Content-Type", "text/html"}, {"Last-Modified", DateAt(-9000)}}),
            Reason::kHeuristicLifetime);
  Overrides rule;
  rule.ttl = hours(1);
  EXPECT_EQ(WhyPage("/x.css", {{"Content-Type", "text/html"}}, rule), Reason::kDeceptivePath);
  EXPECT_EQ(WhyPage("/x.css", {{"Content-Type", "text/css"}}, rule), Reason::kRuleLifetime);
}

}  // namespace
}  // namespace satchel::cache
