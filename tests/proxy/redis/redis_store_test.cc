#include "proxy/redis/redis_store.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/envelope.h"
#include "proxy/redis/client.h"
#include "tests/cache/memory_support.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/proxy/redis/store_instance.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using cache::Millis;
using cache::Overrides;
using cache::RequestHead;
using cache::StoredPtr;
using cache::testing::Get;
using cache::testing::GetWith;
using cache::testing::Pattern;

class RedisStoreTest : public ::testing::Test {
 protected:
  testing::RedisProcess server_;
  net::Address address_ = *net::Address::Parse(server_.address());
};

TEST_F(RedisStoreTest, WhatOneInstanceStoresAnotherFindsWithItsTrueAge) {
  Instance a(address_);
  Instance b(address_);
  EXPECT_EQ(b.Find(), "miss");
  a.Put(Make({.age_s = 7}));
  EXPECT_EQ(a.Find(), "hello");  // on one connection calls keep their order
  EXPECT_EQ(b.Find(), "hello");
  const Millis age = b.found->facts().AgeAt(Now());
  EXPECT_GE(age, Millis(7000));
  EXPECT_LT(age, Millis(9000));
  EXPECT_EQ(b.found->facts().lifetime, Millis(60'000));
  EXPECT_EQ(b.store->counters().hits.Get(), 1u);
  EXPECT_EQ(b.store->counters().misses.Get(), 1u);
  EXPECT_GT(b.store->counters().bytes_read.Get(), 64u);
}

TEST_F(RedisStoreTest, EveryKeyHasATimeToLiveAndOurPrefix) {
  Instance a(address_, {.prefix = "shop"});
  a.Put(Make({}));
  a.Put(Make({.url = "http://origin.test/v", .vary = {"accept"}}));
  ASSERT_NE(a.Find(), "miss");
  ASSERT_NE(a.Find("http://origin.test/v"), "miss");
  const auto keys = server_.Keys();
  EXPECT_EQ(keys.size(), 4u);  // an entry; a marker, its list and a variant
  for (const std::string& key : keys) {
    EXPECT_TRUE(key.starts_with("shop:3:{")) << key;
    const long left = std::stol(server_.Command({"PTTL", key}));
    EXPECT_GT(left, 60'000) << key;
    EXPECT_LE(left, 120'000) << key;
  }
}

TEST_F(RedisStoreTest, WhatIsOfNoUseIsNotWritten) {
  Instance a(address_, {.max_object = 1000});
  a.Put(Make({.body = std::string(1001, 'x')}));
  a.Put(Make({.lifetime_s = 0}));
  EXPECT_EQ(a.Find(), "miss");
  EXPECT_TRUE(server_.Keys().empty());
  EXPECT_EQ(a.store->counters().puts_dropped.Get(), 2u);
}

TEST_F(RedisStoreTest, ARecordLargerThanAllowedHereIsAMiss) {
  Instance big(address_);
  Instance small(address_, {.max_object = 1000});
  big.Put(Make({.body = std::string(1001, 'x')}));
  EXPECT_EQ(big.Find().size(), 1001u);
  EXPECT_EQ(small.Find(), "miss");
  EXPECT_EQ(small.store->counters().bad_records.Get(), 1u);
}

TEST_F(RedisStoreTest, AnyFlippedByteIsAMiss) {
  Instance a(address_);
  a.Put(Make({}));
  ASSERT_EQ(a.Find(), "hello");
  const std::string key = a.store->PlainKey(kUrl);
  const std::string good = server_.Command({"GET", key});
  for (size_t i = 0; i < good.size(); i += 3) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    server_.Command({"SET", key, bad, "PX", "60000"});
    EXPECT_EQ(a.Find(), "miss") << i;
  }
  for (const std::string& bad : {std::string(), std::string("x"), good.substr(0, 63),
                                 good.substr(0, good.size() - 1), good + "x"}) {
    server_.Command({"SET", key, bad, "PX", "60000"});
    EXPECT_EQ(a.Find(), "miss");
  }
  EXPECT_EQ(a.store->counters().errors.Get(), 0u);
  server_.Command({"SET", key, good, "PX", "60000"});
  EXPECT_EQ(a.Find(), "hello");
}

TEST_F(RedisStoreTest, AnotherKeysRecordIsAMiss) {
  Instance a(address_);
  a.Put(Make({.url = "http://origin.test/secret"}));
  ASSERT_EQ(a.Find("http://origin.test/secret"), "hello");
  server_.Command({"COPY", a.store->PlainKey("http://origin.test/secret"),
                   a.store->PlainKey("http://origin.test/public")});
  EXPECT_EQ(a.Find("http://origin.test/public"), "miss");
  EXPECT_EQ(a.store->counters().bad_records.Get(), 1u);
}

TEST_F(RedisStoreTest, AValueOfAnotherTypeIsNoAnswerAndNoHarm) {
  Instance a(address_);
  server_.Command({"LPUSH", a.store->PlainKey(kUrl), "x"});
  EXPECT_EQ(a.Find(), "error");
  EXPECT_TRUE(a.store->available());
}

TEST_F(RedisStoreTest, VariantsAreToldApart) {
  Instance a(address_);
  Instance b(address_);
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead french = GetWith("Accept-Language", "fr");
  a.Put(Make({.body = "hallo", .vary = {"accept-language"}, .request = german}));
  a.Put(Make({.body = "salut", .vary = {"accept-language"}, .request = french}));
  EXPECT_EQ(a.Find(kUrl, german), "hallo");
  EXPECT_EQ(b.Find(kUrl, german), "hallo");
  EXPECT_EQ(b.Find(kUrl, french), "salut");
  EXPECT_EQ(b.Find(kUrl, Get()), "miss");
}

TEST_F(RedisStoreTest, OneReadGoesStraightToTheVariantOnceItsFieldsAreKnown) {
  Instance a(address_);
  Instance b(address_);
  const RequestHead de = GetWith("Accept-Language", "de");
  const RequestHead en = GetWith("Accept-Language", "en");
  a.Put(Make({.body = "deutsch", .vary = {"accept-language"}, .request = de}));
  a.Put(Make({.body = "english", .vary = {"accept-language"}, .request = en}));
  ASSERT_EQ(a.Find(kUrl, de), "deutsch");
  EXPECT_EQ(server_.Calls("get"), 1);  // whoever stored it knows
  ASSERT_EQ(b.Find(kUrl, de), "deutsch");
  EXPECT_EQ(server_.Calls("get"), 3);
  ASSERT_EQ(b.Find(kUrl, en), "english");
  EXPECT_EQ(server_.Calls("get"), 4);
  EXPECT_EQ(b.store->SlotOf(cache::CacheKey(std::string(kUrl)), en, Overrides()),
            a.store->SlotOf(cache::CacheKey(std::string(kUrl)), en, Overrides()));
  // The origin has changed its mind: what was known is only where to look first.
  a.Put(Make({.body = "for all"}));
  EXPECT_EQ(a.Find(kUrl, GetWith("Accept-Language", "fr")), "for all");
  EXPECT_EQ(b.Find(kUrl, GetWith("Accept-Language", "fr")), "for all");
}

TEST_F(RedisStoreTest, AVariantUnderAnothersDigestIsAMiss) {
  Instance a(address_);
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead french = GetWith("Accept-Language", "fr");
  a.Put(Make({.body = "hallo", .vary = {"accept-language"}, .request = german}));
  a.Put(Make({.body = "salut", .vary = {"accept-language"}, .request = french}));
  ASSERT_EQ(a.Find(kUrl, german), "hallo");
  std::vector<std::string> variants;
  for (const std::string& key : server_.Keys()) {
    if (key.find("}:") != std::string::npos && !key.ends_with("}:v")) variants.push_back(key);
  }
  ASSERT_EQ(variants.size(), 2u);
  server_.Command({"COPY", variants[0], variants[1], "REPLACE"});
  const std::string one = a.Find(kUrl, german);
  const std::string two = a.Find(kUrl, french);
  EXPECT_TRUE((one == "miss") != (two == "miss")) << one << two;
}

TEST_F(RedisStoreTest, RemoveTakesTheEntryAndAllItsVariants) {
  Instance a(address_);
  Instance b(address_);
  a.Put(Make({}));
  ASSERT_EQ(a.Find(), "hello");
  EXPECT_TRUE(b.Remove("http://origin.test/other"));
  EXPECT_EQ(b.Find(), "hello");
  EXPECT_TRUE(b.Remove());
  EXPECT_EQ(a.Find(), "miss");
  for (const char* language : {"de", "fr", "en"}) {
    a.Put(Make({.vary = {"accept-language"}, .request = GetWith("Accept-Language", language)}));
  }
  ASSERT_EQ(a.Find(kUrl, GetWith("Accept-Language", "fr")), "hello");
  EXPECT_TRUE(b.Remove());
  EXPECT_TRUE(server_.Keys().empty());
}

TEST_F(RedisStoreTest, RemoveAlsoTakesVariantsOfAnEarlierVary) {
  Instance a(address_);
  a.Put(Make({.vary = {"accept"}, .request = GetWith("Accept", "text/html")}));
  a.Put(Make({.vary = {"accept-language"}, .request = GetWith("Accept-Language", "de")}));
  EXPECT_EQ(a.Find(kUrl, GetWith("Accept-Language", "de")), "hello");
  EXPECT_EQ(a.Find(kUrl, GetWith("Accept", "text/html")), "miss");
  EXPECT_TRUE(a.Remove());
  EXPECT_TRUE(server_.Keys().empty());
}

TEST_F(RedisStoreTest, APutQueuedBeforeARemoveDoesNotComeBack) {
  Instance a(address_);
  for (int i = 0; i < 20; ++i) {
    if (i == 10) server_.Command({"SCRIPT", "FLUSH"});  // both scripts calls are asked again
    a.Put(Make({}));
    a.Put(Make({.vary = {"accept"}}));
    EXPECT_TRUE(a.Remove());
    EXPECT_TRUE(server_.Keys().empty()) << i;
  }
}

TEST_F(RedisStoreTest, TheNumberOfVariantsIsBounded) {
  Instance a(address_);
  for (int i = 0; i < 80; ++i) {
    a.Put(Make({.lifetime_s = 60 + i,
                .vary = {"accept"},
                .request = GetWith("Accept", "text/" + std::to_string(i))}));
  }
  EXPECT_EQ(a.Find(kUrl, GetWith("Accept", "text/79")), "hello");
  EXPECT_EQ(a.Find(kUrl, GetWith("Accept", "text/0")), "miss");
  EXPECT_EQ(server_.Keys().size(), 66u);  // 64 of them, marker and list
}

TEST_F(RedisStoreTest, TheMarkerOutlivesTheLongestVariant) {
  Instance a(address_);
  a.Put(Make({.lifetime_s = 600, .vary = {"accept"}, .request = GetWith("Accept", "a")}));
  a.Put(Make({.lifetime_s = 10, .vary = {"accept"}, .request = GetWith("Accept", "b")}));
  ASSERT_EQ(a.Find(kUrl, GetWith("Accept", "b")), "hello");
  EXPECT_GT(std::stol(server_.Command({"PTTL", a.store->PlainKey(kUrl)})), 500'000);
  EXPECT_GT(std::stol(server_.Command({"PTTL", a.store->PlainKey(kUrl) + ":v"})), 500'000);
}

TEST_F(RedisStoreTest, AHungServerIsAnErrorWithinTheDeadlineOfBothSteps) {
  Instance a(address_, {.deadline_ms = 40});
  a.Put(Make({.vary = {"accept"}}));
  ASSERT_TRUE(TurnUntil(a.loop, [&] { return server_.Keys().size() == 3; }));
  server_.Pause();
  const int64_t start = net::EventLoop::ReadClockMs();
  EXPECT_EQ(a.Find(), "error");
  const int64_t took = net::EventLoop::ReadClockMs() - start;
  EXPECT_GE(took, 40);
  EXPECT_LT(took, 4000);  // 80, where the machine is not busy
  EXPECT_EQ(a.store->counters().deadline_misses.Get(), 1u);
  server_.Continue();
  EXPECT_TRUE(TurnUntil(a.loop, [&] { return a.Find() == "hello"; }));
}

TEST_F(RedisStoreTest, AnAbsentServerCostsNoTime) {
  Instance a(address_);
  server_.Kill();
  ASSERT_TRUE(TurnUntil(a.loop, [&] { return !a.store->available(); }));
  EXPECT_EQ(a.Find(), "error");
  EXPECT_GE(a.store->counters().skipped.Get(), 1u);
  a.Put(Make({}));
  EXPECT_EQ(a.store->counters().puts_dropped.Get(), 1u);
  EXPECT_FALSE(a.Remove());
}

TEST_F(RedisStoreTest, ADroppedLookupIsNotAnsweredAndOthersAre) {
  Instance a(address_);
  a.Put(Make({}));
  bool answered = false;
  auto dropped = a.store->Lookup(cache::CacheKey(std::string(kUrl)), Get(), Overrides(),
                                 [&](const auto&) { answered = true; });
  a.loop.Turn(false);
  dropped.reset();
  EXPECT_EQ(a.Find(), "hello");
  EXPECT_FALSE(answered);
}

TEST_F(RedisStoreTest, TheStoreMayGoWhileRemovalsAreOnTheirWay) {
  Instance a(address_);
  std::optional<bool> confirmed;
  a.store->Put(Make({}), Overrides(), nullptr);
  a.store->Remove(cache::CacheKey(std::string(kUrl)), [&](bool ok) { confirmed = ok; });
  a.store.reset();
  ASSERT_TRUE(TurnUntil(a.loop, [&] { return confirmed.has_value(); }));
  EXPECT_TRUE(*confirmed);
}

// Hosts whose clocks differ agree on the age, because records hold the server's time.
TEST(RedisStoreClockTest, TimesAreWrittenInTheServersTime) {
  net::EventLoop loop;
  FakeRedis server(loop);  // it believes to be in 2023
  net::Resolver resolver(loop);
  Client::Options options;
  options.host = server.address().IpText();
  options.port = server.address().port();
  Client client(loop, resolver, options);
  RedisStore store(loop, client, {});
  client.Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return client.ready(); }));
  server.reads.clear();
  store.Put(Make({}), Overrides(), nullptr);
  std::string all;
  size_t at = std::string::npos;
  ASSERT_TRUE(TurnUntil(loop, [&] {
    for (const std::string& read : std::exchange(server.reads, {})) all += read;
    at = all.find("St\x03");
    return at != std::string::npos && all.size() >= at + cache::RecordHead::kSize;
  }));
  int64_t received = 0;
  for (size_t i = 0; i < 6; ++i) {
    received |=
        static_cast<int64_t>(static_cast<uint8_t>(all[at + cache::RecordHead::kReceivedAt + i]))
        << (8 * i);
  }
  EXPECT_NEAR(static_cast<double>(received), 1'700'000'000'123.0, 5000.0);
}

TEST(RemoteLifetimeTest, IsWhatIsLeftAndTheLongerStaleWindowOrAMinute) {
  using std::chrono::seconds;
  const cache::Time now = cache::TimeFromUnixSeconds(1'800'000'000);
  cache::ResponseFacts facts;
  facts.received = now - seconds(10);
  facts.initial_age = seconds(5);
  facts.lifetime = seconds(60);
  EXPECT_EQ(RemoteLifetime(facts, now), seconds(45 + 60));  // a lost origin, max-stale (4.2.4)
  facts.must_revalidate = true;
  EXPECT_EQ(RemoteLifetime(facts, now), seconds(45));
  facts.has_etag = true;
  EXPECT_EQ(RemoteLifetime(facts, now), seconds(45 + 60));  // to be validated
  facts.has_etag = facts.must_revalidate = false;
  facts.stale_while_revalidate = Millis(seconds(30));
  facts.stale_if_error = Millis(seconds(100));
  EXPECT_EQ(RemoteLifetime(facts, now), seconds(45 + 100));
  facts.lifetime = seconds(0);
  EXPECT_EQ(RemoteLifetime(facts, now), seconds(85));
  facts.stale_while_revalidate = facts.stale_if_error = Millis(0);
  EXPECT_EQ(RemoteLifetime(facts, now), Millis(0));
  facts.has_last_modified = true;
  EXPECT_EQ(RemoteLifetime(facts, now), seconds(60));
  facts.has_last_modified = false;
  facts.lifetime = seconds(1);
  facts.initial_age = seconds(100);
  EXPECT_EQ(RemoteLifetime(facts, now), Millis(0));  // it came too old for anybody
  facts.has_etag = facts.stale_by_purge = true;
  EXPECT_EQ(RemoteLifetime(facts, now), Millis(0));
  facts.stale_by_purge = false;
  facts.lifetime = Millis::max();
  EXPECT_EQ(RemoteLifetime(facts, now), std::chrono::hours(24 * 30));
}

}  // namespace
}  // namespace satchel::redis
