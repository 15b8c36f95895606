#pragma once

// Three instances that share a store, and what one of them purges.

#include <algorithm>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {

class PurgeFixture : public ProxyTest {
 protected:
  // `l2`: the URL and more keys of stores.l2.
  SatchelConfig Sharing(const std::string& l2, const std::string& rest = "") const {
    SatchelConfig config = Config();
    config.l1 = "size: 64MiB, incoherent_ttl: 200ms";
    config.l2 = l2;
    config.rest = rest;
    return config;
  }
  void StartThree(const SatchelConfig& config) {
    for (int i = 0; i < 3; ++i) all.push_back(std::make_unique<SatchelProcess>(config));
    EXPECT_TRUE(Coherent());
    for (const auto& one : all) EXPECT_TRUE(one->WaitForRedis());
  }
  // All know of each other's purges.
  bool Coherent(std::chrono::milliseconds patience = kPatience) {
    return Eventually(
        [&] {
          return std::all_of(all.begin(), all.end(), [](const auto& one) {
            const Metrics metrics = one->ReadMetrics();
            return metrics.Sum("satchel_purge_coherent") == 1 &&
                   metrics.Sum("satchel_purge_channel_up") == 1;
          });
        },
        patience);
  }
  // One site, whichever instance is asked.
  static Response At(const SatchelProcess& one, std::string_view target) {
    return one.Get(target, {{"Host", "shop.test"}});
  }
  static Response Purge(const SatchelProcess& at, const nlohmann::json& what) {
    return Fetch(at.admin(), "POST", "/purge", {{"Host", "localhost"}}, what.dump());
  }
  // It is in the log, and every live instance has confirmed it.
  static bool Confirmed(const Response& answer) {
    const auto report = nlohmann::json::parse(answer.body, nullptr, false);
    return answer.status == 200 && report.contains("silent") && report["silent"].empty();
  }
  // An origin whose answer is its version.
  void ServeVersions(const std::string& target, Fields more = {}) {
    more.Add("Surrogate-Key", "v");
    origin.On(target, [this, more](OriginExchange& exchange) {
      exchange.Respond(Fresh(std::to_string(version.load()), 600, more));
    });
  }
  void ExpectAll(const std::string& target, const std::string& body) {
    for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(At(*all[i], target).body, body) << i;
  }
  // Purges by tag, from everywhere in turn, until so many were confirmed: what is confirmed is
  // served nowhere any more.
  bool PurgeAndLook(int confirmed) {
    return Eventually([&] {
      ++version;
      if (Confirmed(Purge(*all[static_cast<size_t>(version) % all.size()], {{"tags", "v"}}))) {
        --confirmed;
        ExpectAll("/", std::to_string(version));
      }
      return confirmed <= 0;
    });
  }

  std::atomic<int> version{1};
  std::vector<std::unique_ptr<SatchelProcess>> all;
};

}  // namespace satchel::testing
