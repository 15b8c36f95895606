// The cluster client against two scripted nodes: what it sends where, and how often.
#include "proxy/redis/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"

namespace satchel::redis {
namespace {

// "{b}" is in slot 3300, "{a}" in 15495.
const char* const kLow = "{b}";
const char* const kHigh = "{a}";

class ClusterTest : public ::testing::Test {
 protected:
  ClusterTest() { SetMap(low_, high_); }

  static std::string NodeText(const FakeRedis& node) {
    return "*3\r\n$9\r\n127.0.0.1\r\n:" + std::to_string(node.address().port()) +
           "\r\n$2\r\nid\r\n";
  }
  static std::string Slots(const FakeRedis& low, const FakeRedis& high) {
    return "*2\r\n*3\r\n:0\r\n:8191\r\n" + NodeText(low) + "*3\r\n:8192\r\n:16383\r\n" +
           NodeText(high);
  }
  void SetMap(const FakeRedis& low, const FakeRedis& high) {
    for (FakeRedis* node : {&low_, &high_, &third_}) {
      node->answers["CLUSTER SLOTS"] = Slots(low, high);
    }
  }
  static std::string To(const char* what, const char* key, const FakeRedis& node) {
    return std::string("-") + what + " " + std::to_string(SlotOf(key)) + " " +
           node.address().ToString() + "\r\n";
  }
  void Start(int64_t refresh_ms = 20) {
    Cluster::Options options;
    options.seeds = {{.host = "127.0.0.1", .port = low_.address().port()}};
    options.refresh_ms = refresh_ms;
    options.connect_timeout_ms = 10'000;
    options.limits.stall_ms = 60'000;
    options.backoff = {.first_ms = 5, .max_ms = 20};
    cluster_ = std::make_unique<Cluster>(loop_, resolver_, options);
    cluster_->Start();
    ASSERT_TRUE(TurnUntil(loop_, [&] { return cluster_->ready(); }));
  }
  std::string Ask(Command command, const char* key, Lane lane = Lane::kFast,
                  int64_t deadline_ms = 10'000) {
    std::optional<std::string> answer;
    const PendingReply pending = cluster_->Call(
        key, std::move(command), deadline_ms,
        [&](const cache::Result<Reply>& reply) {
          answer = reply ? reply->text : "!" + reply.error().message;
        },
        lane);
    TurnUntil(loop_, [&] { return answer.has_value(); });
    return answer.value_or("nothing");
  }
  static long Saw(const FakeRedis& node, const std::string& begin) {
    return std::count_if(node.commands.begin(), node.commands.end(),
                         [&](const std::string& command) { return command.starts_with(begin); });
  }

  net::EventLoop loop_;
  net::Resolver resolver_{loop_};
  FakeRedis low_{loop_};
  FakeRedis high_{loop_};
  FakeRedis third_{loop_};
  std::unique_ptr<Cluster> cluster_;
};

TEST_F(ClusterTest, CallsGoToTheNodeOfTheirSlotWhichIsConnectedToWhenNeeded) {
  Start();
  EXPECT_EQ(high_.accepted, 0u);
  EXPECT_TRUE(cluster_->available(kHigh));
  low_.answers["GET"] = "+low\r\n";
  high_.answers["GET"] = "+high\r\n";
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "low");
  EXPECT_EQ(high_.accepted, 0u);
  EXPECT_EQ(Ask({"GET", kHigh}, kHigh), "high");
  EXPECT_EQ(Ask({"GET", "x{a}y"}, "x{a}y"), "high");
}

TEST_F(ClusterTest, MovedPatchesTheSlotAndTheCallIsSentOnceMore) {
  Start(60'000);
  low_.answers["GET"] = To("MOVED", kLow, high_);
  high_.answers["GET"] = "+moved\r\n";
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "moved");
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "moved");
  EXPECT_EQ(Saw(low_, "GET"), 1);
  EXPECT_EQ(cluster_->counters().moved.Get(), 1u);
}

