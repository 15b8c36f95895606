// The judge of the chaos run judged: what is legal passes, each kind of wrong is named.

#include "tests/support/version_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Reach = VersionChecker::Reach;
using Time = VersionChecker::Time;

class VersionCheckerTest : public ::testing::Test {
 protected:
  VersionCheckerTest() {
    checker.Add("/long", {.lifetime = milliseconds(600'000)}, At(0));
    checker.Add("/short", {.lifetime = milliseconds(2000)}, At(0));
    checker.Add("/swr",
                {.lifetime = milliseconds(600'000), .stale_window = milliseconds(3000)}, At(0));
  }
  static Time At(int ms) { return Time(std::chrono::hours(1)) + milliseconds(ms); }
  std::string Wrong(const std::string& key, size_t instance, uint64_t version, int begun,
                    int ended = -1) {
    return checker.Check(key, instance, version, At(begun), At(ended < 0 ? begun + 1 : ended))
        .value_or("");
  }
  void Purge(const std::string& key, Reach reach, int ms, bool soft = false,
             size_t instance = 0) {
    checker.EndPurge(checker.BeginPurge({key}, instance, soft), reach, At(ms));
  }

  VersionChecker checker{3, {.unheard = milliseconds(1000), .slack = milliseconds(100)}};
};

TEST_F(VersionCheckerTest, ABodyIsThatOfItsKeyAndVersionInEveryByte) {
  for (const size_t size : {0u, 10u, 5000u}) {
    const std::string body = VersionedBody("/k", 42, size);
    EXPECT_EQ(VersionOf("/k", body, size), 42u);
    EXPECT_EQ(VersionOf("/other", body, size), std::nullopt);
    for (size_t i = 0; i < body.size(); i += 97) {
      std::string flipped = body;
      flipped[i] ^= 4;
      EXPECT_NE(VersionOf("/k", flipped, size), 42u) << i;
    }
    EXPECT_EQ(VersionOf("/k", body.substr(0, body.size() - 1), size), std::nullopt);
    EXPECT_EQ(VersionOf("/k", body + "x", size), std::nullopt);
  }
  // The head of one version before the bytes of another.
  std::string mixed = VersionedBody("/k", 7, 5000);
  mixed.replace(0, 5, "/k 8\n");
  EXPECT_EQ(VersionOf("/k", mixed, 5000), std::nullopt);
  EXPECT_EQ(VersionOf("/k", "", 10), std::nullopt);
  EXPECT_EQ(VersionOf("/k", "/k ", 10), std::nullopt);
}

TEST_F(VersionCheckerTest, WhatIsNotYetThereCannotBeServed) {
  EXPECT_EQ(Wrong("/long", 0, 1, 0), "");
  EXPECT_THAT(Wrong("/long", 0, 0, 0), HasSubstr("none yet"));
  EXPECT_THAT(Wrong("/long", 0, 2, 0), HasSubstr("none yet"));
  checker.Update("/long", At(100));
  EXPECT_EQ(Wrong("/long", 0, 2, 50, 100), "");
  EXPECT_THAT(Wrong("/long", 0, 2, 50, 99), HasSubstr("none yet"));
}

TEST_F(VersionCheckerTest, AConfirmedPurgeHoldsEverywhereForWhoAsksLater) {
  checker.Update("/long", At(100));
  Purge("/long", Reach::kEverywhere, 200);
  for (size_t instance = 0; instance < 3; ++instance) {
    EXPECT_EQ(Wrong("/long", instance, 1, 199), "");  // asked before the answer came
    EXPECT_THAT(Wrong("/long", instance, 1, 200), HasSubstr("demands 2"));
    EXPECT_EQ(Wrong("/long", instance, 2, 200), "");
  }
}

TEST_F(VersionCheckerTest, AnUpdateAfterThePurgeBeganIsNotDemanded) {
  const auto purge = checker.BeginPurge({"/long"}, 0, false);
  checker.Update("/long", At(100));
  checker.EndPurge(purge, Reach::kEverywhere, At(200));
  EXPECT_EQ(Wrong("/long", 0, 1, 300), "");
}

TEST_F(VersionCheckerTest, ASharedPurgeHoldsAtOnceWhereItWasAskedAndElsewhereWithinItsBound) {
  checker.Update("/long", At(100));
  Purge("/long", Reach::kShared, 200, false, 1);
  EXPECT_NE(Wrong("/long", 1, 1, 200), "");
  EXPECT_EQ(Wrong("/long", 0, 1, 1299), "");
  EXPECT_NE(Wrong("/long", 0, 1, 1300), "");
}

TEST_F(VersionCheckerTest, APurgeHeldBackHoldsElsewhereOnceItIsPublished) {
  checker.Update("/long", At(100));
  Purge("/long", Reach::kHere, 200, false, 1);
  EXPECT_NE(Wrong("/long", 1, 1, 200), "");
  EXPECT_EQ(Wrong("/long", 0, 1, 60'000), "");
  checker.Published(1, At(199), At(70'000));  // looked before it was purged
  checker.Published(0, At(300), At(70'000));  // somebody else
  EXPECT_EQ(Wrong("/long", 0, 1, 80'000), "");
  checker.Published(1, At(200), At(70'000));
  EXPECT_EQ(Wrong("/long", 0, 1, 71'099), "");
  EXPECT_NE(Wrong("/long", 0, 1, 71'100), "");
}

TEST_F(VersionCheckerTest, APurgeThatFailedDemandsNothing) {
  checker.Update("/long", At(100));
  Purge("/long", Reach::kNowhere, 200);
  EXPECT_EQ(Wrong("/long", 0, 1, 300), "");
}

TEST_F(VersionCheckerTest, ASoftPurgeLeavesTheStaleWindow) {
  checker.Update("/long", At(100));
  checker.Update("/swr", At(100));
  Purge("/long", Reach::kEverywhere, 200, true);
  Purge("/swr", Reach::kEverywhere, 200, true);
  EXPECT_NE(Wrong("/long", 0, 1, 200), "");  // has none: validated before it is served
  EXPECT_EQ(Wrong("/swr", 0, 1, 3299), "");
  EXPECT_NE(Wrong("/swr", 0, 1, 3300), "");
  // A hard one ends it.
  checker.Update("/swr", At(1000));
  Purge("/swr", Reach::kEverywhere, 1100);
  EXPECT_NE(Wrong("/swr", 0, 2, 1100), "");
  EXPECT_EQ(Wrong("/swr", 0, 3, 9000), "");
}

TEST_F(VersionCheckerTest, WhatIsOlderThanItsLifetimeIsWrongWithoutAnyPurge) {
  checker.Update("/short", At(1000));
  EXPECT_EQ(Wrong("/short", 0, 1, 3100), "");
  EXPECT_THAT(Wrong("/short", 0, 1, 3101), HasSubstr("longer than"));
  EXPECT_EQ(Wrong("/short", 0, 2, 50'000), "");
}

TEST_F(VersionCheckerTest, FetchesAreExplainedByLifetimesAndPurges) {
  checker.CountFetch("/long", At(0), false);
  checker.CountFetch("/long", At(1000), false);  // for nothing
  EXPECT_EQ(checker.fetches().unexplained, 1u);
  checker.CountFetch("/long", At(2000), true);
  EXPECT_EQ(checker.fetches().unexplained, 1u);
  Purge("/long", Reach::kEverywhere, 5000);
  checker.CountFetch("/long", At(5200), false);
  checker.CountFetch("/short", At(0), false);
  checker.CountFetch("/short", At(1500), false);
  EXPECT_EQ(checker.fetches().unexplained, 1u);
  checker.CountFetch("/long", At(6000), false);
  EXPECT_EQ(checker.fetches().unexplained, 2u);
  EXPECT_EQ(checker.fetches().all, 7u);
}

}  // namespace
}  // namespace satchel::testing
