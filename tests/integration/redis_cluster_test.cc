// Three masters, really: every feature over them, a slot that moves under load, a node that goes.

#include <atomic>
#include <thread>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

class RedisClusterTest : public ProxyTest {
 protected:
  SatchelConfig WithCluster(const std::string& deadline = "2s") const {
    SatchelConfig config = Config();
    config.l2 = "redis: \"" + cluster_.url() + "\", deadline: " + deadline;
    return config;
  }
  static bool Connected(const SatchelProcess& process) {
    return process.WaitForRedis();
  }
  double L2Hits(const SatchelProcess& process) {
    return process.ReadMetrics().Sum("satchel_tier_lookups_total",
                                     {"tier=\"l2\"", "result=\"hit\""});
  }
  // Until the cluster holds that many records.
  bool WaitForRecords(size_t count) {
    return Eventually([&] { return cluster_.Records().size() >= count; });
  }

  RedisCluster cluster_;
};

TEST_F(RedisClusterTest, AnotherInstanceReadsFromAllMasters) {
  constexpr int kPages = 30;
  for (int i = 0; i < kPages; ++i) {
    origin.On("/" + std::to_string(i), Fresh("page " + std::to_string(i), 300));
  }
  Start(WithCluster());
  ASSERT_TRUE(Connected(*satchel));
  for (int i = 0; i < kPages; ++i) Get("/" + std::to_string(i));
  ASSERT_TRUE(WaitForRecords(kPages));
  for (size_t i = 0; i < cluster_.size(); ++i) {
    EXPECT_GT(cluster_.node(i).Records().size(), 0u) << i;
  }
  SatchelProcess other(WithCluster());
  ASSERT_TRUE(Connected(other));
  for (int i = 0; i < kPages; ++i) {
    EXPECT_EQ(other.Get("/" + std::to_string(i)).body, "page " + std::to_string(i));
  }
  EXPECT_EQ(origin.RequestCount(), static_cast<size_t>(kPages));
  EXPECT_EQ(L2Hits(other), kPages);
}

TEST_F(RedisClusterTest, VariantsLimitsAndRemovalsWorkOverIt) {
  origin.On("/v", Fresh("varies", 300, {{"Vary", "Accept-Language"}}));
  SatchelConfig config = WithCluster();
  config.rest =
      "plans: {free: {limits: [{name: a, rate: 3/60s}, {name: b, rate: 1000/1h}]}}\n"
      "rate_limits:\n"
      "  - {name: api, match: {path: /limited}, identify: {header: X-Key, missing: 401}, "
      "default_plan: free}\n";
  origin.On("/limited", Fresh("ok", 0));
  Start(config);
  ASSERT_TRUE(Connected(*satchel));
  SatchelProcess other(config);
  ASSERT_TRUE(Connected(other));
  Get("/v", {{"Accept-Language", "de"}});
  Get("/v", {{"Accept-Language", "en"}});
  ASSERT_TRUE(Eventually([&] {
    other.Get("/v", {{"Accept-Language", "de"}});
    return L2Hits(other) >= 1;
  }));
  // Of each key three pass, whichever instance is asked.
  for (const char* key : {"k1", "k2", "k3", "k4"}) {
    int passed = 0;
    for (int i = 0; i < 8; ++i) {
      const SatchelProcess& asked = i % 2 == 0 ? *satchel : other;
      if (asked.Get("/limited", {{"X-Key", key}}).status == 200) ++passed;
    }
    EXPECT_EQ(passed, 3) << key;
  }
  // An unsafe method takes all variants away.
  origin.On("/v", Reply{.status = 204});
  satchel->Send("PUT", "/v", {}, "x");
  EXPECT_TRUE(Eventually([&] { return cluster_.Records().empty(); }));
}

