// What is read out of a response before it is stored decides for the shared tier too: what the
// first instance may keep the second one has, with the same lifetime, and nothing else.

#include <string>
#include <vector>

#include "tests/support/shared_tier_fixture.h"

namespace satchel::testing {
namespace {

class SharedStoringTest : public SharedTierTest {
 protected:
  struct Case {
    bool shared;
    Fields fields;
    int status = 200;
    Fields asked = {};
  };
  static Fields Control(const std::string& value, Fields more = {}) {
    more.Add("Cache-Control", value);
    return more;
  }
  static Fields Expires(const std::string& value) {
    return {{"Date", HttpDate()}, {"Expires", value}};
  }
  // Each is asked for at the first instance, then at the second, which answers from the record or
  // goes to the origin.
  void Check(const std::vector<Case>& cases) {
    for (size_t i = 0; i < cases.size(); ++i) {
      const Case& one = cases[i];
      const std::string target = "/" + std::to_string(i);
      origin.On(target, Reply{.status = one.status, .fields = one.fields, .body = "x"});
      if (one.shared) {
        Store(target, one.asked);
      } else {
        Get(target, one.asked);
      }
    }
    Fence();
    for (size_t i = 0; i < cases.size(); ++i) {
      const Case& one = cases[i];
      const std::string target = "/" + std::to_string(i);
      const Response second = other_->Get(target, one.asked);
      EXPECT_EQ(second.status, one.status) << one.fields.ToWire();
      EXPECT_EQ(Hit(second), one.shared) << one.fields.ToWire() << Describe(second);
      EXPECT_EQ(origin.RequestCount(target), one.shared ? 1u : 2u) << one.fields.ToWire();
    }
  }
};

TEST_F(SharedStoringTest, B1_CacheControlIsReadByItsGrammar) {
  Check({{true, Control("foo=\"bar, no-store\", MAX-AGE=\"60\"")},
         {true, Control("x, , max-age=60 ,y=\"\\\"private\"")},
         {true, {{"Cache-Control", "a=\"b"}, {"Cache-Control", "no-store\", max-age=60"}}},
         {false, {{"Cache-Control", "max-age=60"}, {"Cache-Control", "No-Store"}}},
         {false, Control("max-age =60")},
         {false, Control("max-age= 60")}});
}

TEST_F(SharedStoringTest, B2_UnusableAndRepeatedLifetimes) {
  Check({{true, Control("max-age=0060")},
         {true, Control("max-age=99999999999999999999")},
         {true, Control("max-age=60, max-age=0")},
         {false, Control("max-age=0, max-age=60")},
         {false, Control("max-age=-60")},
         {false, Control("max-age=60.0")},
         {false, Control("max-age='60'")},
         {false, Control("s-maxage=x, max-age=60")}});
}

TEST_F(SharedStoringTest, B4_DatesInThreeFormsAndNothingElse) {
  Check({{true, Expires("Sun, 21 Nov 2038 04:46:39 GMT")},
         {true, Expires("Sunday, 21-Nov-38 04:46:39 GMT")},
         {true, Expires("Sun Nov 21 04:46:39 2038")},
         {true, Expires("sun, 21 NOV 2286 04:46:39 gmt")},
         {false, Expires("Sun, 21 Nov 2038 04:46:39 CET")},
         {false, Expires("Sun, 21 Nov 38 04:46:39 GMT")},
         {false, Expires("Sun,  21 Nov 2038 04:46:39 GMT")},
         {false, Expires("Sun, 21 Nov 2038 4:46:39 GMT")}});
}

TEST_F(SharedStoringTest, B5_ExpiresRefusedOrRepeatedIsExpired) {
  Check({{true, Expires(HttpDate(60))},
         {false, Expires("0")},
         {false, Expires(HttpDate(0))},
         {false, {{"Expires", HttpDate(60)}, {"Expires", HttpDate(60)}}}});
}

TEST_F(SharedStoringTest, B6_ATargetedFieldIsADictionaryOrAbsent) {
  Check({{true, Control("no-store", {{"CDN-Cache-Control", "max-age=60;a"}})},
         {true, Control("max-age=60", {{"CDN-Cache-Control", "max-age=60,"}})},
         {true, Control("max-age=60", {{"CDN-Cache-Control", ""}})},
         {false, Control("no-store", {{"CDN-Cache-Control", "max-age=\"60\""}})},
         {false, Control("no-store", {{"CDN-Cache-Control", "MAX-AGE=60"}})}});
}

TEST_F(SharedStoringTest, B7_PragmaOfAResponseIsIgnored) {
  Check({{true, Control("max-age=60", {{"Pragma", "no-cache"}})}});
}

TEST_F(SharedStoringTest, C1_TheTargetedFieldAloneIsInForce) {
  Check({{true, Control("private", {{"CDN-Cache-Control", "max-age=60"}, {"Expires", "0"}})},
         {true, Control("no-store", {{"Satchel-Cache-Control", "max-age=60"},
                                     {"CDN-Cache-Control", "no-store"}})},
         {false, Control("max-age=60", {{"CDN-Cache-Control", "no-store"}})},
         {false, Control("max-age=60", {{"CDN-Cache-Control", "max-age=50"}, {"Age", "55"}})}});
}

TEST_F(SharedStoringTest, C3_MustUnderstand) {
  Check({{true, Control("no-store, must-understand, max-age=60")},
         {true, Control("must-understand, max-age=60"), 404},
         {false, Control("must-understand, max-age=60"), 599},
         {false, Control("no-store, must-understand, max-age=60"), 299},
         {true, {{"CDN-Cache-Control", "no-store, must-understand, max-age=60"}}},
         {false, {{"CDN-Cache-Control", "must-understand, max-age=60"}}, 599}});
}

TEST_F(SharedStoringTest, C4_AnswersToAuthorisedRequestsNeedAMark) {
  const Fields who = {{"Authorization", "Basic x"}};
  Check({{true, Control("max-age=60, public"), 200, who},
         {true, Control("s-maxage=60"), 200, who},
         {true, Control("max-age=60, must-revalidate"), 200, who},
         {false, Control("max-age=60"), 200, who},
         {false, Control("max-age=60, proxy-revalidate"), 200, who}});
}

TEST_F(SharedStoringTest, C5_AnyFinalStatusWithALifetimeIsShared) {
  std::vector<Case> cases;
  for (const int status : {201, 204, 299, 302, 307, 400, 404, 410, 499, 500, 503, 599}) {
    cases.push_back({true, Control("max-age=60"), status});
  }
  cases.push_back({false, {}, 200});
  cases.push_back({false, {}, 404});
  Check(cases);
}

TEST_F(SharedStoringTest, C6_CookiesAndQueriesPreventNothing) {
  Check({{true, Control("max-age=60", {{"Set-Cookie", "a=b"}}), 200, {{"Cookie", "c=d"}}}});
  origin.On("/q", Fresh("query"));
  Store("/q?a=b");
  EXPECT_TRUE(Hit(other_->Get("/q?a=b")));
  EXPECT_FALSE(Hit(other_->Get("/q?a=c")));
}

TEST_F(SharedStoringTest, C8_APostThatSaysItIsTheRepresentationIsStoredForGet) {
  origin.On("/page", Fresh("posted", 60, {{"Content-Location", "/page"}}));
  Store("/page", {}, "POST", "change");
  const Response get = other_->Get("/page");
  EXPECT_TRUE(Hit(get)) << Describe(get);
  EXPECT_EQ(get.body, "posted");
  origin.On("/elsewhere", Fresh("posted", 60, {{"Content-Location", "/page"}}));
  Send("POST", "/elsewhere", {}, "change");
  Fence();
  EXPECT_FALSE(Hit(other_->Get("/elsewhere")));
}

TEST_F(SharedStoringTest, C9_HostAndQueryArePartOfTheKey) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().fields.Get("Host") + exchange.request().target));
  });
  Store("/?a=%41", {{"Host", "one.example"}});
  EXPECT_TRUE(Hit(other_->Get("/?a=%41", {{"Host", "ONE.example:80"}})));
  EXPECT_EQ(other_->Get("/?a=%41", {{"Host", "two.example"}}).body, "two.example/?a=%41");
  EXPECT_EQ(other_->Get("/?a=A", {{"Host", "one.example"}}).body, "one.example/?a=A");
  EXPECT_EQ(other_->Get("/?", {{"Host", "one.example"}}).body, "one.example/?");
}

