#include "proxy/redis/subscriber.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

Subscriber::Options OptionsFor(const std::string& address) {
  return PatientOptions<Subscriber::Options>(*net::Address::Parse(address));
}

class SubscriberTest : public ::testing::Test {
 protected:
  void Connect(Subscriber::Options options) {
    subscriber.emplace(loop, resolver, std::move(options),
                       Subscriber::Hooks{.on_up = [this] { ++ups; },
                                         .on_down = [this](const std::string&) { ++downs; },
                                         .on_failed = {}});
    subscriber->Start();
  }
  Subscriber::Subscription Listen(const std::string& channel) {
    return subscriber->Subscribe(
        channel, [this](std::string_view message) { heard.emplace_back(message); },
        [this] { ++confirmed; });
  }
  void Publish(const std::string& channel, const std::string& message) {
    server.Command({"PUBLISH", channel, message});
  }

  testing::RedisProcess server;
  net::EventLoop loop;
  net::Resolver resolver{loop};
  std::optional<Subscriber> subscriber;
  std::vector<std::string> heard;
  int confirmed = 0;
  int ups = 0;
  int downs = 0;
};

TEST_F(SubscriberTest, HearsItsChannelsFromTheConfirmationOn) {
  Connect(OptionsFor(server.address()));
  const auto one = Listen("one");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1; }));
  const auto two = Listen("two");  // while connected
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 2; }));
  Publish("other", "x");
  Publish("one", "a");
  Publish("two", std::string("b\0c", 3));
  ASSERT_TRUE(TurnUntil(loop, [&] { return heard.size() == 2; }));
  EXPECT_EQ(heard, (std::vector<std::string>{"a", std::string("b\0c", 3)}));
}

TEST_F(SubscriberTest, ACancelledSubscriptionHearsNothingAndOthersOfTheChannelStay) {
  Connect(OptionsFor(server.address()));
  auto one = Listen("one");
  const auto same = Listen("one");
  const auto end = Listen("end");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 3; }));
  one.Cancel();
  Publish("one", "a");
  Publish("end", "z");
  ASSERT_TRUE(TurnUntil(loop, [&] { return heard.size() == 2; }));
  EXPECT_EQ(heard, (std::vector<std::string>{"a", "z"}));
  EXPECT_EQ(server.Command({"PUBSUB", "NUMSUB", "one"}), "one\n1\n");
}

TEST_F(SubscriberTest, AHandlerMayCancelItself) {
  Connect(OptionsFor(server.address()));
  Subscriber::Subscription once;
  int calls = 0;
  once = subscriber->Subscribe(
      "c",
      [&](std::string_view) {
        ++calls;
        once.Cancel();
      },
      [&] { ++confirmed; });
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1; }));
  Publish("c", "1");
  Publish("c", "2");
  ASSERT_TRUE(TurnUntil(loop, [&] { return calls == 1; }));
  const auto again = Listen("c");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 2; }));
  EXPECT_EQ(calls, 1);
}

TEST_F(SubscriberTest, AKilledConnectionComesBackAndConfirmsAnew) {
  Connect(OptionsFor(server.address()));
  const auto one = Listen("one");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1; }));
  server.Command({"CLIENT", "KILL", "TYPE", "pubsub"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 2; }));
  EXPECT_EQ(downs, 1);
  EXPECT_EQ(ups, 2);
  Publish("one", "after");
  EXPECT_TRUE(TurnUntil(loop, [&] { return heard.size() == 1; }));
}

TEST_F(SubscriberTest, AServerThatHangsIsLeftAfterTwoPings) {
  Subscriber::Options options = OptionsFor(server.address());
  options.ping_ms = 50;
  Connect(options);
  const auto one = Listen("one");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1; }));
  server.Pause();
  EXPECT_TRUE(TurnUntil(loop, [&] { return downs > 0; }));
  server.Continue();
  const int before = confirmed;
  EXPECT_TRUE(TurnUntil(loop, [&] { return confirmed > before; }));
}

TEST_F(SubscriberTest, APingedConnectionStaysWhileItIsAnswered) {
  Subscriber::Options options = OptionsFor(server.address());
  options.ping_ms = 5;
  Connect(options);
  const auto one = Listen("one");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1; }));
  ASSERT_TRUE(TurnUntil(loop, [&] { return server.Calls("ping") > 20; }));
  EXPECT_EQ(downs, 0);
}

TEST_F(SubscriberTest, ChannelsAreBounded) {
  Subscriber::Options options = OptionsFor(server.address());
  options.max_channels = 2;
  Connect(options);
  auto a = Listen("a");
  const auto b = Listen("b");
  EXPECT_TRUE(Listen("b"));
  EXPECT_FALSE(Listen("c"));
  EXPECT_EQ(subscriber->counters().refused.Get(), 1u);
  a.Cancel();
  EXPECT_TRUE(Listen("c"));
}

TEST_F(SubscriberTest, ManyChannelsAreAllConfirmed) {
  Connect(OptionsFor(server.address()));
  std::vector<Subscriber::Subscription> all;
  for (int i = 0; i < 1000; ++i) all.push_back(Listen("c" + std::to_string(i)));
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1000; }));
  Publish("c999", "x");
  EXPECT_TRUE(TurnUntil(loop, [&] { return heard.size() == 1; }));
}

TEST_F(SubscriberTest, HandlesMayOutliveTheSubscriber) {
  Connect(OptionsFor(server.address()));
  const auto one = Listen("one");
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed == 1; }));
  subscriber.reset();
}

}  // namespace
}  // namespace satchel::redis
