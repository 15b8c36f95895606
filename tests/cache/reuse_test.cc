#include "cache/reuse.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {

// For messages of failed tests.
static void PrintTo(const Decision& decision, std::ostream* out) {
  *out << "action " << static_cast<int>(decision.action) << " " << ReasonWord(decision.reason);
}

namespace {

using std::chrono::seconds;
using test::At;
using test::Get;
using test::kNow;
using test::Request;

// Stored at kNow, fresh for 60 s.
ResponseFacts Stored() {
  ResponseFacts facts;
  facts.received = kNow;
  facts.date = kNow;
  facts.lifetime = seconds(60);
  facts.status = 200;
  facts.has_etag = true;
  return facts;
}

struct Case {
  Action action;
  Reason reason;
};
bool operator==(const Decision& decision, const Case& expected) {
  return decision.action == expected.action && decision.reason == expected.reason;
}
std::ostream& operator<<(std::ostream& out, const Case& expected) {
  return out << "action " << static_cast<int>(expected.action) << " "
             << ReasonWord(expected.reason);
}

Decision On(const RequestHead& request, const ResponseFacts& stored, int64_t second,
            const Overrides& rule = {}) {
  return Decide(request, &stored, false, At(second), rule);
}
Decision On(std::string_view control, const ResponseFacts& stored, int64_t second,
            const Overrides& rule = {}) {
  return On(Get({{"Cache-Control", control}}), stored, second, rule);
}

// RFC 9111 4
TEST(DecideTest, A1_OtherMethodsAreForwarded) {
  for (const std::string_view method :
       {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "M-SEARCH"}) {
    const Decision decision = On(Request(method, "/"), Stored(), 1);
    EXPECT_EQ(decision, (Case{Action::kBypass, Reason::kMethod})) << method;
    EXPECT_FALSE(decision.may_collapse);
    EXPECT_EQ(decision.may_store, method == "POST");
  }
}

TEST(DecideTest, ARuleMaySwitchTheCacheOff) {
  Overrides rule;
  rule.enabled = false;
  const Decision decision = On(Get(), Stored(), 1, rule);
  EXPECT_EQ(decision, (Case{Action::kBypass, Reason::kRuleBypass}));
  EXPECT_FALSE(decision.may_store);
}

TEST(DecideTest, AMissSaysWhetherOtherVariantsExist) {
  EXPECT_EQ(Decide(Get(), nullptr, false, kNow, {}),
            (Case{Action::kFetch, Reason::kNoStoredResponse}));
  EXPECT_EQ(Decide(Get(), nullptr, true, kNow, {}), (Case{Action::kFetch, Reason::kVaryMismatch}));
  EXPECT_TRUE(Decide(Get(), nullptr, false, kNow, {}).may_store);
  EXPECT_TRUE(Decide(Get(), nullptr, false, kNow, {}).may_collapse);
}

// RFC 9111 4.2
TEST(DecideTest, D2_FreshIsServedAndStaleValidated) {
  EXPECT_EQ(On(Get(), Stored(), 0), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On(Get(), Stored(), 59), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On(Get(), Stored(), 60), (Case{Action::kRevalidate, Reason::kExpired}));
  EXPECT_EQ(On(Get(), Stored(), -100), (Case{Action::kServe, Reason::kFresh}));
}

// RFC 9110 9.3.2
TEST(DecideTest, F4_HeadIsAnsweredFromAFreshGet) {
  EXPECT_EQ(On(Request("HEAD", "/"), Stored(), 1), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_FALSE(Decide(Request("HEAD", "/"), nullptr, false, kNow, {}).may_collapse);
}

// RFC 9111 3.5: a stored response that was shareable answers authorised requests too.
TEST(DecideTest, C4_AuthorizationDoesNotPreventReuse) {
  EXPECT_EQ(On(Get({{"Authorization", "Basic x"}}), Stored(), 1),
            (Case{Action::kServe, Reason::kFresh}));
}

// RFC 9111 5.2.2.4
TEST(DecideTest, C7_NoCacheIsValidatedEveryTime) {
  ResponseFacts stored = Stored();
  stored.no_cache = true;
  EXPECT_EQ(On(Get(), stored, 1), (Case{Action::kRevalidate, Reason::kResponseNoCache}));
  stored.swr_granted = true;
  stored.stale_while_revalidate = Millis(seconds(1000));
  EXPECT_EQ(On("max-stale", stored, 61), (Case{Action::kRevalidate, Reason::kResponseNoCache}));
}

// RFC 9111 5.2.1.4
TEST(DecideTest, F5_RequestNoCacheForcesValidation) {
  EXPECT_EQ(On("no-cache", Stored(), 1), (Case{Action::kRevalidate, Reason::kRequestNoCache}));
  EXPECT_FALSE(On("no-cache", Stored(), 1).may_collapse);
  EXPECT_TRUE(On("no-cache", Stored(), 1).may_store);
}

// RFC 9111 5.2.1.1
TEST(DecideTest, F5_RequestMaxAgeBoundsTheAge) {
  EXPECT_EQ(On("max-age=10", Stored(), 10), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On("max-age=10", Stored(), 11), (Case{Action::kRevalidate, Reason::kRequestMaxAge}));
  EXPECT_EQ(On("max-age=0", Stored(), 1), (Case{Action::kRevalidate, Reason::kRequestMaxAge}));
  EXPECT_EQ(On("max-age=100", Stored(), 61), (Case{Action::kRevalidate, Reason::kExpired}));
}

// RFC 9111 5.2.1.3
TEST(DecideTest, F5_MinFreshAsksForTimeLeft) {
  EXPECT_EQ(On("min-fresh=10", Stored(), 50), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On("min-fresh=10", Stored(), 51),
            (Case{Action::kRevalidate, Reason::kRequestMinFresh}));
}

// RFC 9111 5.2.1.2
TEST(DecideTest, F5_MaxStaleAcceptsStale) {
  EXPECT_EQ(On("max-stale=10", Stored(), 70), (Case{Action::kServe, Reason::kMaxStale}));
  EXPECT_EQ(On("max-stale=10", Stored(), 71), (Case{Action::kRevalidate, Reason::kExpired}));
  EXPECT_EQ(On("max-stale", Stored(), 1'000'000), (Case{Action::kServe, Reason::kMaxStale}));
  EXPECT_EQ(On("max-stale=10, max-age=65", Stored(), 68),
            (Case{Action::kServe, Reason::kMaxStale}));
  ResponseFacts strict = Stored();
  strict.must_revalidate = true;
  EXPECT_EQ(On("max-stale", strict, 61), (Case{Action::kRevalidate, Reason::kMustRevalidate}));
}

// RFC 9111 5.2.1.7
TEST(DecideTest, F5_OnlyIfCachedGivesTheStoredResponseOr504) {
  EXPECT_EQ(On("only-if-cached", Stored(), 1), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On("only-if-cached", Stored(), 61),
            (Case{Action::kGatewayTimeout, Reason::kOnlyIfCached}));
  EXPECT_EQ(On("only-if-cached, max-stale", Stored(), 61),
            (Case{Action::kServe, Reason::kMaxStale}));
  EXPECT_EQ(Decide(Get({{"Cache-Control", "only-if-cached"}}), nullptr, false, kNow, {}),
            (Case{Action::kGatewayTimeout, Reason::kOnlyIfCached}));
}

// RFC 9111 5.2.1.5
TEST(DecideTest, F5_RequestNoStoreKeepsNothingButMayUseWhatIsStored) {
  const Decision hit = On("no-store", Stored(), 1);
  EXPECT_EQ(hit, (Case{Action::kServe, Reason::kFresh}));
  EXPECT_FALSE(hit.may_store);
  EXPECT_FALSE(hit.may_collapse);
}

// RFC 9111 5.2.3, 5.4
TEST(DecideTest, B1_UnknownRequestDirectivesChangeNothing) {
  EXPECT_EQ(On("nothing-to-see-here", Stored(), 1), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_TRUE(On("nothing-to-see-here", Stored(), 61).may_collapse);
  EXPECT_EQ(On(Get({{"Pragma", "foo"}}), Stored(), 1), (Case{Action::kServe, Reason::kFresh}));
}

TEST(DecideTest, B7_PragmaNoCacheCountsWithoutCacheControl) {
  EXPECT_EQ(On(Get({{"Pragma", "no-cache"}}), Stored(), 1),
            (Case{Action::kRevalidate, Reason::kRequestNoCache}));
  EXPECT_EQ(On(Get({{"Pragma", "no-cache"}, {"Cache-Control", "x"}}), Stored(), 1),
            (Case{Action::kServe, Reason::kFresh}));
}

TEST(DecideTest, F5_ARuleMayIgnoreRequestDirectives) {
  Overrides rule;
  rule.obey_request_directives = false;
  for (const std::string_view control : {"no-cache", "max-age=0", "min-fresh=100", "no-store"}) {
    const Decision decision = On(control, Stored(), 1, rule);
    EXPECT_EQ(decision, (Case{Action::kServe, Reason::kFresh})) << control;
    EXPECT_TRUE(decision.may_store);
  }
}

// RFC 9111 4.3.2: "MUST NOT be evaluated [...] by a cache": If-Match, If-Unmodified-Since.
TEST(DecideTest, F2_ConditionsForTheOriginAreForwarded) {
  for (const std::string_view name : {"If-Match", "If-Unmodified-Since"}) {
    const Decision decision = On(Get({{name, "\"x\""}}), Stored(), 1);
    EXPECT_EQ(decision, (Case{Action::kFetch, Reason::kPreconditions})) << name;
    EXPECT_FALSE(decision.may_collapse);
  }
}

TEST(DecideTest, F3_RangeAndConditionalRequestsUseACompleteStoredResponse) {
  EXPECT_EQ(On(Get({{"Range", "bytes=0-1"}}), Stored(), 1), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On(Get({{"If-None-Match", "\"a\""}}), Stored(), 1),
            (Case{Action::kServe, Reason::kFresh}));
  EXPECT_TRUE(On(Get({{"Range", "bytes=0-1"}}), Stored(), 61).may_collapse);
}

TEST(DecideTest, AnAnswerForOneClientAloneIsNotWaitedFor) {
  for (const std::string_view name : {"Range", "If-None-Match", "If-Modified-Since"}) {
    EXPECT_FALSE(Decide(Get({{name, "x"}}), nullptr, false, kNow, {}).may_collapse) << name;
  }
}

// RFC 9111 3.3
TEST(DecideTest, F6_AStoredPartNeverAnswersAFullRequest) {
  ResponseFacts part = Stored();
  part.partial = true;
  EXPECT_EQ(On(Get(), part, 1), (Case{Action::kFetch, Reason::kPartialStored}));
  EXPECT_EQ(On(Get({{"Range", "bytes=0-1"}}), part, 1), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_FALSE(part.ServesPlainLookup(At(1)));
  EXPECT_TRUE(Stored().ServesPlainLookup(At(1)));
}

// RFC 5861 3
TEST(DecideTest, G2_WithinTheWindowStaleIsServedAndRefreshed) {
  ResponseFacts stored = Stored();
  stored.swr_granted = true;
  stored.stale_while_revalidate = Millis(seconds(30));
  EXPECT_EQ(On(Get(), stored, 59), (Case{Action::kServe, Reason::kFresh}));
  EXPECT_EQ(On(Get(), stored, 60),
            (Case{Action::kServeStaleAndRefresh, Reason::kStaleWhileRevalidate}));
  EXPECT_EQ(On(Get(), stored, 89),
            (Case{Action::kServeStaleAndRefresh, Reason::kStaleWhileRevalidate}));
  EXPECT_EQ(On(Get(), stored, 90), (Case{Action::kRevalidate, Reason::kExpired}));
  EXPECT_EQ(On("no-store", stored, 61), (Case{Action::kServe, Reason::kStaleWhileRevalidate}));
  EXPECT_EQ(On("no-cache", stored, 61), (Case{Action::kRevalidate, Reason::kRequestNoCache}));
  EXPECT_EQ(On("max-age=10", stored, 61), (Case{Action::kRevalidate, Reason::kExpired}));
  EXPECT_EQ(On("min-fresh=1", stored, 61), (Case{Action::kRevalidate, Reason::kExpired}));
}

// Letting an explicit stale-while-revalidate next to s-maxage through is common practice.
TEST(DecideTest, G1_SharedMaxAgeForbidsStaleThatNobodyGranted) {
  ResponseFacts stored = Stored();
  stored.must_revalidate = true;
  EXPECT_EQ(On(Get(), stored, 61), (Case{Action::kRevalidate, Reason::kMustRevalidate}));
  stored.swr_granted = true;
  stored.stale_while_revalidate = Millis(seconds(30));
  EXPECT_EQ(On(Get(), stored, 61),
            (Case{Action::kServeStaleAndRefresh, Reason::kStaleWhileRevalidate}));
}

TEST(DecideTest, ASoftPurgeMakesStaleAtOnce) {
  ResponseFacts stored = Stored();
  stored.stale_by_purge = true;
  EXPECT_EQ(On(Get(), stored, 1), (Case{Action::kRevalidate, Reason::kPurged}));
  EXPECT_EQ(On("max-stale", stored, 1), (Case{Action::kRevalidate, Reason::kPurged}));
  stored.swr_granted = true;
  stored.stale_while_revalidate = Millis(seconds(30));
  EXPECT_EQ(On(Get(), stored, 1),
            (Case{Action::kServeStaleAndRefresh, Reason::kStaleWhileRevalidate}));
}

// RFC 8246 2: "unless there is a signal from the client that a validation is necessary (for
// example, a no-cache Cache-Control request directive)".
TEST(DecideTest, J4_AReloadOfAFreshImmutableResponseIsAnsweredFromTheCache) {
  ResponseFacts stored = Stored();
  stored.immutable = true;
  EXPECT_EQ(On("max-age=0", stored, 5), (Case{Action::kServe, Reason::kImmutable}));
  EXPECT_EQ(On("no-cache", stored, 5), (Case{Action::kRevalidate, Reason::kRequestNoCache}));
  EXPECT_EQ(On("max-age=0", stored, 61), (Case{Action::kRevalidate, Reason::kExpired}));
}

Reason OnError(const ResponseFacts& stored, int64_t second, uint16_t status,
               const RequestHead& request = Get(), const Overrides& rule = {}) {
  return MayServeOnError(request, stored, At(second), status != 0, status, rule);
}

// RFC 5861 4
TEST(ServeOnErrorTest, G3_StaleIfErrorCoversServerErrorsAndLostOrigins) {
  ResponseFacts stored = Stored();
  EXPECT_EQ(OnError(stored, 61, 503), Reason::kNone);
  stored.sie_granted = true;
  stored.stale_if_error = Millis(seconds(300));
  for (const uint16_t status : {500, 502, 503, 504, 0}) {
    EXPECT_EQ(OnError(stored, 61, status), Reason::kStaleIfError) << status;
    EXPECT_EQ(OnError(stored, 360, status), Reason::kNone) << status;
  }
  for (const uint16_t status : {200, 404, 429, 501, 505, 599}) {
    EXPECT_EQ(OnError(stored, 61, status), Reason::kNone) << status;
  }
  EXPECT_EQ(OnError(stored, 61, 503, Get({{"Cache-Control", "no-cache"}})), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 503, Get({{"Cache-Control", "max-age=1"}})), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 503, Get({{"If-Match", "\"a\""}})), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 503, Request("POST", "/")), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 503, Request("HEAD", "/")), Reason::kStaleIfError);
}