TEST_F(RedisClusterTest, ASlotThatMovesUnderLoadCostsNoRequest) {
  // All pages of the load, and their slots moved one by one while they are asked for.
  constexpr int kPages = 6;
  std::map<std::string, std::string> bodies;
  for (int i = 0; i < kPages; ++i) {
    const std::string target = "/m" + std::to_string(i);
    bodies[target] = "body of " + target;
    origin.On(target, Fresh(bodies[target], 300));
  }
  Start(WithCluster());
  ASSERT_TRUE(Connected(*satchel));
  for (const auto& [target, body] : bodies) Get(target);
  ASSERT_TRUE(WaitForRecords(kPages));
  // No memory of its own: every request asks the cluster.
  SatchelConfig config = WithCluster();
  config.l1 = "size: 1MiB, max_object: 1B";
  SatchelProcess reader(config);
  ASSERT_TRUE(Connected(reader));

  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::atomic<int> sent{0};
  std::thread load([&] {
    while (!stop) {
      for (const auto& [target, body] : bodies) {
        const Response response = reader.Get(target);
        if (response.status != 200 || response.body != body) ++bad;
        ++sent;
      }
    }
  });
  for (const std::string& key : cluster_.Records()) {
    const long slot = cluster_.SlotOf(key);
    size_t from = 0;
    while (from < cluster_.size() && cluster_.node(from).Keys(key).empty()) ++from;
    ASSERT_LT(from, cluster_.size()) << key;
    const size_t to = (from + 1) % cluster_.size();
    const int before = sent;
    EXPECT_TRUE(cluster_.BeginMigration(slot, from, to));
    cluster_.MoveKeys(slot, from, to);
    // Asked for while it is there and not there: ASK.
    ASSERT_TRUE(Eventually([&] { return sent >= before + 2 * kPages; }));
    EXPECT_TRUE(cluster_.EndMigration(slot, from, to));
    const int after = sent;
    ASSERT_TRUE(Eventually([&] { return sent >= after + 2 * kPages; }));  // MOVED
  }
  stop = true;
  load.join();
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(origin.RequestCount(), static_cast<size_t>(kPages));  // all came from the cluster
  EXPECT_TRUE(Eventually([&] {
    return reader.ReadMetrics().Sum("satchel_redis_redirects_total") > 0;
  })) << reader.ReadMetrics().text();
  EXPECT_EQ(reader.ReadMetrics().Sum("satchel_redis_cluster_cross_slot_total"), 0);
}

TEST_F(RedisClusterTest, ANodeThatIsLostCostsItsOwnShareOnly) {
  constexpr int kPages = 30;
  for (int i = 0; i < kPages; ++i) {
    origin.On("/" + std::to_string(i), Fresh("page " + std::to_string(i), 300));
  }
  Start(WithCluster("100ms"));
  ASSERT_TRUE(Connected(*satchel));
  for (int i = 0; i < kPages; ++i) Get("/" + std::to_string(i));
  ASSERT_TRUE(WaitForRecords(kPages));
  const size_t lost = cluster_.node(1).Records().size();
  cluster_.node(1).Kill();
  SatchelConfig config = WithCluster("100ms");
  config.workers = "1";
  SatchelProcess other(config);
  // Until it knows the map: an answer of the cluster, if only that there is nothing.
  int probes = 0;
  ASSERT_TRUE(Eventually([&] {
    const std::string target = "/probe" + std::to_string(probes++);
    origin.On(target, Fresh("probe"));
    other.Get(target);
    return other.ReadMetrics().Sum("satchel_tier_lookups_total",
                                   {"tier=\"l2\"", "result=\"miss\""}) > 0;
  }));
  const size_t before = origin.RequestCount();
  for (int i = 0; i < kPages; ++i) {
    EXPECT_EQ(other.Get("/" + std::to_string(i)).body, "page " + std::to_string(i));
  }
  EXPECT_GT(L2Hits(other), 0);
  EXPECT_LE(origin.RequestCount(), before + lost);
}

}  // namespace
}  // namespace satchel::testing
