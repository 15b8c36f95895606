#include "proxy/popularity_log.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::proxy {
namespace {

using redis::TurnUntil;

constexpr int64_t kHour = 492'314;  // since 1970

class PopularityLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    client = std::make_unique<redis::Client>(
        loop, resolver,
        redis::PatientOptions<redis::Client::Options>(*net::Address::Parse(server.address())));
    log = std::make_unique<PopularityLog>(loop, *client, "satchel", popularity,
                                          [this] { return now; });
    client->Start();
    ASSERT_TRUE(TurnUntil(loop, [&] { return client->available(""); }));
  }
  static std::string Url(const std::string& path) { return "1 GET https://shop.test" + path; }
  static std::string Key(int64_t hour) { return "satchel:pop:" + std::to_string(hour); }
  std::vector<std::string> Read(size_t most) {
    std::optional<std::vector<std::string>> targets;
    log->Read(most, [&](const std::vector<WarmRequest>& requests) {
      targets.emplace();
      for (const WarmRequest& request : requests) targets->push_back(request.uri.target);
    });
    EXPECT_TRUE(TurnUntil(loop, [&] { return targets.has_value(); }));
    return targets.value_or(std::vector<std::string>());
  }

  testing::RedisProcess server;
  net::EventLoop loop;
  net::Resolver resolver{loop};
  cache::Time now = cache::Time(std::chrono::hours(kHour) + std::chrono::minutes(10));
  Popularity popularity;
  std::unique_ptr<redis::Client> client;
  std::unique_ptr<PopularityLog> log;
};

using Targets = std::vector<std::string>;

TEST_F(PopularityLogTest, WhatIsWantedMostIsToldForTheHourAndOneDayLong) {
  for (size_t i = 0; i < PopularityLog::kMostTold + 1; ++i) {
    popularity.Add(Url("/" + std::to_string(i)), i + 1);
  }
  log->TellNow();
  ASSERT_TRUE(TurnUntil(loop, [&] { return log->counters().told > 0; }));
  EXPECT_EQ(log->counters().told, PopularityLog::kMostTold);
  EXPECT_EQ(server.Command({"ZCARD", Key(kHour)}), "100");
  EXPECT_EQ(server.Command({"ZSCORE", Key(kHour), Url("/100")}), "101");
  EXPECT_EQ(popularity.size(), 1u);  // the rarest waits
  const long ttl = std::stol(server.Command({"PTTL", Key(kHour)}));
  EXPECT_GT(ttl, 24L * 3600 * 1000);
  EXPECT_LE(ttl, PopularityLog::kLifeMs);
  // What comes later is added.
  popularity.Add(Url("/100"), 9);
  log->TellNow();
  EXPECT_TRUE(TurnUntil(
      loop, [&] { return server.Command({"ZSCORE", Key(kHour), Url("/100")}) == "110"; }));
}

TEST_F(PopularityLogTest, AnHourHoldsSoManyNamesAndTheRarestGo) {
  std::vector<std::string> add = {"ZADD", Key(kHour)};
  for (size_t i = 0; i < PopularityLog::kMostKept; ++i) {
    add.push_back(std::to_string(i + 10));
    add.push_back(Url("/" + std::to_string(i)));
  }
  server.Command(add);
  popularity.Add(Url("/new"), 1'000'000);
  log->TellNow();
  ASSERT_TRUE(TurnUntil(loop, [&] { return log->counters().told == 1; }));
  EXPECT_EQ(server.Command({"ZCARD", Key(kHour)}), std::to_string(PopularityLog::kMostKept));
  EXPECT_EQ(server.Command({"ZSCORE", Key(kHour), Url("/0")}), "");
  EXPECT_EQ(Read(1), Targets{"/new"});
}

TEST_F(PopularityLogTest, TwoHoursAreReadTogether) {
  server.Command({"ZADD", Key(kHour), "5", Url("/a"), "4", Url("/b"), "1", Url("/c")});
  server.Command({"ZADD", Key(kHour - 1), "3", Url("/b"), "6", Url("/d")});
  server.Command({"ZADD", Key(kHour - 2), "99", Url("/old")});
  EXPECT_EQ(Read(10), (Targets{"/b", "/d", "/a", "/c"}));
  EXPECT_EQ(Read(2), (Targets{"/b", "/d"}));
  now += std::chrono::hours(1);
  EXPECT_EQ(Read(10), (Targets{"/a", "/b", "/c"}));
}

TEST_F(PopularityLogTest, WhatOthersWroteThereIsPassedOverAndCounted) {
  server.Command({"ZADD", Key(kHour), "9", "1 GET file:///etc/passwd", "8",
                  "1 GET https://shop.test/\ncookie: sid=1", "7", "", "6",
                  std::string(100'000, 'x'), "5", Url("/good"), "inf", std::string("\0\xff", 2)});
  EXPECT_EQ(Read(10), Targets{"/good"});
  EXPECT_EQ(log->counters().bad_recipes, 5u);
  server.Command({"DEL", Key(kHour)});
  server.Command({"SET", Key(kHour), "not a set"});
  EXPECT_EQ(Read(10), Targets{});
  EXPECT_EQ(log->counters().failed, 1u);
}

TEST_F(PopularityLogTest, WhatCannotBeToldIsKeptForTheNextTime) {
  server.Kill();
  ASSERT_TRUE(TurnUntil(loop, [&] { return !client->available(""); }));
  popularity.Add(Url("/a"), 3);
  log->TellNow();
  ASSERT_TRUE(TurnUntil(loop, [&] { return log->counters().failed == 1; }));
  EXPECT_EQ(popularity.size(), 1u);
  EXPECT_EQ(Read(10), Targets{});
  server.Restart();
  ASSERT_TRUE(TurnUntil(loop, [&] { return client->available(""); }));
  log->TellNow();
  ASSERT_TRUE(TurnUntil(loop, [&] { return log->counters().told == 1; }));
  EXPECT_EQ(server.Command({"ZSCORE", Key(kHour), Url("/a")}), "3");
}

}  // namespace
}  // namespace satchel::proxy