TEST(ServeOnErrorTest, G3_AClientMayAskForStaleIfError) {
  const RequestHead request = Get({{"Cache-Control", "stale-if-error=100"}});
  EXPECT_EQ(OnError(Stored(), 100, 500, request), Reason::kStaleIfError);
  EXPECT_EQ(OnError(Stored(), 160, 500, request), Reason::kNone);
  ResponseFacts strict = Stored();
  strict.must_revalidate = true;
  EXPECT_EQ(OnError(strict, 100, 500, request), Reason::kNone);
}

// RFC 9111 5.4
TEST(ServeOnErrorTest, B7_PragmaNoCacheAsksForNoStaleAnswerEither) {
  ResponseFacts stored = Stored();
  stored.sie_granted = true;
  stored.stale_if_error = Millis(seconds(300));
  EXPECT_EQ(OnError(stored, 61, 503, Get({{"Pragma", "no-cache"}})), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 0, Get({{"Pragma", "no-cache"}})), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 503, Get({{"Pragma", "no-cache"}, {"Cache-Control", "x"}})),
            Reason::kStaleIfError);
}

// RFC 9111 4.2.4: "unless it is disconnected or doing so is explicitly permitted".
TEST(ServeOnErrorTest, G4_ALostOriginAllowsStaleForABoundedTime) {
  EXPECT_EQ(OnError(Stored(), 61, 0), Reason::kStaleDisconnected);
  EXPECT_EQ(OnError(Stored(), 119, 0), Reason::kStaleDisconnected);
  EXPECT_EQ(OnError(Stored(), 120, 0), Reason::kNone);
  Overrides rule;
  rule.disconnected_stale = seconds(0);
  EXPECT_EQ(OnError(Stored(), 61, 0, Get(), rule), Reason::kNone);
}