TEST_F(ClusterTest, MovedLeadsToANewMapButNotToMany) {
  Start(60'000);
  const auto before = cluster_->counters().refreshes.Get();
  low_.answers["GET"] = To("MOVED", kLow, high_);
  high_.answers["GET"] = To("MOVED", kLow, low_);
  EXPECT_TRUE(Ask({"GET", kLow}, kLow).starts_with("!MOVED"));
  TurnFor(loop_, 50);
  EXPECT_EQ(cluster_->counters().refreshes.Get(), before);  // at most one a minute here
  EXPECT_EQ(Saw(low_, "GET") + Saw(high_, "GET"), 4);       // three redirects
  EXPECT_EQ(cluster_->counters().gave_up.Get(), 1u);
}

TEST_F(ClusterTest, ANodeThatIsNewIsLearntFromMoved) {
  Start();
  SetMap(third_, high_);
  low_.answers["GET"] = To("MOVED", kLow, third_);
  third_.answers["GET"] = "+third\r\n";
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "third");
  // The map is read again, and who is no master any more is left.
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !low_.connected(); }));
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "third");
}

TEST_F(ClusterTest, AskGoesBehindAskingAndPatchesNothing) {
  Start(60'000);
  low_.answers["GET"] = To("ASK", kLow, high_);
  high_.answers["ASKING"] = "+OK\r\n";
  high_.answers["GET"] = "+asked\r\n";
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "asked");
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "asked");
  EXPECT_EQ(Saw(low_, "GET"), 2);
  const auto asking = std::find(high_.commands.begin(), high_.commands.end(), "ASKING");
  ASSERT_NE(asking, high_.commands.end());
  EXPECT_EQ(*std::next(asking), "GET {b}");
  EXPECT_EQ(cluster_->counters().asked.Get(), 2u);
}

TEST_F(ClusterTest, AScriptUnknownToTheAskedNodeIsSentBehindAskingAgain) {
  const Script script("return 1");
  Start(60'000);
  low_.answers["EVALSHA"] = To("ASK", kLow, high_);
  high_.answers["ASKING"] = "+OK\r\n";
  high_.answers["EVALSHA"] = "-NOSCRIPT No matching script\r\n";
  high_.answers["EVAL "] = "+done\r\n";
  std::optional<std::string> answer;
  ScriptArguments arguments;
  arguments.Key(kLow);
  const PendingReply pending =
      cluster_->CallScript(script, arguments, 10'000, [&](const cache::Result<Reply>& reply) {
        answer = reply ? reply->text : reply.error().message;
      });
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answer.has_value(); }));
  EXPECT_EQ(*answer, "done");
  std::vector<std::string> seen;
  for (const std::string& command : high_.commands) {
    if (command == "ASKING" || command.starts_with("EVAL")) {
      seen.push_back(command.substr(0, command.find(' ')));
    }
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"ASKING", "EVALSHA", "ASKING", "EVAL"}));
}

TEST_F(ClusterTest, TryAgainIsTriedTwiceMore) {
  Start(60'000);
  low_.auto_replies = {"-TRYAGAIN Multiple keys\r\n", "-TRYAGAIN Multiple keys\r\n", "+late\r\n"};
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "late");
  low_.auto_replies = {"-TRYAGAIN a\r\n", "-TRYAGAIN b\r\n", "-TRYAGAIN c\r\n"};
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "!TRYAGAIN c");
  EXPECT_EQ(Saw(low_, "GET"), 6);
  EXPECT_EQ(cluster_->counters().gave_up.Get(), 1u);
}

