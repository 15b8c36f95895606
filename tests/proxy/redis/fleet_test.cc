#include "proxy/redis/fleet.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

struct Member {
  Member(net::EventLoop& event_loop, net::Resolver& resolver, const std::string& server,
         const std::string& name, int64_t interval_ms)
      : loop(event_loop) {
    client = std::make_unique<Client>(
        loop, resolver, PatientOptions<Client::Options>(*net::Address::Parse(server)));
    fleet = std::make_unique<Fleet>(
        loop, *client,
        Fleet::Options{.name = name, .interval_ms = interval_ms, .deadline_ms = 10'000});
    client->Start();
    fleet->Start();
  }
  // "name=sequence ..." in the order of the last heartbeats.
  std::string List() {
    std::optional<std::string> text;
    const PendingReply pending = fleet->List([&](cache::Result<std::vector<Fleet::Node>> nodes) {
      text.emplace();
      for (const Fleet::Node& node : *nodes) {
        *text += (text->empty() ? "" : " ") + node.name + "=" + std::to_string(node.sequence);
      }
    });
    TurnUntil(loop, [&] { return text.has_value(); });
    return text.value_or("nothing");
  }
  net::EventLoop& loop;
  std::unique_ptr<Client> client;
  std::unique_ptr<Fleet> fleet;
};

class FleetTest : public ::testing::Test {
 protected:
  std::unique_ptr<Member> Join(const std::string& name, int64_t interval_ms = 20) {
    return std::make_unique<Member>(loop, resolver, server.address(), name, interval_ms);
  }
  testing::RedisProcess server;
  net::EventLoop loop;
  net::Resolver resolver{loop};
};

TEST_F(FleetTest, EveryLiveInstanceIsCounted) {
  const auto a = Join("a", 1000);
  const auto b = Join("b", 1000);
  a->fleet->SetSequence(0, true);
  EXPECT_TRUE(TurnUntil(loop, [&] {
    a->fleet->SetSequence(0, true);
    return a->fleet->live() == 2;
  }));
  EXPECT_EQ(server.Command({"ZCARD", "satchel:nodes"}), "2");
}

TEST_F(FleetTest, AnInstanceThatStopsIsGoneAfterThreeBeats) {
  const auto a = Join("a");
  auto b = Join("b");
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->fleet->live() == 2; }));
  b.reset();
  EXPECT_TRUE(TurnUntil(loop, [&] { return a->fleet->live() == 1; }));
  EXPECT_EQ(a->List(), "a=0");
}

TEST_F(FleetTest, TheSequenceTravelsWithTheBeat) {
  const auto a = Join("a", 60'000);
  const auto b = Join("b", 60'000);
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->List() == "a=0 b=0" || a->List() == "b=0 a=0"; }));
  const uint64_t sequence = 1'800'000'000'123'457;
  b->fleet->SetSequence(sequence, true);
  EXPECT_TRUE(TurnUntil(loop, [&] { return a->List() == "a=0 b=1800000000123457"; }));
}

TEST_F(FleetTest, ALeaverIsNotWaitedFor) {
  const auto a = Join("a", 60'000);
  const auto b = Join("b", 60'000);
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->List().size() == 7; }));
  b->fleet->Leave();
  EXPECT_TRUE(TurnUntil(loop, [&] { return a->List() == "a=0"; }));
}

TEST_F(FleetTest, BothKeysExpire) {
  const auto a = Join("a", 60'000);
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->List() == "a=0"; }));
  EXPECT_NE(server.Command({"PTTL", "satchel:nodes"}), "-1");
  EXPECT_NE(server.Command({"PTTL", "satchel:{satchel:nodes}:seq"}), "-1");
}

TEST_F(FleetTest, TheCountHoldsWhileRedisIsAway) {
  const auto a = Join("a");
  const auto b = Join("b");
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->fleet->live() == 2; }));
  server.Kill();
  TurnFor(loop, 200);
  EXPECT_EQ(a->fleet->live(), 2u);
}

TEST_F(FleetTest, NamesAreUnique) { EXPECT_NE(Fleet::UniqueName(), Fleet::UniqueName()); }

}  // namespace
}  // namespace satchel::redis