TEST(ServeOnErrorTest, G1_RevalidationDirectivesForbidStaleOnErrorToo) {
  ResponseFacts stored = Stored();
  stored.must_revalidate = true;
  EXPECT_EQ(OnError(stored, 61, 0), Reason::kNone);
  ResponseFacts no_cache = Stored();
  no_cache.no_cache = true;
  EXPECT_EQ(OnError(no_cache, 1, 0), Reason::kNone);
}

TEST(ServeOnErrorTest, F6_AStoredPartStandsInForRangesOnly) {
  ResponseFacts stored = Stored();
  stored.partial = true;
  EXPECT_EQ(OnError(stored, 61, 0), Reason::kNone);
  EXPECT_EQ(OnError(stored, 61, 0, Get({{"Range", "bytes=0-1"}})), Reason::kStaleDisconnected);
}

TEST(PlainLookupTest, OnlyFieldsThatMatterNeedThought) {
  EXPECT_TRUE(IsPlainLookup(Get()));
  EXPECT_TRUE(IsPlainLookup(Request("HEAD", "/")));
  EXPECT_TRUE(IsPlainLookup(Get({{"Accept", "*/*"}, {"Cookie", "a=b"}, {"Authorization", "x"}})));
  for (const std::string_view name :
       {"Cache-Control", "Pragma", "If-Match", "If-None-Match", "If-Modified-Since", "Range",
        "If-Unmodified-Since", "If-Range", "Upgrade", "Expect", "Content-Length",
        "Transfer-Encoding"}) {
    EXPECT_FALSE(IsPlainLookup(Get({{name, "x"}}))) << name;
  }
  EXPECT_FALSE(IsPlainLookup(Request("POST", "/")));
}

// The short way must never disagree with the long one.
TEST(PlainLookupTest, APlainLookupIsServedExactlyWhenDecideServesItFresh) {
  for (const bool partial : {false, true}) {
    for (const bool purged : {false, true}) {
      for (const int64_t second : {-1, 0, 59, 60, 61}) {
        ResponseFacts stored = Stored();
        stored.partial = partial;
        stored.stale_by_purge = purged;
        const bool served = On(Get(), stored, second) == Case{Action::kServe, Reason::kFresh};
        EXPECT_EQ(stored.ServesPlainLookup(At(second)), served) << partial << purged << second;
      }
    }
  }
}

}  // namespace
}  // namespace satchel::cache
