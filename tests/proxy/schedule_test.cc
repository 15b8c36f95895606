#include "proxy/schedule.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"

namespace satchel::proxy {
namespace {

using redis::TurnUntil;

constexpr int64_t kHour = 1'772'330'400;  // a full hour, in seconds since 1970

class ScheduleTest : public ::testing::Test {
 protected:
  Schedule::Entry Entry(const std::string& name, std::vector<std::string> at) {
    Schedule::Entry entry;
    entry.name = name;
    for (const std::string& text : at) entry.at.push_back(*rules::Cron::Parse(text));
    entry.run = [this, name](cache::Time due) {
      const auto seconds = due.time_since_epoch().count() / 1000 - kHour;
      runs.push_back(name + "@" + std::to_string(seconds));
    };
    return entry;
  }
  void SetClock(int64_t seconds) { now = cache::TimeFromUnixSeconds(kHour + seconds); }
  // Two looks later all that was due has run.
  void Look() {
    const size_t before = looks;
    ASSERT_TRUE(TurnUntil(loop, [&] { return looks >= before + 2; }));
  }
  Schedule Make() {
    return Schedule(loop, [this] {
      ++looks;
      return now;
    }, 10);
  }

  net::EventLoop loop;
  cache::Time now = cache::TimeFromUnixSeconds(kHour);
  size_t looks = 0;
  std::vector<std::string> runs;
};

using Runs = std::vector<std::string>;

TEST_F(ScheduleTest, WhatIsDueRunsOnceWithItsMoment) {
  Schedule schedule = Make();
  schedule.Set({Entry("half", {"*/30 * * * *"}), Entry("twice", {"10 * * * *", "@every 20m"})});
  Look();
  EXPECT_EQ(runs, Runs{});
  SetClock(600);
  Look();
  EXPECT_EQ(runs, Runs{"twice@600"});
  SetClock(1200);
  Look();
  Look();
  EXPECT_EQ(runs, (Runs{"twice@600", "twice@1200"}));
  SetClock(1801);
  Look();
  EXPECT_EQ(runs, (Runs{"twice@600", "twice@1200", "half@1800"}));
}

TEST_F(ScheduleTest, WhatAClockJumpsOverIsDoneOnceAndWhatIsLongPastIsNot) {
  Schedule schedule = Make();
  schedule.Set({Entry("minute", {"* * * * *"})});
  SetClock(190);
  Look();
  EXPECT_EQ(runs, Runs{"minute@60"});
  // The next would have been at 240: ten minutes ago to the second, and then one second more.
  SetClock(240 + 600);
  Look();
  EXPECT_EQ(runs, (Runs{"minute@60", "minute@240"}));
  SetClock(900 + 601);
  Look();
  EXPECT_EQ(runs.size(), 2u);
  SetClock(1560);
  Look();
  EXPECT_EQ(runs.back(), "minute@1560");
}

TEST_F(ScheduleTest, AClockThatIsSetBackIsFollowed) {
  Schedule schedule = Make();
  schedule.Set({Entry("minute", {"* * * * *"})});
  SetClock(3600);
  Look();
  SetClock(50);
  Look();
  ASSERT_EQ(schedule.upcoming()[0].next, cache::TimeFromUnixSeconds(kHour + 60));
  SetClock(60);
  Look();
  EXPECT_EQ(runs.back(), "minute@60");
}

TEST_F(ScheduleTest, ANewScheduleMissesNothingThatTheOldOneHad) {
  Schedule schedule = Make();
  schedule.Set({Entry("a", {"* * * * *"}), Entry("b", {"* * * * *"})});
  SetClock(61);
  schedule.Set({Entry("a", {"* * * * *"}), Entry("c", {"* * * * *"})});
  Look();
  EXPECT_EQ(runs, Runs{"a@60"});  // c begins now, b is gone
  SetClock(120);
  Look();
  EXPECT_EQ(runs, (Runs{"a@60", "a@120", "c@120"}));
}

TEST_F(ScheduleTest, AnEntryMaySetTheScheduleAndAStoppedOneIsSilent) {
  Schedule schedule = Make();
  Schedule::Entry entry = Entry("once", {"* * * * *"});
  entry.run = [&](cache::Time) {
    runs.push_back("once");
    schedule.Set({Entry("next", {"* * * * *"})});
  };
  schedule.Set({entry});
  SetClock(60);
  Look();
  SetClock(120);
  Look();
  EXPECT_EQ(runs, (Runs{"once", "next@120"}));
  schedule.Stop();
  SetClock(240);
  const size_t before = looks;
  redis::TurnFor(loop, 50);
  EXPECT_EQ(looks, before);
  EXPECT_EQ(runs.size(), 2u);
}

}  // namespace
}  // namespace satchel::proxy
