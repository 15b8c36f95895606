// Messages of applications, heard by all instances and acted on by one.
#include "proxy/purge_events.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::proxy {
namespace {

using redis::TurnUntil;

class PurgeEventsQueueTest : public ::testing::Test {
 protected:
  PurgeEventsQueueTest() {
    config.channel = "app";
    redis::Client::Options options;
    const net::Address address = *net::Address::Parse(server.address());
    options.host = address.IpText();
    options.port = address.port();
    options.connect_timeout_ms = 10'000;
    client = std::make_unique<redis::Client>(loop, resolver, options);
    redis::Subscriber::Options listening;
    static_cast<redis::Link::Options&>(listening) = options;
    subscriber =
        std::make_unique<redis::Subscriber>(loop, resolver, listening, redis::Subscriber::Hooks{});
    events = std::make_unique<PurgeEvents>(
        loop, *client, *subscriber, "satchel", "we",
        [this](const PurgeRequest& request) { acted.push_back(request.tags.at(0)); });
    client->Start();
    subscriber->Start();
  }
  // "t0", "t1" and so on, all at once.
  void Publish(size_t count) {
    server.Command({"EVAL",
                    "for i = 0, ARGV[1] - 1 do "
                    "redis.call('PUBLISH', 'app', '{\"tags\":[\"t' .. i .. '\"]}') end",
                    "0", std::to_string(count)});
  }
  bool Hears() {
    return TurnUntil(loop,
                     [this] { return server.Command({"PUBSUB", "NUMSUB", "app"}) == "app\n1\n"; });
  }

  testing::RedisProcess server;
  net::EventLoop loop;
  net::Resolver resolver{loop};
  rules::PurgeConfig config;
  std::unique_ptr<redis::Client> client;
  std::unique_ptr<redis::Subscriber> subscriber;
  std::unique_ptr<PurgeEvents> events;
  std::vector<std::string> acted;
};

// Another holds the lease, and is gone before it has acted.
TEST_F(PurgeEventsQueueTest, WhatIsKeptForTheNextHolderIsBoundedAndTheOldestGoFirst) {
  server.Command({"SET", "satchel:events", "another", "PX", "600000"});
  events->Configure(config);
  ASSERT_TRUE(Hears());
  constexpr size_t kMore = 3;
  Publish(PurgeEvents::kMaxKept + kMore);
  ASSERT_TRUE(TurnUntil(
      loop, [this] { return events->counters().messages == PurgeEvents::kMaxKept + kMore; }));
  EXPECT_EQ(events->counters().dropped, kMore);
  EXPECT_TRUE(acted.empty());
  server.Command({"DEL", "satchel:events"});
  ASSERT_TRUE(TurnUntil(loop, [this] { return !acted.empty(); }));
  EXPECT_EQ(acted.size(), PurgeEvents::kMaxKept);
  EXPECT_EQ(acted.front(), "t" + std::to_string(kMore));
  EXPECT_EQ(acted.back(), "t" + std::to_string(PurgeEvents::kMaxKept + kMore - 1));
}

TEST_F(PurgeEventsQueueTest, WhatIsNotUnderstoodIsCounted) {
  events->Configure(config);
  ASSERT_TRUE(Hears());
  server.Command({"PUBLISH", "app", "nonsense"});
  Publish(1);
  ASSERT_TRUE(TurnUntil(loop, [this] { return !acted.empty(); }));
  EXPECT_EQ(events->counters().refused, 1u);
  EXPECT_EQ(events->counters().dropped, 0u);
}

}  // namespace
}  // namespace satchel::proxy
