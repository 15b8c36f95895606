#include "cache/early_refresh.h"

#include <gtest/gtest.h>

#include <cmath>

namespace satchel::cache {
namespace {

using std::chrono::seconds;

ResponseFacts Took(Millis fetch, Millis lifetime = seconds(60)) {
  ResponseFacts facts;
  facts.lifetime = lifetime;
  facts.fetch_time = PackFetchTime(fetch);
  return facts;
}

Overrides Weight(double weight) {
  Overrides overrides;
  overrides.early_refresh = weight;
  return overrides;
}

// The share of draws that begin a refresh.
double Share(const ResponseFacts& facts, Millis left, const Overrides& overrides) {
  constexpr int kDraws = 100'000;
  int met = 0;
  for (int i = 0; i < kDraws; ++i) {
    met += RefreshesEarly(facts, left, (i + 0.5) / kDraws, overrides) ? 1 : 0;
  }
  return static_cast<double>(met) / kDraws;
}

TEST(EarlyRefreshTest, TheChanceGrowsTowardsTheEndAndWithTheFetchTime) {
  const Overrides plain;
  const ResponseFacts facts = Took(Millis(1024));
  EXPECT_NEAR(Share(facts, Millis(1024), plain), std::exp(-1.0), 0.001);
  EXPECT_NEAR(Share(facts, Millis(2048), plain), std::exp(-2.0), 0.001);
  EXPECT_NEAR(Share(facts, Millis(512), plain), std::exp(-0.5), 0.001);
  EXPECT_GT(Share(facts, Millis(1), plain), 0.998);
  EXPECT_NEAR(Share(Took(Millis(512)), Millis(1024), plain), std::exp(-2.0), 0.001);
  EXPECT_NEAR(Share(facts, Millis(2048), Weight(2)), std::exp(-1.0), 0.001);
}

TEST(EarlyRefreshTest, FarFromTheEndNoDrawIsMet) {
  const ResponseFacts facts = Took(Millis(1024));
  EXPECT_TRUE(NearsExpiry(facts, Millis(11'263), {}));
  EXPECT_FALSE(NearsExpiry(facts, Millis(11'265), {}));
  EXPECT_FALSE(RefreshesEarly(facts, Millis(11'265), std::nextafter(1.0, 0.0), {}));
  EXPECT_TRUE(RefreshesEarly(facts, Millis(11'000), std::nextafter(1.0, 0.0), {}));
}

TEST(EarlyRefreshTest, NeverInTheFirstHalfOfALifeHoweverSlowTheOrigin) {
  const ResponseFacts facts = Took(seconds(100), seconds(10));
  EXPECT_FALSE(NearsExpiry(facts, Millis(5001), {}));
  EXPECT_FALSE(RefreshesEarly(facts, Millis(9000), 0.999, Weight(10)));
  EXPECT_TRUE(NearsExpiry(facts, Millis(5000), {}));
}

TEST(EarlyRefreshTest, IsOffWhereAStaleWindowHidesTheFetchUnlessTheRuleWantsIt) {
  ResponseFacts facts = Took(seconds(1));
  facts.swr_granted = true;
  EXPECT_FALSE(NearsExpiry(facts, Millis(1), {}));
  EXPECT_TRUE(NearsExpiry(facts, Millis(1), Weight(1)));
  facts.swr_granted = false;
  EXPECT_TRUE(NearsExpiry(facts, Millis(1), {}));
  EXPECT_FALSE(NearsExpiry(facts, Millis(1), Weight(0)));
}

TEST(EarlyRefreshTest, NeedsAMeasuredFetch) {
  ResponseFacts facts = Took(seconds(1));
  facts.fetch_time = 0;
  EXPECT_FALSE(NearsExpiry(facts, Millis(0), {}));
}

}  // namespace
}  // namespace satchel::cache
