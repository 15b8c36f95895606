#include "proxy/warm_run.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"

namespace satchel::proxy {
namespace {

using redis::TurnUntil;

class WarmRunTest : public ::testing::Test {
 protected:
  struct Sent {
    std::string target;
    bool shared_only;
    int64_t at_ms;
    WarmRun::Done done;
  };

  static std::vector<WarmRequest> Requests(size_t count) {
    std::vector<WarmRequest> all(count);
    for (size_t i = 0; i < count; ++i) all[i].uri = {"https", "shop.test", "/" + std::to_string(i)};
    return all;
  }
  std::unique_ptr<WarmRun> Make(WarmRun::Options options, size_t count) {
    options.name = "test";
    return std::make_unique<WarmRun>(
        loop, options, Requests(count),
        [this](const WarmRequest& request, bool shared_only, WarmRun::Done done) {
          sent.push_back({request.uri.target, shared_only, net::EventLoop::ReadClockMs(), done});
          if (answer) {
            ++under_way;
            most_under_way = std::max(most_under_way, under_way);
            loop.AtTurnEnd([this, shared_only, done, target = request.uri.target] {
              --under_way;
              done(answer(target, shared_only));
            });
          }
        });
  }
  bool RunToEnd(WarmRun& run) {
    run.Start([this] { ++changes; });
    return TurnUntil(loop, [&] { return run.finished(); });
  }
  static uint64_t Count(const WarmRun& run, WarmResult result) {
    return run.progress().results[static_cast<size_t>(result)];
  }
  size_t SentTo(bool shared) const {
    size_t count = 0;
    for (const Sent& one : sent) count += one.shared_only == shared ? 1 : 0;
    return count;
  }
  static WarmOutcome Fetched(uint64_t bytes = 10) {
    return {.result = WarmResult::kFetched, .bytes = bytes};
  }
  static WarmOutcome Missed() { return {.missed = true}; }

