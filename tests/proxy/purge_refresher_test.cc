#include "proxy/purge_refresher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cache/tags.h"
#include "tests/cache/memory_support.h"
#include "tests/proxy/redis/fake_redis.h"

namespace satchel::proxy {
namespace {

using cache::PurgeRecord;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class PurgeRefresherTest : public ::testing::Test {
 protected:
  PurgeRefresherTest() {
    refresher.OnRefetch([this](const RefreshTarget& target) {
      std::string text = target.uri.scheme + "://" + target.uri.authority + target.uri.target;
      for (const auto field : target.fields) {
        text += " " + std::string(field.name) + "=" + std::string(field.value);
      }
      fetched.push_back(std::move(text));
      varies.push_back(target.vary.names);
    });
    refresher.SetRate(100'000);
  }

  void Put(const std::string& key, std::string_view tag, const cache::VarySpec& vary = {},
           const std::string& vary_values = {}) {
    auto parts = cache::testing::PartsOf(
        {.key = key, .vary = vary, .vary_values = vary_values, .body = "b"});
    cache::TagSet tags;
    tags.Add(tag);
    parts.tags = tags.Take();
    parts.purge_sequence = store.purges().head();
    parts.complete = true;
    const cache::CacheKey cache_key(key);
    cache::FillPermit permit = store.TryLead(cache_key, cache::testing::Get(), rules);
    permit.CompleteWith(cache::StoredResponse::Make(std::move(parts)), true);
  }
  // Purges, and has what it hit fetched again.
  void Purge(const PurgeRecord& record) {
    const uint64_t sequence = store.purges().Apply({&record, 1}, 0);
    refresher.Add({.uris = {}, .records = {record}}, sequence);
  }
  static cache::HttpUri Uri(size_t number) {
    return {"http", "shop.test", "/" + std::to_string(number)};
  }
  void Finish() {
    ASSERT_TRUE(redis::TurnUntil(
        loop, [this] { return refresher.waiting() == 0 && refresher.searching() == 0; }));
  }

  net::EventLoop loop;
  const cache::Overrides rules;
  cache::Store store{{.capacity = size_t{64} << 20, .shards = 4}};
  PurgeRefresher refresher{loop, store};
  std::vector<std::string> fetched;
  std::vector<std::vector<std::string>> varies;  // what the answers are selected by
};

TEST_F(PurgeRefresherTest, WhatATagPurgedIsFetchedAgainAndNothingElse) {
  std::vector<std::string> expected;
  for (int i = 0; i < 5'000; ++i) {  // more than is looked at in one go
    const std::string url = "http://shop.test/" + std::to_string(i);
    Put(url, i % 2 == 0 ? "even" : "odd");
    if (i % 2 == 0) expected.push_back(url);
  }
  Purge(PurgeRecord::Tag("even", false));
  Finish();
  EXPECT_THAT(fetched, ::testing::UnorderedElementsAreArray(expected));
  EXPECT_EQ(refresher.counters().begun, expected.size());
  EXPECT_EQ(refresher.counters().dropped, 0u);
}

TEST_F(PurgeRefresherTest, WhatWasStoredAfterThePurgeIsLeftAlone) {
  Put("http://shop.test/old", "t");
  const PurgeRecord record = PurgeRecord::Tag("t", true);
  const uint64_t sequence = store.purges().Apply({&record, 1}, 0);
  Put("http://shop.test/new", "t");
  refresher.Add({.uris = {}, .records = {record}}, sequence);
  Finish();
  EXPECT_THAT(fetched, ElementsAre("http://shop.test/old"));
}

TEST_F(PurgeRefresherTest, VariantsAreAskedForByTheirFieldsUnlessTheyAreSomebodysOwn) {
  Put("http://shop.test/v", "t", {.names = {"accept", "x-lang"}}, "accept!\nx-lang=2:de\n");
  Put("http://shop.test/c", "t", {.names = {"cookie"}}, "cookie=3:a=b\n");
  Put("://shop.test/rule", "t");  // of a rule whose keys leave out the scheme
  Purge(PurgeRecord::Tag("t", false));
  Finish();
  EXPECT_THAT(fetched, ElementsAre("http://shop.test/v x-lang=de"));
  EXPECT_THAT(varies, ElementsAre(ElementsAre("accept", "x-lang")));
}

TEST_F(PurgeRefresherTest, TheSameWaitsOnce) {
  refresher.SetRate(1);
  refresher.Add({.uris = {Uri(1), Uri(2), Uri(2), Uri(1)}, .records = {}}, 1);
  EXPECT_THAT(fetched, ElementsAre("http://shop.test/1"));  // the second's only one
  EXPECT_EQ(refresher.waiting(), 1u);
  refresher.Add({.uris = {Uri(2), Uri(3)}, .records = {}}, 2);
  EXPECT_EQ(refresher.waiting(), 2u);
}

TEST_F(PurgeRefresherTest, BeyondItsBoundsTheRestIsLeftToTheNextRequest) {
  refresher.SetRate(1);
  PurgeRefresh many;
  for (size_t i = 0; i < PurgeRefresher::kMaxWaiting + 5; ++i) many.uris.push_back(Uri(i));
  refresher.Add(std::move(many), 1);
  EXPECT_EQ(refresher.waiting() + fetched.size(), PurgeRefresher::kMaxWaiting);
  EXPECT_EQ(refresher.counters().dropped, 5u);
  // While so much waits nothing is looked for, and what would have to be looked for is bounded,
  // too.
  for (size_t i = 0; i < PurgeRefresher::kMaxSearches + 2; ++i) {
    refresher.Add({.uris = {}, .records = {PurgeRecord::Tag(std::to_string(i), false)}}, 2 + i);
  }
  EXPECT_EQ(refresher.searching(), PurgeRefresher::kMaxSearches);
  EXPECT_EQ(refresher.counters().dropped, 7u);
}

TEST_F(PurgeRefresherTest, ALongQueueHoldsUpTheSearchAndNotTheReverse) {
  for (int i = 0; i < 3'000; ++i) Put("http://shop.test/" + std::to_string(i), "t");
  refresher.SetRate(1);
  Purge(PurgeRecord::Tag("t", false));
  EXPECT_EQ(refresher.searching(), 1u);
  redis::TurnFor(loop, 200);
  EXPECT_EQ(refresher.searching(), 1u);
  EXPECT_LT(refresher.waiting(), 3'000u);
  refresher.SetRate(100'000);
  Finish();
  EXPECT_EQ(fetched.size(), 3'000u);
}

TEST_F(PurgeRefresherTest, NothingIsFetchedFasterThanTheRate) {
  refresher.SetRate(100);
  PurgeRefresh some;
  for (size_t i = 0; i < 40; ++i) some.uris.push_back(Uri(i));
  const int64_t began = net::EventLoop::ReadClockMs();
  refresher.Add(std::move(some), 1);
  Finish();
  // A tenth of a second's worth may go at once.
  EXPECT_GE(net::EventLoop::ReadClockMs() - began, 250);
  EXPECT_EQ(fetched.size(), 40u);
}

}  // namespace
}  // namespace satchel::proxy
