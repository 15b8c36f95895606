// A master behind real sentinels, a real fail-over, requests all the while.

#include <atomic>
#include <thread>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

std::string PortOf(const std::string& address) { return address.substr(address.rfind(':') + 1); }

class RedisSentinelTest : public ProxyTest {
 protected:
  RedisSentinelTest() {
    for (int i = 0; i < 3; ++i) {
      sentinels_.push_back(std::make_unique<SentinelProcess>(master_.address(), 2));
    }
    EXPECT_TRUE(Eventually([&] {
      return master_.Command({"INFO", "replication"}).find("state=online") != std::string::npos;
    }));
    // Each knows the replica and the other two.
    for (const auto& sentinel : sentinels_) {
      EXPECT_TRUE(Eventually([&] {
        const std::string info = sentinel->Command({"INFO", "sentinel"});
        return info.find("slaves=1") != std::string::npos &&
               info.find("sentinels=3") != std::string::npos;
      })) << sentinel->Command({"INFO", "sentinel"});
    }
  }
  SatchelConfig WithSentinels() const {
    SatchelConfig config = Config();
    std::string hosts;
    for (const auto& sentinel : sentinels_) {
      hosts += (hosts.empty() ? "" : ",") + sentinel->address();
    }
    config.l2 = "redis: \"sentinel://" + hosts + "/main\", deadline: 200ms";
    return config;
  }
  bool Connected() {
    return satchel->WaitForRedis();
  }
  // A new response each time, until Redis has it.
  bool StoresInto(RedisProcess& redis) {
    return Eventually([&] {
      const std::string target = "/" + std::to_string(++number_);
      origin.On(target, Fresh("body"));
      EXPECT_EQ(Get(target).status, 200);
      return !redis.Records().empty();
    });
  }

  RedisProcess master_;
  RedisProcess replica_{{"--replicaof", "127.0.0.1 " + PortOf(master_.address())}};
  std::vector<std::unique_ptr<SentinelProcess>> sentinels_;
  int number_ = 0;
};

TEST_F(RedisSentinelTest, TheMasterIsFoundAlsoWhenASentinelIsDown) {
  sentinels_[0]->Kill();
  Start(WithSentinels());
  ASSERT_TRUE(Connected());
  EXPECT_TRUE(StoresInto(master_));
  EXPECT_GE(master_.Calls("role"), 2);
}

TEST_F(RedisSentinelTest, AFailOverUnderLoadFailsNoRequestAndTheNewMasterIsUsed) {
  Start(WithSentinels());
  ASSERT_TRUE(Connected());
  ASSERT_TRUE(StoresInto(master_));
  origin.On("/load", Fresh("load"));
  std::atomic<bool> stop{false};
  std::atomic<int> bad{0};
  std::atomic<int> sent{0};
  std::thread load([&] {
    while (!stop) {
      const Response response = Get("/load?n=" + std::to_string(sent % 500));
      if (response.status != 200 && response.status != 404) ++bad;
      ++sent;
    }
  });
  master_.Kill();
  EXPECT_TRUE(Eventually([&] { return sentinels_[1]->MasterAddress() == replica_.address(); },
                         std::chrono::milliseconds(40'000)));
  EXPECT_TRUE(Eventually([&] { return replica_.Command({"FLUSHALL"}) == "OK"; }));
  EXPECT_TRUE(Connected());
  EXPECT_TRUE(StoresInto(replica_));
  stop = true;
  load.join();
  EXPECT_EQ(bad, 0);
  EXPECT_GT(sent, 0);
}

}  // namespace
}  // namespace satchel::testing