  net::EventLoop loop;
  std::vector<Sent> sent;
  std::function<WarmOutcome(const std::string& target, bool shared_only)> answer;
  int under_way = 0;
  int most_under_way = 0;
  int changes = 0;
};

TEST_F(WarmRunTest, TheSharedTierComesFirstAndTheOriginGetsTheRest) {
  answer = [](const std::string& target, bool shared_only) {
    if (!shared_only) return Fetched();
    return target == "/1" ? WarmOutcome{.result = WarmResult::kShared, .bytes = 5} : Missed();
  };
  const auto run = Make({.concurrency = 2, .rate = 1000}, 4);
  ASSERT_TRUE(RunToEnd(*run));
  EXPECT_EQ(SentTo(true), 4u);
  EXPECT_EQ(SentTo(false), 3u);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(sent[i].shared_only);
  EXPECT_EQ(Count(*run, WarmResult::kShared), 1u);
  EXPECT_EQ(Count(*run, WarmResult::kFetched), 3u);
  EXPECT_EQ(run->progress().bytes, 35u);
  EXPECT_EQ(run->progress().done, 4u);
  EXPECT_EQ(most_under_way, 2);
  EXPECT_EQ(changes, 4);
}

TEST_F(WarmRunTest, WithoutASharedTierTheOriginIsAskedAtOnce) {
  answer = [](const std::string&, bool) { return Fetched(); };
  const auto run = Make({.rate = 1000, .shared = false}, 3);
  EXPECT_TRUE(run->shared_done());
  ASSERT_TRUE(RunToEnd(*run));
  EXPECT_EQ(SentTo(true), 0u);
  EXPECT_EQ(SentTo(false), 3u);
}

TEST_F(WarmRunTest, NothingToDoIsDoneAtOnce) {
  const auto run = Make({}, 0);
  run->Start([this] { ++changes; });
  EXPECT_TRUE(run->finished());
  EXPECT_EQ(run->share(), 1);
  EXPECT_EQ(changes, 1);
}

TEST_F(WarmRunTest, TheOriginIsAskedNoFasterThanTheRate) {
  answer = [](const std::string&, bool) { return Fetched(); };
  const auto run = Make({.concurrency = 8, .rate = 100, .shared = false}, 31);
  const int64_t begun = net::EventLoop::ReadClockMs();
  ASSERT_TRUE(RunToEnd(*run));
  // Thirty pauses of 10 ms; what a late timer lost may be made up for by 5 ms.
  EXPECT_GE(net::EventLoop::ReadClockMs() - begun, 300 - 6);
  for (size_t i = 5; i < sent.size(); ++i) {
    EXPECT_GE(sent[i].at_ms - sent[i - 5].at_ms, 50 - 6) << i;
  }
}

TEST_F(WarmRunTest, WhatTheSharedTierHasCostsNoRate) {
  answer = [](const std::string&, bool) { return WarmOutcome{.result = WarmResult::kShared}; };
  const auto run = Make({.rate = 0.1}, 1000);
  const int64_t begun = net::EventLoop::ReadClockMs();
  ASSERT_TRUE(RunToEnd(*run));
  EXPECT_LT(net::EventLoop::ReadClockMs() - begun, 9000);
  EXPECT_EQ(Count(*run, WarmResult::kShared), 1000u);
}

TEST_F(WarmRunTest, TheBudgetOfBytesEndsItAndTheRestIsSkipped) {
  answer = [](const std::string&, bool) { return Fetched(100); };
  const auto at = Make({.concurrency = 1, .rate = 1000, .max_bytes = 300, .shared = false}, 3);
  ASSERT_TRUE(RunToEnd(*at));
  EXPECT_EQ(at->progress().stopped_by, "");  // nothing is left to be skipped
  EXPECT_EQ(Count(*at, WarmResult::kFetched), 3u);
  const auto over = Make({.concurrency = 1, .rate = 1000, .max_bytes = 300, .shared = false}, 9);
  ASSERT_TRUE(RunToEnd(*over));
  EXPECT_EQ(over->progress().stopped_by, "bytes");
  EXPECT_EQ(Count(*over, WarmResult::kFetched), 3u);
  EXPECT_EQ(Count(*over, WarmResult::kSkipped), 6u);
  EXPECT_EQ(over->progress().done, 9u);
  // Those that are under way when it is used up still come: at most `concurrency` - 1 of them.
  const auto wide = Make({.concurrency = 4, .rate = 100'000, .max_bytes = 300, .shared = false}, 20);
  ASSERT_TRUE(RunToEnd(*wide));
  EXPECT_LE(Count(*wide, WarmResult::kFetched), 6u);
}

TEST_F(WarmRunTest, TheBudgetOfTimeEndsItThoughNothingComesBack) {
  const auto run = Make({.concurrency = 2, .rate = 1000, .max_ms = 100, .shared = false}, 5);
  run->Start([this] { ++changes; });
  ASSERT_TRUE(TurnUntil(loop, [&] { return Count(*run, WarmResult::kSkipped) == 3; }));
  EXPECT_EQ(run->progress().stopped_by, "time");
  EXPECT_FALSE(run->finished());  // two are under way
  sent[0].done(Fetched());
  sent[1].done({.result = WarmResult::kFailed, .error = "no answer"});
  EXPECT_TRUE(run->finished());
  EXPECT_EQ(run->progress().first_error, "https://shop.test/1: no answer");
}

TEST_F(WarmRunTest, ASharedTierThatComesLateIsWaitedForAMoment) {
  int asked = 0;
  answer = [&](const std::string&, bool shared_only) {
    if (!shared_only) return Fetched();
    return ++asked < 4 ? WarmOutcome{.unavailable = true}
                       : WarmOutcome{.result = WarmResult::kShared};
  };
  const auto run = Make({.concurrency = 1, .rate = 1000, .shared_grace_ms = 60'000}, 3);
  ASSERT_TRUE(RunToEnd(*run));
  EXPECT_EQ(Count(*run, WarmResult::kShared), 3u);
  EXPECT_EQ(SentTo(false), 0u);
  EXPECT_EQ(sent[3].target, "/0");
}

TEST_F(WarmRunTest, WithoutTheSharedTierItGoesOnByTheOrigin) {
  answer = [](const std::string&, bool shared_only) {
    return shared_only ? WarmOutcome{.unavailable = true} : Fetched();
  };
  const auto run = Make({.concurrency = 4, .rate = 10'000, .shared_grace_ms = 0}, 500);
  ASSERT_TRUE(RunToEnd(*run));
  EXPECT_LE(SentTo(true), 4u);
  EXPECT_EQ(Count(*run, WarmResult::kFetched), 500u);
}

TEST_F(WarmRunTest, WhatSomebodyElseFetchesIsTriedAgainSoOften) {
  std::map<std::string, int> asked;
  answer = [&](const std::string& target, bool) {
    const int times = ++asked[target];
    if (target == "/0") return WarmOutcome{.result = WarmResult::kBusy};
    return times < 3 ? WarmOutcome{.result = WarmResult::kBusy} : Fetched();
  };
  const auto run = Make({.concurrency = 2, .rate = 10'000, .shared = false}, 3);
  ASSERT_TRUE(RunToEnd(*run));
  EXPECT_EQ(asked["/0"], static_cast<int>(WarmRun::kBusyTries) + 1);
  EXPECT_EQ(Count(*run, WarmResult::kBusy), 1u);
  EXPECT_EQ(Count(*run, WarmResult::kFetched), 2u);
}

TEST_F(WarmRunTest, ItMayGoWhileAnswersAreOutstanding) {
  auto run = Make({.shared = false}, 2);
  run->Start([] {});
  ASSERT_GE(sent.size(), 1u);
  run.reset();
  sent[0].done(Fetched());  // nobody is there any more
}

}  // namespace
}  // namespace satchel::proxy
