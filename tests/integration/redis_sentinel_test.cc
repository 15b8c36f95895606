// A master behind real sentinels, a real fail-over, requests all the while.

#include <atomic>
#include <thread>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

class RedisSentinelTest : public ProxyTest {
 protected:
  SatchelConfig WithSentinels() const {
    SatchelConfig config = Config();
    config.l2 = "redis: \"" + redis_.url() + "\", deadline: 200ms";
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

  SentinelTopology redis_;
  int number_ = 0;
};

TEST_F(RedisSentinelTest, TheMasterIsFoundAlsoWhenASentinelIsDown) {
  redis_.sentinel(0).Kill();
  Start(WithSentinels());
  ASSERT_TRUE(Connected());
  EXPECT_TRUE(StoresInto(redis_.master()));
  EXPECT_GE(redis_.master().Calls("role"), 2);
}

TEST_F(RedisSentinelTest, AFailOverUnderLoadFailsNoRequestAndTheNewMasterIsUsed) {
  Start(WithSentinels());
  ASSERT_TRUE(Connected());
  ASSERT_TRUE(StoresInto(redis_.master()));
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
  redis_.master().Kill();
  EXPECT_TRUE(redis_.WaitForFailOver());
  EXPECT_TRUE(Eventually([&] { return redis_.replica().Command({"FLUSHALL"}) == "OK"; }));
  EXPECT_TRUE(Connected());
  EXPECT_TRUE(StoresInto(redis_.replica()));
  stop = true;
  load.join();
  EXPECT_EQ(bad, 0);
  EXPECT_GT(sent, 0);
}

}  // namespace
}  // namespace satchel::testing