TEST_F(SharedStoringTest, D1_LifetimesComeInTheirOrder) {
  Check({{true, Control("max-age=0, s-maxage=60", {{"Expires", "0"}})},
         {true, Control("max-age=60", {{"Expires", "0"}})},
         {true, {{"Date", HttpDate(-1000)}, {"Expires", HttpDate(60)}}},
         {false, Control("max-age=60, s-maxage=0")},
         {false, Control("max-age=0", {{"Expires", HttpDate(60)}})},
         {false, {{"Date", HttpDate(1000)}, {"Expires", HttpDate(60)}}}});
}

TEST_F(SharedStoringTest, D3_TheHeuristicHoldsForListedStatusesOrPublic) {
  const Fields old = {{"Last-Modified", HttpDate(-100'000)}, {"Date", HttpDate()}};
  Fields marked = old;
  marked.Add("Cache-Control", "public");
  Check({{true, old, 200},
         {true, old, 404},
         {true, marked, 403},
         {false, {{"Last-Modified", HttpDate(-5)}, {"Date", HttpDate(-4)}}, 200},
         {false, old, 403},
         {false, old, 302}});
}

TEST_F(SharedStoringTest, D4_WithoutLifetimeAndLastModifiedNothingIsFresh) {
  Check({{false, {{"ETag", "\"1\""}}}, {false, Control("public")}, {false, {}}});
}

}  // namespace
}  // namespace satchel::testing
