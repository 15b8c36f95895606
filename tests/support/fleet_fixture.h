#pragma once

// Several instances of the program on one private Redis, before one origin.

#include <memory>
#include <string>
#include <vector>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {

class FleetTest : public ProxyTest {
 protected:
  // Patient unless a test is about the deadline: a busy machine is no outage.
  SatchelConfig FleetConfig(const std::string& cache = "", const std::string& l2 = "") const {
    SatchelConfig config = Config();
    config.cache = cache;
    const bool timed = l2.find("deadline") != std::string::npos;
    config.l2 = "redis: \"" + redis.url() + "\"" + (timed ? "" : ", deadline: 5s") +
                (l2.empty() ? "" : ", " + l2);
    return config;
  }
  void StartFleet(const SatchelConfig& config, size_t count = 3) {
    for (size_t i = 0; i < count; ++i) {
      fleet.push_back(std::make_unique<SatchelProcess>(config));
    }
    for (const auto& instance : fleet) {
      EXPECT_TRUE(instance->WaitForRedis());
    }
  }
  // Over all instances.
  double Sum(const std::string& metric, const std::vector<std::string>& labels = {}) const {
    double sum = 0;
    for (const auto& instance : fleet) sum += instance->ReadMetrics().Sum(metric, labels);
    return sum;
  }
  // `each` clients on every instance have sent the request.
  std::vector<RawClient> Crowd(size_t each, const std::string& target) const {
    std::vector<RawClient> clients;
    for (const auto& instance : fleet) {
      for (size_t i = 0; i < each; ++i) {
        clients.emplace_back(instance->address());
        EXPECT_TRUE(clients.back().Send(Request("GET", target)));
      }
    }
    return clients;
  }
  // Instances that wait for another's fetch.
  bool WaitForWaiters(double count) const {
    return Eventually([&] { return Sum("satchel_fleet_waits_total") >= count; });
  }

  RedisProcess redis;
  std::vector<std::unique_ptr<SatchelProcess>> fleet;
};

}  // namespace satchel::testing
