#include "proxy/metrics.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>

#include "tests/support/satchel_process.h"

namespace satchel::proxy {
namespace {

using satchel::testing::Metrics;

TEST(HistogramTest, UpperBoundsAreInclusive) {
  EXPECT_EQ(Histogram::BucketOf(0), 0u);
  EXPECT_EQ(Histogram::BucketOf(1), 0u);
  EXPECT_EQ(Histogram::BucketOf(8), 0u);
  EXPECT_EQ(Histogram::BucketOf(9), 1u);
  for (size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    EXPECT_EQ(Histogram::BucketOf(Histogram::UpperBound(bucket)), bucket);
    EXPECT_EQ(Histogram::BucketOf(Histogram::UpperBound(bucket) + 1), bucket + 1);
  }
  EXPECT_EQ(Histogram::BucketOf(UINT64_MAX), Histogram::kBuckets - 1);
}

TEST(HistogramTest, CountsAndSums) {
  Histogram histogram;
  histogram.Observe(8);
  histogram.Observe(100);
  histogram.Observe(100'000'000);
  EXPECT_EQ(histogram.sum_micros(), 100'000'108u);
  EXPECT_EQ(histogram.bucket(0), 1u);
  EXPECT_EQ(histogram.bucket(Histogram::BucketOf(100)), 1u);
  EXPECT_EQ(histogram.bucket(Histogram::kBuckets - 1), 1u);
}

class RegistryTest : public ::testing::Test {
 protected:
  std::string Text() { return registry_.Text(process_, servers_); }

  WorkerMetrics first_;
  WorkerMetrics second_;
  cache::Store store_{cache::Store::Options{.capacity = 12345678}};
  MetricsRegistry registry_{{&first_, &second_}, &store_};
  ProcessStatus process_;
  std::vector<ServerStatus> servers_;
};

TEST_F(RegistryTest, WorkersAreSummed) {
  first_.CountRequest(Outcome::kHit, cache::Reason::kFresh, 200, 20);
  first_.CountRequest(Outcome::kMiss, cache::Reason::kNoStoredResponse, 404, 2000);
  second_.CountRequest(Outcome::kHit, cache::Reason::kFresh, 304, 20);
  Add(second_.bounds, Bound::kHeaderBytes, 3);
  Add(first_.l2_reads, L2Result::kTimeout);
  const Metrics metrics(Text());
  EXPECT_EQ(metrics.Sum("satchel_requests_total", {"outcome=\"hit\""}), 2);
  EXPECT_EQ(metrics.Sum("satchel_requests_total"), 3);
  EXPECT_EQ(metrics.Sum("satchel_responses_total", {"class=\"2xx\""}), 1);
  EXPECT_EQ(metrics.Sum("satchel_responses_total", {"class=\"3xx\""}), 1);
  EXPECT_EQ(metrics.Sum("satchel_responses_total", {"class=\"4xx\""}), 1);
  EXPECT_EQ(metrics.Sum("satchel_cache_decisions_total", {"reason=\"fresh\""}), 2);
  EXPECT_EQ(metrics.Sum("satchel_bounds_hit_total", {"bound=\"header-bytes\""}), 3);
  EXPECT_EQ(metrics.Sum("satchel_tier_lookups_total", {"tier=\"l2\"", "result=\"timeout\""}), 1);
  EXPECT_EQ(metrics.Sum("satchel_l1_capacity_bytes"), 12345678);
  EXPECT_EQ(metrics.Sum("satchel_workers"), 2);
}

TEST_F(RegistryTest, HistogramsAreCumulativeAndInSeconds) {
  first_.request_duration.Observe(16);
  second_.request_duration.Observe(1 << 20);
  const Metrics metrics(Text());
  const std::string name = "satchel_request_duration_seconds";
  EXPECT_EQ(metrics.Sum(name + "_count"), 2);
  EXPECT_EQ(metrics.Sum(name + "_bucket", {"le=\"1.6e-05\""}), 1) << metrics.text();
  EXPECT_EQ(metrics.Sum(name + "_bucket", {"le=\"+Inf\""}), 2);
  EXPECT_NEAR(metrics.Sum(name + "_sum"), 1.048592, 1e-9);
}

TEST_F(RegistryTest, GaugesGoDownAgain) {
  Add(first_.connections_open, 2);
  Subtract(first_.connections_open);
  Add(second_.connections_open);
  EXPECT_EQ(Metrics(Text()).Sum("satchel_connections_open"), 2);
}

TEST_F(RegistryTest, TheProcessAndItsConfigurationAreShown) {
  process_.version = "9.8.7";
  process_.generation = 4;
  process_.last_reload_ok = false;
  servers_ = {{.upstream = "app", .server = "127.0.0.1:1", .healthy = true, .in_flight = 3},
              {.upstream = "app", .server = "127.0.0.1:2", .healthy = false}};
  const Metrics metrics(Text());
  EXPECT_EQ(metrics.Sum("satchel_build_info", {"version=\"9.8.7\""}), 1);
  EXPECT_EQ(metrics.Sum("satchel_config_generation"), 4);
  EXPECT_TRUE(metrics.Has("satchel_config_last_reload_successful"));
  EXPECT_EQ(metrics.Sum("satchel_config_last_reload_successful"), 0);
  EXPECT_EQ(metrics.Sum("satchel_upstream_server_up", {"server=\"127.0.0.1:1\""}), 1);
  EXPECT_EQ(metrics.Sum("satchel_upstream_server_up", {"server=\"127.0.0.1:2\""}), 0);
  EXPECT_GT(metrics.Sum("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(metrics.Sum("process_open_fds"), 2);
}

// The conventions that promtool checks: every family has a help text, counters end in _total,
// nothing is named twice.
TEST_F(RegistryTest, NamesFollowTheConventions) {
  first_.CountRequest(Outcome::kHit, cache::Reason::kFresh, 200, 20);
  std::set<std::string> names;
  std::string help;
  std::istringstream lines(Text());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, what, name, rest;
    words >> hash >> what >> name;
    std::getline(words, rest);
    if (hash != "#") continue;
    if (what == "HELP") {
      help = name;
      EXPECT_GT(rest.size(), 6u) << line;
      continue;
    }
    ASSERT_EQ(what, "TYPE") << line;
    EXPECT_EQ(help, name) << "without a help text";
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
    EXPECT_EQ(rest == " counter", name.ends_with("_total")) << line;
    if (rest == " histogram") EXPECT_TRUE(name.ends_with("_seconds")) << line;
  }
  EXPECT_GT(names.size(), 60u);
}

}  // namespace
}  // namespace satchel::proxy