TEST_F(ClusterTest, TheDeadlineHoldsAcrossRedirectsAndTries) {
  Start(60'000);
  low_.answers["GET"] = To("MOVED", kLow, high_);  // that one never answers
  EXPECT_EQ(Ask({"GET", kLow}, kLow, Lane::kFast, 30), "!deadline passed");
  SetMap(low_, high_);
  high_.answers["PTTL"] = "-TRYAGAIN x\r\n";
  EXPECT_EQ(Ask({"PTTL", kHigh}, kHigh, Lane::kFast, 10), "!deadline passed");
}

TEST_F(ClusterTest, AStoreIsNeverSentToASecondNodeARemovalIs) {
  Start(60'000);
  low_.answers["SET"] = To("MOVED", kLow, high_);
  low_.answers["UNLINK"] = To("MOVED", kLow, high_);
  high_.answers["UNLINK"] = "+gone\r\n";
  // Both on their way before the first answer.
  std::optional<bool> stored;
  cluster_->Send(
      kLow, {"SET", kLow, "v"}, 10'000,
      [&](const cache::Result<Reply>& reply) { stored = reply.has_value(); }, Lane::kStore);
  EXPECT_EQ(Ask({"UNLINK", kLow}, kLow, Lane::kBulkWrite), "gone");
  EXPECT_EQ(stored, false);
  EXPECT_EQ(Saw(high_, "SET"), 0);
}

TEST_F(ClusterTest, KeysOfDifferentSlotsInOneCallAreCounted) {
  Start(60'000);
  low_.answers["MGET"] = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
  EXPECT_TRUE(Ask({"MGET", kLow, kHigh}, kLow).starts_with("!CROSSSLOT"));
  EXPECT_EQ(cluster_->counters().cross_slot.Get(), 1u);
}

TEST_F(ClusterTest, ANodeThatIsDownOpensItsOwnBreakerOnly) {
  Start(60'000);
  low_.answers["GET"] = "-CLUSTERDOWN The cluster is down\r\n";
  high_.answers["GET"] = "+high\r\n";
  for (int i = 0; i < 5; ++i) Ask({"GET", kLow}, kLow);
  EXPECT_FALSE(cluster_->available(kLow));
  EXPECT_TRUE(cluster_->available(kHigh));
  EXPECT_TRUE(cluster_->available({}));
  EXPECT_EQ(Ask({"GET", kHigh}, kHigh), "high");
  EXPECT_EQ(Ask({"GET", kLow}, kLow), "!not available");
}

// A fail-over takes the cluster a few seconds, and nobody says when it is done.
TEST_F(ClusterTest, WhoSucceedsANodeThatIsGoneIsAskedAgainAsLongAsCallsNeedIt) {
  Start();
  high_.answers["GET"] = "+high\r\n";
  ASSERT_EQ(Ask({"GET", kHigh}, kHigh), "high");
  low_.closes = true;
  low_.Drop();
  // What the map said of it then, and that nothing can be done about it, is known.
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !cluster_->available(kLow); }));
  TurnFor(loop_, 100);
  SetMap(high_, high_);
  EXPECT_TRUE(
      TurnUntil(loop_, [&] { return Ask({"GET", kLow}, kLow, Lane::kFast, 20) == "high"; }, 5'000));
}

TEST_F(ClusterTest, ASlotThatNobodyServesSaysNothingOfTheOthers) {
  Start(60'000);
  low_.answers["GET"] = "-CLUSTERDOWN Hash slot not served\r\n";
  for (int i = 0; i < 10; ++i) Ask({"GET", kLow}, kLow);
  EXPECT_TRUE(cluster_->available(kLow));
}

TEST_F(ClusterTest, AServerThatIsNoClusterIsToldAndTriedAgain) {
  low_.answers["CLUSTER SLOTS"] = "-ERR This instance has cluster support disabled\r\n";
  std::string told;
  Cluster::Options options;
  options.seeds = {{.host = "127.0.0.1", .port = low_.address().port()}};
  options.refresh_ms = 10;
  options.connect_timeout_ms = 10'000;
  cluster_ = std::make_unique<Cluster>(
      loop_, resolver_, options,
      [&](const ServerAddress&, Node::Event, std::string_view detail) { told += detail; });
  cluster_->Start();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return Saw(low_, "CLUSTER SLOTS") >= 3; }));
  EXPECT_FALSE(cluster_->ready());
  EXPECT_NE(told.find("cluster support disabled"), std::string::npos) << told;
  EXPECT_EQ(told.find("disabled"), told.rfind("disabled"));  // once
  SetMap(low_, high_);
  EXPECT_TRUE(TurnUntil(loop_, [&] { return cluster_->ready(); }));
}

TEST_F(ClusterTest, GoesAwayWhileCallsWaitAndTryLater) {
  Start(60'000);
  low_.answers["GET"] = "-TRYAGAIN x\r\n";
  bool called = false;
  const PendingReply pending =
      cluster_->Call(kLow, {"GET", kLow}, 40, [&](const auto&) { called = true; });
  ASSERT_TRUE(TurnUntil(loop_, [&] { return cluster_->counters().try_again.Get() == 1; }));
  cluster_.reset();
  TurnFor(loop_, 60);
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace satchel::redis
