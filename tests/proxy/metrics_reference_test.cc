// deploy/monitoring/README.md lists every metric, word for word as /metrics tells it.

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "proxy/metrics.h"
#include "proxy/shared_limits.h"

namespace satchel::proxy {
namespace {

std::string Row(const prometheus::MetricFamily& family) {
  static const char* const kTypes[] = {"counter", "gauge", "summary", "untyped", "histogram"};
  std::string labels;
  for (const auto& label : family.metric.at(0).label) {
    labels += (labels.empty() ? "`" : ", `") + label.name + "`";
  }
  return "| `" + family.name + "` | " + kTypes[static_cast<size_t>(family.type)] + " | " + labels +
         " | " + family.help + " |";
}

std::set<std::string> Listed() {
  std::ifstream file(std::string(SATCHEL_SOURCE_DIR) + "/deploy/monitoring/README.md");
  EXPECT_TRUE(file.is_open());
  std::set<std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `satchel_") && !line.starts_with("| `process_")) continue;
    EXPECT_TRUE(rows.insert(line).second) << "twice: " << line;
  }
  return rows;
}

TEST(MetricsReferenceTest, ListsEveryMetricAndNothingElse) {
  // Everything that is shown only where it is used.
  WorkerMetrics worker;
  worker.CountRequest(Outcome::kHit, cache::Reason::kFresh, 200, 20);
  worker.redis_nodes.push_back({.server = "127.0.0.1:6379"});
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  SharedLimits limits;
  limits.stats.For({.policy = &policy, .plan = &policy.plans[0]});
  ProcessStatus process;
  process.l2_configured = true;
  process.limits = &limits;
  process.purges.shared = true;
  process.schedule.next = {{"night", 1}};
  process.warm.counting = true;
  const cache::Store store({.capacity = 1 << 20});
  const MetricsRegistry registry({&worker}, &store);

  std::set<std::string> listed = Listed();
  for (const auto& family : registry.Collect(process, {{.upstream = "app", .server = "s"}})) {
    ASSERT_FALSE(family.metric.empty()) << family.name;
    const std::string row = Row(family);
    EXPECT_EQ(listed.erase(row), 1u) << "not listed: " << row;
  }
  for (const std::string& row : listed) ADD_FAILURE() << "no such metric: " << row;
}

}  // namespace
}  // namespace satchel::proxy
