#pragma once

// Two instances on one private Redis, before one origin: what the first stored, the second reads.

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {

class SharedTierTest : public ProxyTest {
 protected:
  void SetUp() override {
    SatchelConfig config = Config();
    config.workers = "1";  // so that records are written in the order of the answers
    config.l2 = "redis: \"" + redis_.url() + "\", deadline: 2s";
    config.rules =
        "  - name: search\n"
        "    match: {path: \"/search/**\", method: [QUERY, POST]}\n"
        "    cache: {key: {body: {max: 1KiB}}}\n"
        "  - name: rest\n";
    Start(config);
    other_ = std::make_unique<SatchelProcess>(config);
    for (const SatchelProcess* process : {satchel.get(), other_.get()}) {
      ASSERT_TRUE(Eventually([&] {
        const Metrics metrics = process->ReadMetrics();
        return metrics.Sum("satchel_redis_connections_up") == metrics.Sum("satchel_workers") &&
               metrics.Sum("satchel_purge_coherent") == 1 &&
               metrics.Sum("satchel_purge_channel_up") == 1;
      }));
    }
  }
  // Stores it at the first instance and waits until Redis has it.
  Response Store(std::string_view target, const Fields& fields = {},
                 std::string_view method = "GET", std::string_view body = {}) {
    const size_t before = Written();
    Response response = Send(method, target, fields, body);
    EXPECT_TRUE(Eventually([&] { return Written() > before; })) << target;
    return response;
  }
  // What the first instance was going to write before now has been written.
  void Fence() {
    const std::string target = "/fence/" + std::to_string(++fences_);
    origin.On(target, Fresh("fence"));
    Store(target);
  }
  size_t Written() { return redis_.Records().size(); }
  void AnswerAll(const Reply& reply) {
    origin.Otherwise([reply](OriginExchange& exchange) { exchange.Respond(reply); });
  }
  static bool Hit(const Response& response) { return CacheStatus(response).hit(); }

  RedisProcess redis_;
  std::unique_ptr<SatchelProcess> other_;
  int fences_ = 0;
};

}  // namespace satchel::testing
