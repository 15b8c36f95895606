// Bodies too large to become records in one turn of the loop.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "cache/http/date.h"
#include "cache/record_chunk.h"
#include "tests/proxy/redis/store_instance.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using cache::Overrides;
using cache::StoredPtr;
using cache::StoredResponse;
using cache::testing::GetWith;
using cache::testing::Pattern;

constexpr size_t kLarge = size_t{3} << 20;

std::string Text(size_t size, char first = 'a') {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) text += first + std::to_string(i * 7919) + ", ";
  text.resize(size);
  return text;
}

// A response of text, with a validator.
StoredPtr Json(std::string body) {
  StoredResponse::Parts parts =
      cache::testing::PartsOf({.key = std::string(kUrl), .body = std::move(body)});
  const cache::Time now = std::chrono::floor<std::chrono::seconds>(Now());
  parts.facts.received = parts.facts.date = now;
  parts.facts.lifetime = std::chrono::seconds(60);
  parts.fields.Set("Date", cache::FormatHttpDate(now));
  parts.fields.Set("Content-Type", "application/json");
  parts.fields.Set("ETag", "\"1\"");
  return StoredResponse::Make(std::move(parts));
}

class LargeRecordTest : public ::testing::Test {
 protected:
  // Puts it and looks what had become of that when the call returned.
  void Begin(const StoredPtr& response) {
    a_.store->Put(response, Overrides(), [this](bool stored) { outcome_ = stored; });
  }
  bool Ends() {
    EXPECT_TRUE(TurnUntil(a_.loop, [this] { return outcome_.has_value(); }));
    return outcome_.value_or(false);
  }

  testing::RedisProcess server_;
  net::Address address_ = *net::Address::Parse(server_.address());
  Instance a_{address_, {.compress_min = 1024, .max_sealing = 2 * kLarge}};
  std::optional<bool> outcome_;
};

TEST_F(LargeRecordTest, ABodyOfMegabytesComesBack) {
  const std::string body = Pattern(kLarge);
  ASSERT_TRUE(a_.PutAndWait(Make({.body = body})));
  EXPECT_EQ(a_.Find(), body);
  EXPECT_EQ(a_.store->sealing_bytes(), 0u);
}

TEST_F(LargeRecordTest, ATextOfMegabytesIsCompressedInSlicesAndUndoneInSlices) {
  const std::string body = Text(kLarge);
  Begin(Json(body));
  EXPECT_EQ(a_.store->sealing_bytes(), kLarge);
  const uint64_t before = a_.loop.turns();
  ASSERT_TRUE(Ends());
  EXPECT_GE(a_.loop.turns() - before, kLarge / (64 << 10)) << "a slice in each turn";
  EXPECT_EQ(a_.store->sealing_bytes(), 0u);
  EXPECT_EQ(a_.store->counters().body_bytes.Get(), kLarge);
  EXPECT_LT(a_.store->counters().kept_bytes.Get(), kLarge / 2);

  Instance b(address_);
  const uint64_t first = b.loop.turns();
  EXPECT_EQ(b.Find(), body);
  EXPECT_GE(b.loop.turns() - first, kLarge / (256 << 10));
}

TEST_F(LargeRecordTest, ALookupThatIsDroppedWhileItIsUndoneIsNotAnswered) {
  ASSERT_TRUE(a_.PutAndWait(Json(std::string(kLarge, 'a'))));
  Instance b(address_);
  bool answered = false;
  auto lookup = b.store->Lookup(cache::CacheKey(std::string(kUrl)), cache::testing::Get(),
                                Overrides(), [&](const auto&) { answered = true; });
  ASSERT_TRUE(TurnUntil(b.loop, [&] { return b.store->counters().bytes_read.Get() > 0; }));
  lookup.reset();
  EXPECT_EQ(b.Find(), std::string(kLarge, 'a'));
  EXPECT_FALSE(answered);
}

TEST_F(LargeRecordTest, WhatIsRemovedWhileItWaitsIsNeverThere) {
  Begin(Json(Text(kLarge)));
  a_.loop.Turn(false);
  EXPECT_TRUE(a_.Remove());
  EXPECT_FALSE(Ends());
  EXPECT_EQ(a_.store->sealing_bytes(), 0u);
  EXPECT_EQ(a_.Find(), "miss");
  EXPECT_TRUE(server_.Keys().empty());
}

