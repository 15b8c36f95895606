#include "proxy/warmer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"
#include "tests/proxy/snapshot_of.h"

namespace satchel::proxy {
namespace {

using redis::TurnUntil;

class WarmerTest : public ::testing::Test {
 protected:
  void Make(const std::string& config) {
    warmer = std::make_unique<Warmer>(
        loop, nullptr, popularity, SnapshotOf(config), [this] { return now; },
        [this](const WarmRequest& request, bool, WarmRun::Done done) {
          sent.push_back(request.uri.target);
          open.push_back(std::move(done));
        },
        /*look_ms=*/10);
  }
  void Start() {
    warmer->Start([this] { ++ready; });
  }
  void Answer(size_t which, WarmResult result = WarmResult::kFetched) {
    open.at(which)({.result = result});
  }
  static std::string List(const std::string& name, int urls, const std::string& more) {
    std::string text = "  - {name: " + name + ", rate: 1000/1s, urls: [";
    for (int i = 0; i < urls; ++i) {
      text += (i > 0 ? ", " : "") + ("\"http://shop.test/" + name + std::to_string(i) + "\"");
    }
    return text + "], " + more + "}\n";
  }
  cache::Result<uint64_t> Begin(int urls, int languages, bool* full) {
    Warmer::Order order;
    order.who = "test";
    for (int i = 0; i < urls; ++i) order.urls.push_back("http://shop.test/" + std::to_string(i));
    std::vector<std::string> values;
    for (int i = 0; i < languages; ++i) values.push_back("l" + std::to_string(i));
    if (languages > 0) order.headers = {{"Accept-Language", values}};
    return warmer->Begin(std::move(order), full);
  }

  net::EventLoop loop;
  cache::Time now = cache::TimeFromUnixSeconds(1'772'330'400);  // a full hour
  Popularity popularity;
  std::vector<std::string> sent;
  std::vector<WarmRun::Done> open;
  int ready = 0;
  std::unique_ptr<Warmer> warmer;
};

TEST_F(WarmerTest, WithNothingToWarmItIsReadyAtOnce) {
  Make("");
  Start();
  EXPECT_EQ(ready, 1);
  EXPECT_TRUE(warmer->ready());
}

TEST_F(WarmerTest, ReadinessWaitsForTheShareOfEveryEntryAndComesOnce) {
  Make("warmup:\n" + List("a", 2, "at: startup, ready_at: 50%, ready_timeout: 1h") +
       List("b", 1, "at: startup, ready_at: 100%, ready_timeout: 1h") +
       List("c", 1, "at: startup"));
  Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return sent.size() == 4; }));
  EXPECT_EQ(ready, 0);
  Answer(0, WarmResult::kFailed);  // done is done
  EXPECT_EQ(ready, 0);
  const auto b = static_cast<size_t>(std::ranges::find(sent, "/b0") - sent.begin());
  Answer(b);
  EXPECT_EQ(ready, 1);
  const auto c = static_cast<size_t>(std::ranges::find(sent, "/c0") - sent.begin());
  Answer(c);
  EXPECT_EQ(ready, 1);
}

TEST_F(WarmerTest, ReadinessComesWithTheLastTimeout) {
  Make("warmup:\n" + List("a", 1, "at: startup, ready_at: 100%, ready_timeout: 20ms") +
       List("b", 1, "at: startup, ready_at: 100%, ready_timeout: 60ms"));
  const int64_t begun = net::EventLoop::ReadClockMs();
  Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return ready == 1; }));
  EXPECT_GE(net::EventLoop::ReadClockMs() - begun, 59);
}

TEST_F(WarmerTest, AnEntryWhoseLastRunIsNotOverIsPassedOver) {
  Make("warmup:\n" + List("a", 1, "at: \"* * * * *\""));
  Start();
  now += std::chrono::minutes(1);
  ASSERT_TRUE(TurnUntil(loop, [&] { return sent.size() == 1; }));
  now += std::chrono::minutes(1);
  ASSERT_TRUE(TurnUntil(loop, [&] { return warmer->status().runs_skipped == 1; }));
  Answer(0);
  now += std::chrono::minutes(1);
  ASSERT_TRUE(TurnUntil(loop, [&] { return sent.size() == 2; }));
  EXPECT_EQ(warmer->status().runs_begun, 2u);
}

TEST_F(WarmerTest, TheQueueIsFullAtItsBound) {
  Make("");
  Start();
  bool full = false;
  // Four of each run are under way at once; the rate lets one out, then the rest wait.
  ASSERT_TRUE(Begin(781, 64, &full));
  const size_t waiting = warmer->status().queue;
  const size_t room = Warmer::kMaxQueue - waiting;
  ASSERT_LT(room, 64u);
  EXPECT_FALSE(Begin(static_cast<int>(room) + 1, 0, &full));
  EXPECT_TRUE(full);
  EXPECT_TRUE(Begin(static_cast<int>(room), 0, &full));
  EXPECT_FALSE(full);
  EXPECT_LE(warmer->status().queue, Warmer::kMaxQueue);
  EXPECT_EQ(warmer->status().queue_limit, Warmer::kMaxQueue);
}

TEST_F(WarmerTest, SoManyRunsAtOnceAndSoManyAreRemembered) {
  Make("");
  Start();
  bool full = false;
  for (size_t i = 0; i < Warmer::kMaxRuns; ++i) ASSERT_TRUE(Begin(1, 0, &full)) << i;
  EXPECT_FALSE(Begin(1, 0, &full));
  EXPECT_TRUE(full);
  for (size_t i = 0; i < Warmer::kMaxRuns; ++i) Answer(i);
  ASSERT_TRUE(TurnUntil(loop, [&] { return Begin(1, 0, &full).has_value(); }));
  ASSERT_TRUE(TurnUntil(loop, [&] { return sent.size() == Warmer::kMaxRuns + 1; }));
  Answer(Warmer::kMaxRuns);
  ASSERT_TRUE(TurnUntil(loop, [&] { return warmer->status().runs.back().finished; }));
  EXPECT_LE(warmer->status().runs.size(), Warmer::kMaxRemembered + 1);
}

TEST_F(WarmerTest, WhatIsNotThereCannotBeAskedFor) {
  Make("rules: [{name: r}]\n");
  Start();
  bool full = true;
  const auto wrong = [&](Warmer::Order order) {
    const auto run = warmer->Begin(std::move(order), &full);
    EXPECT_FALSE(full);
    return run ? "none" : run.error().message;
  };
  EXPECT_NE(wrong({.urls = {"/a"}}).find("is no URL; write https://"), std::string::npos);
  EXPECT_NE(wrong({.entries = {"x"}}).find("no entry \"x\""), std::string::npos);
  EXPECT_NE(wrong({.rules = {"x"}}).find("no rule \"x\""), std::string::npos);
  EXPECT_NE(wrong({.rules = {"r"}}).find("from: history"), std::string::npos);
}

TEST_F(WarmerTest, StoppedNothingBeginsAndLateAnswersHarmNobody) {
  Make("warmup:\n" + List("a", 2, "at: [startup, \"* * * * *\"]"));
  Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return sent.size() == 2; }));
  warmer->Stop();
  Answer(0);
  now += std::chrono::minutes(5);
  redis::TurnFor(loop, 20);
  EXPECT_EQ(sent.size(), 2u);
}

}  // namespace
}  // namespace satchel::proxy
