#include "proxy/popularity.h"

#include <gtest/gtest.h>

#include <string>

namespace satchel::proxy {
namespace {

TEST(PopularityTest, TheMostWantedAreTakenOutFirst) {
  Popularity popularity;
  popularity.Add("b", 2);
  popularity.Add("a", 1);
  popularity.Add("c", 5);
  popularity.Add("a", 3);
  const auto top = popularity.Take(2);
  ASSERT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].name + std::to_string(top[0].count), "c5");
  EXPECT_EQ(top[1].name + std::to_string(top[1].count), "a4");
  EXPECT_EQ(popularity.size(), 1u);
  EXPECT_EQ(popularity.Take(10).size(), 1u);
  EXPECT_TRUE(popularity.Take(10).empty());
}

TEST(PopularityTest, AFullTableForgetsTheHalfThatIsWantedLeast) {
  Popularity popularity;
  for (size_t i = 0; i < Popularity::kMaxNames; ++i) {
    popularity.Add("n" + std::to_string(i), i < Popularity::kMaxNames / 2 ? 1 : 2);
  }
  EXPECT_EQ(popularity.size(), Popularity::kMaxNames);
  EXPECT_EQ(popularity.forgotten(), 0u);
  popularity.Add("n0", 1);  // known: no room is wanted
  EXPECT_EQ(popularity.forgotten(), 0u);
  popularity.Add("new", 1);
  EXPECT_EQ(popularity.forgotten(), Popularity::kMaxNames / 2);
  EXPECT_EQ(popularity.size(), Popularity::kMaxNames / 2 + 1);
  // What was wanted once is gone, but for the new one.
  const auto left = popularity.Take(Popularity::kMaxNames);
  size_t once = 0;
  for (const auto& one : left) once += one.count == 1 ? 1 : 0;
  EXPECT_EQ(once, 1u);
}

TEST(PopularityTest, AFullTableOfEqualsForgetsHalfToo) {
  Popularity popularity;
  for (size_t i = 0; i <= Popularity::kMaxNames; ++i) popularity.Add("n" + std::to_string(i), 1);
  EXPECT_EQ(popularity.size(), Popularity::kMaxNames / 2 + 1);
}

TEST(PopularitySamplerTest, FewRequestsAreAllCounted) {
  PopularitySampler sampler;
  sampler.Enable(true);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(sampler.Due());
    EXPECT_EQ(sampler.Take(i * 10), 1u);
  }
}

TEST(PopularitySamplerTest, OfManyRequestsFewAreCountedAndStandForAll) {
  PopularitySampler sampler;
  sampler.Enable(true);
  uint64_t requests = 0;
  uint64_t samples = 0;
  uint64_t counted = 0;
  // Ten seconds of 100,000 a second.
  for (int64_t ms = 1; ms <= 10'000; ++ms) {
    for (int i = 0; i < 100; ++i) {
      ++requests;
      if (!sampler.Due()) continue;
      ++samples;
      counted += sampler.Take(ms);
    }
  }
  // Each doubling of the step takes as many samples as a second may have.
  EXPECT_LE(samples, (10 + 12) * PopularitySampler::kPerSecond);
  EXPECT_GE(samples, PopularitySampler::kPerSecond);
  EXPECT_NEAR(static_cast<double>(counted), static_cast<double>(requests),
              static_cast<double>(requests) * 0.05);
  // When it is quiet again it looks closely again.
  int64_t ms = 10'000;
  for (int i = 0; i < 20'000; ++i) {
    ms += 100;
    if (sampler.Due()) samples = sampler.Take(ms);
  }
  EXPECT_EQ(samples, 1u);
}

TEST(PopularitySamplerTest, TurnedOffNothingIsDue) {
  PopularitySampler sampler;
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(sampler.Due());
  sampler.Enable(true);
  EXPECT_TRUE(sampler.Due());
  sampler.Take(0);
  sampler.Enable(false);
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(sampler.Due());
}

}  // namespace
}  // namespace satchel::proxy
