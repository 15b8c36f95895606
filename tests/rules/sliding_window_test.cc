#include "rules/sliding_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace satchel::rules {
namespace {

constexpr int64_t kSecond = 1'000'000;

struct Asked {
  int64_t unit = 1;
  int64_t count = 1;
  int64_t lease = 0;
  bool force = false;
};

// One window, asked for one unit at a time.
struct OneWindow {
  WindowLog log;
  WindowSpec spec;
  WindowState state;

  int64_t Ask(int64_t now, Asked asked = {}) {
    spec.unit = asked.unit;
    WindowLog* const one = &log;
    return CheckWindows({&one, 1}, {&spec, 1},
                        {.count = asked.count, .lease = asked.lease, .force = asked.force}, now,
                        {&state, 1});
  }
};

TEST(SlidingWindowTest, AdmitsTheLimitAndRefusesTheNext) {
  OneWindow w{{}, {3, kSecond, 1}, {}};
  EXPECT_EQ(w.Ask(10), 1);
  EXPECT_EQ(w.state, (WindowState{2, kSecond, 0}));
  EXPECT_EQ(w.Ask(20), 1);
  EXPECT_EQ(w.Ask(30), 1);
  EXPECT_EQ(w.Ask(40), 0);
  EXPECT_EQ(w.state.remaining, 0);
  EXPECT_EQ(w.state.reset, 10 + kSecond - 40);
  EXPECT_EQ(w.state.wait, 10 + kSecond - 40);
}

TEST(SlidingWindowTest, WaitingAsToldIsEnoughAndOneMicrosecondLessIsNot) {
  OneWindow w{{}, {1, kSecond, 1}, {}};
  ASSERT_EQ(w.Ask(100), 1);
  ASSERT_EQ(w.Ask(200), 0);
  const int64_t again = 200 + w.state.wait;
  EXPECT_EQ(w.Ask(again - 1), 0);
  EXPECT_EQ(w.Ask(again), 1);
}

TEST(SlidingWindowTest, RefusedCallsAreNotCounted) {
  OneWindow w{{}, {1, kSecond, 1}, {}};
  ASSERT_EQ(w.Ask(0), 1);
  for (int64_t t = 1; t < kSecond; t += 1000) ASSERT_EQ(w.Ask(t), 0);
  EXPECT_EQ(w.Ask(kSecond), 1);
}

TEST(SlidingWindowTest, GrantsPartOfABatch) {
  OneWindow w{{}, {5, kSecond, 1}, {}};
  EXPECT_EQ(w.Ask(1, {.unit = 1, .count = 3}), 3);
  EXPECT_EQ(w.Ask(2, {.unit = 1, .count = 4}), 2);
  EXPECT_EQ(w.state.remaining, 0);
}

TEST(SlidingWindowTest, ACountOfZeroOnlyLooks) {
  OneWindow w{{}, {5, kSecond, 1}, {}};
  EXPECT_EQ(w.Ask(1, {.unit = 1, .count = 0}), 0);
  EXPECT_EQ(w.state, (WindowState{5, 0, 0}));
  EXPECT_TRUE(w.log.empty());
}

TEST(SlidingWindowTest, AUnitAboveTheLimitNeverFits) {
  OneWindow w{{}, {5, kSecond, 1}, {}};
  EXPECT_EQ(w.Ask(1, {.unit = 6, .count = 1}), 0);
  EXPECT_EQ(w.state.wait, -1);
}

TEST(SlidingWindowTest, AForcedChargeIsDebt) {
  OneWindow w{{}, {2, kSecond, 1}, {}};
  EXPECT_EQ(w.Ask(1, {.unit = 5, .count = 1, .lease = 0, .force = true}), 1);
  EXPECT_EQ(w.state.remaining, -3);
  EXPECT_EQ(w.Ask(2), 0);
  EXPECT_EQ(w.Ask(1 + kSecond), 1);
}

TEST(SlidingWindowTest, ALeaseCountsFromItsEnd) {
  OneWindow w{{}, {1, kSecond, 1}, {}};
  EXPECT_EQ(w.Ask(0, {.unit = 1, .count = 1, .lease = 500}), 1);
  EXPECT_EQ(w.Ask(kSecond + 499), 0);
  EXPECT_EQ(w.Ask(kSecond + 500), 1);
}

TEST(SlidingWindowTest, AllWindowsMustHaveRoomOrNoneIsCharged) {
  std::vector<WindowLog> memory(2);
  const std::vector<WindowLog*> logs = {&memory[0], &memory[1]};
  const std::vector<WindowSpec> specs = {{10, kSecond, 1}, {1, 10 * kSecond, 1}};
  std::vector<WindowState> states(2);
  EXPECT_EQ(CheckWindows(logs, specs, {}, 0, states), 1);
  EXPECT_EQ(CheckWindows(logs, specs, {}, 1, states), 0);
  EXPECT_EQ(states[0].remaining, 9);
  EXPECT_EQ(states[0].wait, 0);
  EXPECT_EQ(states[1].wait, 10 * kSecond - 1);
}

TEST(SlidingWindowTest, AnAbsurdUnitIsTakenForOne) {
  EXPECT_EQ(SpecOf({"w", 2, std::chrono::seconds(1)}, 4096, 0).unit, 1);
  EXPECT_EQ(SpecOf({"w", 2, std::chrono::seconds(1)}, 4096, -7).unit, 1);
}

TEST(SlidingWindowTest, AShareOfALimitIsAtLeastOne) {
  const RateWindow window{"w", 10, std::chrono::seconds(1)};
  EXPECT_EQ(SpecOf(window, 4096, 1, 3).limit, 3);
  EXPECT_EQ(SpecOf(window, 4096, 1, 100).limit, 1);
  EXPECT_EQ(SpecOf(window, 4096, 1, 0).limit, 10);
}

TEST(SlidingWindowTest, EachWindowHasItsOwnUnit) {
  std::vector<WindowLog> memory(2);
  const std::vector<WindowLog*> logs = {&memory[0], &memory[1]};
  const std::vector<WindowSpec> specs = {{10, kSecond, 1, 1}, {10, kSecond, 1, 4}};
  std::vector<WindowState> states(2);
  EXPECT_EQ(CheckWindows(logs, specs, {.count = 5}, 0, states), 2);
  EXPECT_EQ(states[0].remaining, 8);
  EXPECT_EQ(states[1].remaining, 2);
}

TEST(SlidingWindowTest, MemoryStaysBoundedUnderForcedCharges) {
  OneWindow w{{}, {10, kSecond, 1}, {}};
  for (int64_t i = 0; i < 20'000; ++i) w.Ask(i, {.unit = 1, .count = 1, .lease = 0, .force = true});
  EXPECT_LE(w.log.entries(), WindowLog::kMaxEntries);
  EXPECT_EQ(w.state.remaining, 10 - 20'000);
}

// The same rules written as plainly as can be: every unit on its own line of a list, searched from
// end to end.
class Model {
 public:
  explicit Model(std::vector<WindowSpec> specs) : specs_(std::move(specs)), lists_(specs_.size()) {}

  int64_t Ask(const std::vector<int64_t>& units, const Charge& charge, int64_t now,
              std::vector<WindowState>* states) {
    for (size_t i = 0; i < specs_.size(); ++i) specs_[i].unit = units[i];
    int64_t granted = charge.count;
    for (size_t i = 0; i < specs_.size(); ++i) {
      auto& list = lists_[i];
      const WindowSpec& spec = specs_[i];
      std::erase_if(list, [&](int64_t time) { return time <= now - spec.window; });
      if (!list.empty() && list.back() > now + spec.window + charge.lease + spec.resolution) {
        list.clear();
      }
      while (!charge.force && granted > 0 &&
             static_cast<int64_t>(list.size()) + granted * spec.unit > spec.limit) {
        --granted;
      }
    }
    for (size_t i = 0; i < specs_.size(); ++i) {
      auto& list = lists_[i];
      const WindowSpec& spec = specs_[i];
      if (granted > 0) {
        int64_t time = now + charge.lease;
        while (time % spec.resolution != 0) ++time;
        if (!list.empty() && time <= list.back()) {
          time = spec.resolution > 1 ? list.back() : list.back() + 1;
        }
        list.insert(list.end(), static_cast<size_t>(granted * spec.unit), time);
      }
      WindowState state;
      state.remaining = spec.limit - static_cast<int64_t>(list.size());
      state.reset = list.empty() ? 0 : list.front() + spec.window - now;
      const int64_t need = spec.unit - state.remaining;
      if (spec.unit > spec.limit) {
        state.wait = -1;
      } else if (granted < charge.count && need > 0) {
        state.wait = list[static_cast<size_t>(need - 1)] + spec.window - now;
      }
      (*states)[i] = state;
    }
    return granted;
  }

 private:
  std::vector<WindowSpec> specs_;
  std::vector<std::vector<int64_t>> lists_;
};

TEST(SlidingWindowTest, AgreesWithAPlainModelOverManyRandomCalls) {
  constexpr int kRuns = 120;
  constexpr int kCalls = 500;
  for (int run = 0; run < kRuns; ++run) {
    std::mt19937_64 random(static_cast<uint64_t>(run) + 1);
    const auto pick = [&](int64_t low, int64_t high) {
      return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    std::vector<WindowSpec> specs(static_cast<size_t>(pick(1, 3)));
    for (WindowSpec& spec : specs) {
      spec.limit = pick(1, 40);
      spec.window = pick(50, 2000);
      spec.resolution = pick(0, 1) == 0 ? 1 : pick(2, 1 + spec.window / 8);
    }
    Model model(specs);
    std::vector<WindowLog> memory(specs.size());
    std::vector<WindowLog*> logs;
    for (WindowLog& log : memory) logs.push_back(&log);
    std::vector<WindowState> states(specs.size());
    std::vector<WindowState> expected(specs.size());
    int64_t now = 1'000'000;
    for (int call = 0; call < kCalls; ++call) {
      const int64_t kind = pick(0, 99);
      now += kind < 60   ? pick(0, 20)
             : kind < 90 ? pick(0, 300)
             : kind < 95 ? pick(0, 5000)
                         : -pick(0, 800);
      std::vector<int64_t> units;
      for (WindowSpec& spec : specs) {
        spec.unit = pick(0, 9) < 7 ? 1 : pick(1, 7);
        units.push_back(spec.unit);
      }
      const Charge charge{.count = pick(0, 9) < 7 ? 1 : pick(0, 9),
                          .lease = pick(0, 9) < 8 ? 0 : pick(1, 30),
                          .force = pick(0, 19) == 0};
      const int64_t want = model.Ask(units, charge, now, &expected);
      const int64_t got = CheckWindows(logs, specs, charge, now, states);
      ASSERT_EQ(got, want) << "run " << run << " call " << call;
      for (size_t i = 0; i < specs.size(); ++i) {
        ASSERT_EQ(states[i], expected[i]) << "run " << run << " call " << call << " window " << i;
      }
    }
  }
}

TEST(SlidingWindowTest, NoStretchOfTimeHoldsMoreThanTheLimitWhateverTheResolution) {
  for (int run = 0; run < 60; ++run) {
    std::mt19937_64 random(static_cast<uint64_t>(run) + 77);
    const auto pick = [&](int64_t low, int64_t high) {
      return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    OneWindow w{{}, {pick(1, 20), pick(100, 1000), pick(1, 50)}, {}};
    std::vector<int64_t> admitted;
    int64_t now = 0;
    for (int call = 0; call < 1000; ++call) {
      now += pick(0, 30);
      if (w.Ask(now) == 1) admitted.push_back(now);
    }
    const auto limit = static_cast<size_t>(w.spec.limit);
    ASSERT_GT(admitted.size(), limit);
    for (size_t i = limit; i < admitted.size(); ++i) {
      ASSERT_GE(admitted[i] - admitted[i - limit], w.spec.window);
    }
  }
}

TEST(SlidingWindowTest, LargeLimitsKeepFewEntriesAndAreNeverExceeded) {
  const WindowSpec spec = SpecOf({"w", 1'000'000, std::chrono::hours(1)}, 1024, 1);
  EXPECT_EQ(spec.resolution, (3600 * kSecond + 1023) / 1024);
  OneWindow w{{}, spec, {}};
  int64_t granted = 0;
  for (int64_t t = 0; t < 3600 * kSecond; t += kSecond) {
    granted += w.Ask(t, {.unit = 1, .count = 300});
  }
  EXPECT_EQ(granted, 1'000'000);
  EXPECT_LE(w.log.entries(), 1026U);
}

TEST(SlidingWindowTest, LimitsUpToTheEntriesOfALogAreExactToTheMicrosecond) {
  EXPECT_EQ(SpecOf({"w", 4096, std::chrono::hours(1)}, 4096, 1).resolution, 1);
  EXPECT_GT(SpecOf({"w", 4097, std::chrono::hours(1)}, 4096, 1).resolution, 1);
}

}  // namespace
}  // namespace satchel::rules
