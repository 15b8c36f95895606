// Redis stops for ten seconds under eight instances that are asked ten times as often as the limit
// allows: no request fails, and no more than the stated bound is let through.

#include <cstdint>

#include "tests/support/limits_fixture.h"

namespace satchel::testing {
namespace {

enum class Outage : uint8_t {
  kFrozen,  // SIGSTOP: connections stay, nothing answers
  kGone,    // the server ends, its counts are lost, an empty one comes back
};

class TenSecondOutageTest : public FleetLimitsTest, public ::testing::WithParamInterface<Outage> {
 protected:
  void Begin() { GetParam() == Outage::kFrozen ? redis.Pause() : redis.Kill(); }
  void End() { GetParam() == Outage::kFrozen ? redis.Continue() : redis.Restart(); }

  // Checks that instances have decided by their own counts.
  double ByShare() const {
    double sum = 0;
    for (const auto& one : fleet) {
      sum += one->ReadMetrics().Sum("satchel_rate_limit_checks_total", {"verdict=\"local-share\""});
    }
    return sum;
  }
  // Of each instance at some time: a busy machine answers late now and then.
  bool All(const std::function<bool(const Metrics&)>& holds) const {
    return std::all_of(fleet.begin(), fleet.end(), [&](const auto& one) {
      return Eventually([&] { return holds(one->ReadMetrics()); }, std::chrono::seconds(30));
    });
  }
};

TEST_P(TenSecondOutageTest, FailsNoRequestAndLetsNoMoreThanTheBoundThrough) {
  constexpr size_t kInstances = 8;
  constexpr size_t kLimit = 64;  // in a second: eight for each instance that is on its own
  constexpr std::chrono::milliseconds kWindow{1000};
  constexpr size_t kClients = 32;
  constexpr std::chrono::milliseconds kPause{50};  // of each client: together 640 calls a second
  StartFleet(kInstances, Limited("{name: short, rate: 64/1s}", "20ms"));
  // The instances know of each other before it happens.
  ASSERT_TRUE(All([](const Metrics& metrics) {
    return metrics.Sum("satchel_rate_limit_instances") == kInstances;
  }));

  std::atomic<bool> stop = false;
  Clock::time_point began;
  Clock::time_point ended;
  Clock::time_point recovered;
  double by_share = 0;  // until then
  std::thread operators([&] {
    PassTime(kWindow);
    Begin();
    began = Clock::now();
    PassTime(std::chrono::seconds(10));
    EXPECT_TRUE(All([](const Metrics& metrics) {
      return metrics.Sum("satchel_rate_limit_checks_total", {"verdict=\"local-share\""}) > 0;
    }));
    ended = Clock::now();
    End();
    // Back: every instance asks Redis again, and has told what it let through meanwhile.
    EXPECT_TRUE(All([](const Metrics& metrics) {
      return metrics.Sum("satchel_redis_connections_up") == 1 &&
             metrics.Sum("satchel_redis_breaker_open") == 0 &&
             metrics.Sum("satchel_rate_limit_debts") == 0;
    }));
    by_share = ByShare();
    recovered = Clock::now();
    PassTime(2 * kWindow);
    stop = true;
  });
  std::mutex mutex;
  Clock::duration longest{};
  RunTogether(kClients, [&](size_t i) {
    RawClient client(fleet[i % kInstances]->address());
    for (auto next = Clock::now(); !stop; next += kPause) {
      if (next > Clock::now()) {
        PassTime(std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now()));
      }
      const auto sent = Clock::now();
      const Response response = client.Get("/x", {{"X-API-Key", "shared"}});
      const std::lock_guard lock(mutex);
      longest = std::max(longest, Clock::now() - sent);
      if (response.status == 200) {
        admitted.push_back({sent, Clock::now()});
      } else if (response.status == 429) {
        ++refused;
      } else {
        ++failed;
        ADD_FAILURE() << Describe(response);
      }
    }
  });
  operators.join();

  EXPECT_EQ(failed, 0);
  EXPECT_LT(longest, std::chrono::seconds(5));  // the deadline is 20 ms, the machine may be busy
  // Across the edges at most twice the limit, on their own the instances' shares make the limit.
  EXPECT_LE(MostIn(kWindow), 2 * kLimit);
  EXPECT_LE(MostIn(kWindow, began + kWindow, ended), kLimit);
  // On a busy machine some answers of Redis are later than their deadline even now.
  const auto late = static_cast<size_t>(ByShare() - by_share);
  EXPECT_LE(MostIn(kWindow, recovered + kWindow), kLimit + late);
  // All the while those within the limit pass.
  EXPECT_GE(CountIn(began + kWindow, ended), 9 * kLimit / 2);
  EXPECT_GE(CountIn(recovered, Clock::time_point::max()), kLimit / 2);
  EXPECT_GT(refused, 0);
}

INSTANTIATE_TEST_SUITE_P(Redis, TenSecondOutageTest,
                         ::testing::Values(Outage::kFrozen, Outage::kGone), [](const auto& test) {
                           return test.param == Outage::kFrozen ? "Frozen" : "Gone";
                         });

}  // namespace
}  // namespace satchel::testing