TEST_F(LargeRecordTest, ANewerAnswerIsNotOverwrittenByOneThatStillWaits) {
  Begin(Json(Text(kLarge)));
  EXPECT_TRUE(a_.PutAndWait(Make({.body = "newer"})));
  EXPECT_TRUE(Ends()) << "whoever waits for the older finds the newer";
  EXPECT_EQ(a_.Find(), "newer");
  EXPECT_EQ(a_.store->counters().puts.Get(), 1u);
}

TEST_F(LargeRecordTest, ANewerAnswerThatVariesTakesThePlaceOfTheOneThatDidNot) {
  const auto german = GetWith("Accept-Language", "de");
  Begin(Json(Text(kLarge)));
  EXPECT_TRUE(
      a_.PutAndWait(Make({.body = "hallo", .vary = {"accept-language"}, .request = german})));
  EXPECT_TRUE(Ends());
  EXPECT_EQ(a_.Find(kUrl, german), "hallo");
  EXPECT_EQ(a_.Find(), "miss");
}

TEST_F(LargeRecordTest, VariantsWaitBesideEachOther) {
  const auto german = GetWith("Accept-Language", "de");
  const auto french = GetWith("Accept-Language", "fr");
  Begin(Make({.body = Text(kLarge, 'd'), .vary = {"accept-language"}, .request = german}));
  EXPECT_TRUE(a_.PutAndWait(
      Make({.body = Text(kLarge, 'f'), .vary = {"accept-language"}, .request = french})));
  EXPECT_TRUE(Ends());
  EXPECT_EQ(a_.Find(kUrl, german), Text(kLarge, 'd'));
  EXPECT_EQ(a_.Find(kUrl, french), Text(kLarge, 'f'));
}

TEST_F(LargeRecordTest, WhatFindsNoRoomToWaitIsNotStored) {
  a_.Put(Make({.url = "http://origin.test/1", .body = Text(kLarge)}));
  a_.Put(Make({.url = "http://origin.test/2", .body = Text(kLarge)}));
  EXPECT_EQ(a_.store->sealing_bytes(), 2 * kLarge);
  EXPECT_FALSE(a_.PutAndWait(Make({.url = "http://origin.test/3", .body = Text(100'000)})));
  EXPECT_EQ(a_.store->counters().sealing_full.Get(), 1u);
  EXPECT_EQ(a_.store->counters().puts_dropped.Get(), 1u);
  ASSERT_TRUE(TurnUntil(a_.loop, [this] { return a_.store->sealing_bytes() == 0; }));
  EXPECT_TRUE(a_.PutAndWait(Make({.url = "http://origin.test/3", .body = Text(100'000)})));
}

TEST_F(LargeRecordTest, TheStoreMayGoWhileItsRecordsWait) {
  Begin(Json(Text(kLarge)));
  a_.store.reset();
  a_.loop.Turn(false);
  EXPECT_FALSE(outcome_.has_value());
}

// The fewer chunks of a compressed body are prolonged with it, and what lacks one is written whole.
TEST_F(LargeRecordTest, ACompressedBodyInChunksIsRenewedWhereItStands) {
  const StoredPtr old = Json(Text(kLarge));
  ASSERT_TRUE(a_.PutAndWait(old));
  ASSERT_EQ(a_.Find(), Text(kLarge));
  const auto keys = server_.Keys();
  ASSERT_GT(keys.size(), 2u);
  ASSERT_LT(keys.size(), 1 + cache::ChunksOf(kLarge));
  cache::ResponseFacts facts = old->facts();
  facts.lifetime = std::chrono::seconds(6000);
  const StoredPtr updated = StoredResponse::WithFields(*old, old->Fields(), facts);
  const auto renew = [&] {
    std::optional<bool> stored;
    a_.store->Renew(old, updated, Overrides(), [&](bool outcome) { stored = outcome; });
    EXPECT_TRUE(TurnUntil(a_.loop, [&] { return stored.has_value(); }));
    return stored.value_or(false);
  };
  EXPECT_TRUE(renew());
  EXPECT_EQ(a_.store->counters().renewals.Get(), 1u);
  for (const std::string& key : keys) {
    EXPECT_GT(std::stol(server_.Command({"PTTL", key})), 5'900'000) << key;
  }
  EXPECT_EQ(a_.Find(), Text(kLarge));
  EXPECT_EQ(a_.found->facts().lifetime, std::chrono::seconds(6000));

  const auto chunk = std::ranges::max_element(keys, {}, &std::string::size);
  server_.Command({"DEL", *chunk});
  EXPECT_TRUE(renew());
  EXPECT_EQ(a_.store->counters().renewals_missed.Get(), 1u);
  EXPECT_EQ(a_.Find(), Text(kLarge));
}

}  // namespace
}  // namespace satchel::redis
