#pragma once

// Several instances that share limits by one private Redis, and clients that note when what they
// asked was let in.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {

using Clock = std::chrono::steady_clock;

// An admitted call: it was counted at some moment between the two.
struct Admission {
  Clock::time_point sent;
  Clock::time_point answered;
};

class FleetLimitsTest : public ProxyTest {
 protected:
  void SetUp() override {
    origin.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "ok"}); });
  }

  SatchelConfig Limited(const std::string& limits, const std::string& deadline,
                        const std::string& more = "") const {
    return LimitedBy(redis.url(), limits, deadline, more);
  }
  SatchelConfig LimitedBy(const std::string& url, const std::string& limits,
                          const std::string& deadline, const std::string& more = "") const {
    SatchelConfig config = Config();
    config.workers = "1";
    config.l2 = "redis: \"" + url + "\", deadline: " + deadline +
                ", breaker: {failures: 3, open_for: 200ms}";
    config.rest =
        "rate_limits:\n"
        "  - name: api\n"
        "    identify: {header: X-API-Key}\n"
        "    limits: [" +
        limits + "]\n" + more;
    return config;
  }

  void StartFleet(size_t count, const SatchelConfig& config) {
    for (size_t i = 0; i < count; ++i) fleet.push_back(std::make_unique<SatchelProcess>(config));
    ASSERT_TRUE(Eventually([&] {
      return std::all_of(fleet.begin(), fleet.end(), [&](const auto& one) {
        const Metrics metrics = one->ReadMetrics();
        return metrics.Sum("satchel_redis_connections_up") == metrics.Sum("satchel_workers");
      });
    }));
  }

  // Clients, spread over the instances, that ask without a pause until `until`.
  void Hammer(size_t clients, Clock::time_point until) {
    std::mutex mutex;
    RunTogether(clients, [&](size_t i) {
      RawClient client(fleet[i % fleet.size()]->address());
      std::vector<Admission> own;
      int own_refused = 0;
      int own_failed = 0;
      while (Clock::now() < until) {
        const auto sent = Clock::now();
        const Response response = client.Get("/x", {{"X-API-Key", "shared"}});
        if (response.status == 200) {
          own.push_back({sent, Clock::now()});
          ++let_in;
        } else if (response.status == 429) {
          ++own_refused;
        } else {
          ++own_failed;
        }
      }
      const std::lock_guard lock(mutex);
      admitted.insert(admitted.end(), own.begin(), own.end());
      refused += own_refused;
      failed += own_failed;
    });
  }

  // Calls that were surely counted between the two moments.
  size_t CountIn(Clock::time_point from, Clock::time_point to) const {
    return static_cast<size_t>(
        std::count_if(admitted.begin(), admitted.end(),
                      [&](const Admission& one) { return one.sent >= from && one.answered < to; }));
  }
  // The most of them within one stretch of `window`, wherever between the two it begins and ends.
  size_t MostIn(std::chrono::milliseconds window, Clock::time_point from = Clock::time_point::min(),
                Clock::time_point to = Clock::time_point::max()) const {
    size_t most = 0;
    for (const Admission& first : admitted) {
      if (first.sent < from) continue;
      most = std::max(most, CountIn(first.sent, std::min(first.sent + window, to)));
    }
    return most;
  }

  RedisProcess redis;
  std::vector<std::unique_ptr<SatchelProcess>> fleet;
  std::vector<Admission> admitted;
  std::atomic<size_t> let_in = 0;  // while Hammer() is at it
  int refused = 0;
  int failed = 0;
};

}  // namespace satchel::testing
