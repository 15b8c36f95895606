#include "proxy/redis/record_keys.h"

#include <gtest/gtest.h>

#include <set>

#include "cache/envelope.h"
#include "cache/record_chunk.h"
#include "cache/record_reader.h"
#include "cache/record_sealer.h"
#include "tests/cache/memory_support.h"

namespace satchel::redis {
namespace {

using cache::OpenRecord;
using cache::SealRecord;
using cache::testing::PartsOf;
using cache::testing::Pattern;

constexpr std::string_view kKey = "http://origin.test/";

rules::RecordKey KeyOf(uint8_t byte) {
  rules::RecordKey key;
  key.fill(byte);
  return key;
}

cache::StoredPtr Response(std::string body) {
  cache::StoredResponse::Parts parts = PartsOf({.body = std::move(body)});
  parts.fields.Add("X-Secret", "field");
  return cache::StoredResponse::Make(std::move(parts));
}

// The reason why a record is a miss, or "opened".
std::string WhyNot(std::string_view record, const RecordKeys* keys, std::string_view key = kKey) {
  const auto opened = OpenRecord(record, key, {.cipher = keys});
  return opened ? "opened" : opened.error().message;
}

TEST(RecordKeysTest, ARecordTellsNothingAndComesBackAsItWas) {
  const RecordKeys keys({KeyOf(1)});
  const auto in = Response("body in the clear");
  const auto record = SealRecord(in, {.cipher = &keys});
  ASSERT_TRUE(record);
  for (const char* secret : {"clear", "field", "origin.test"}) {
    EXPECT_EQ(record->value.find(secret), std::string::npos) << secret;
  }
  const auto opened = OpenRecord(record->value, kKey, {.cipher = &keys});
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ((*opened)->body().ToString(), "body in the clear");
  EXPECT_EQ((*opened)->header_block(), in->header_block());
  EXPECT_EQ(WhyNot(record->value, nullptr), "no key");
  EXPECT_EQ(cache::CauseOf("no key"), cache::BadRecord::kCipher);
}

TEST(RecordKeysTest, ANewKeySealsWhileTheOldOneStillOpens) {
  const RecordKeys before({KeyOf(1)});
  const RecordKeys during({KeyOf(2), KeyOf(1)});
  const RecordKeys after({KeyOf(2)});
  const auto old_record = SealRecord(Response("x"), {.cipher = &before});
  const auto new_record = SealRecord(Response("x"), {.cipher = &during});
  EXPECT_EQ(WhyNot(old_record->value, &during), "opened");
  EXPECT_EQ(WhyNot(new_record->value, &during), "opened");
  EXPECT_EQ(WhyNot(new_record->value, &after), "opened");
  EXPECT_EQ(WhyNot(old_record->value, &after), "not to be decrypted");
  EXPECT_EQ(WhyNot(new_record->value, &before), "not to be decrypted");
}

TEST(RecordKeysTest, EveryFlippedBitIsAMiss) {
  const RecordKeys keys({KeyOf(1)});
  std::string record = SealRecord(Response(Pattern(300)), {.cipher = &keys})->value;
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
    ASSERT_NE(WhyNot(record, &keys), "opened") << "bit " << bit;
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
  }
  EXPECT_EQ(WhyNot(record, &keys), "opened");
}

// Whoever may write to Redis can put right every sum, and still neither prolong a life nor move a
// record to another key.
TEST(RecordKeysTest, HeadAndKeyAreAuthenticated) {
  const RecordKeys keys({KeyOf(1)});
  const auto response = Response("x");
  const std::string record = SealRecord(response, {.cipher = &keys})->value;
  EXPECT_EQ(WhyNot(record, &keys, "http://origin.test/other"), "not to be decrypted");
  auto head = cache::UnpackHead(record, cache::Millis(0));
  ASSERT_TRUE(head);
  head->facts.lifetime = head->facts.lifetime + std::chrono::hours(1);
  const std::string forged =
      cache::PackHead(*head, cache::Millis(0)) + record.substr(cache::RecordHead::kSize);
  EXPECT_EQ(WhyNot(forged, &keys), "not to be decrypted");
}

TEST(RecordKeysTest, ChunksAreSealedEachInItsPlace) {
  const RecordKeys keys({KeyOf(1)});
  const std::string body = Pattern(3 * cache::kChunkSize);
  const auto a = SealRecord(Response(body), {.cipher = &keys});
  const auto b = SealRecord(Response(body), {.cipher = &keys});
  ASSERT_EQ(a->chunks.size(), 3u);
  EXPECT_NE(a->entry, b->entry);
  const auto begin = [&] { return *cache::RecordReader::Begin(a->value, kKey, {.cipher = &keys}); };
  auto reader = begin();
  for (const std::string& chunk : a->chunks) EXPECT_EQ(reader.AddChunk(chunk), nullptr);
  const auto opened = std::move(reader).Finish();
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->body().ToString(), body);
  auto swapped = begin();
  EXPECT_STREQ(swapped.AddChunk(a->chunks[1]), "not to be decrypted");
  auto mixed = begin();
  EXPECT_STREQ(mixed.AddChunk(b->chunks[0]), "not to be decrypted");
}

TEST(RecordKeysTest, MarkersTellNothingEither) {
  const RecordKeys keys({KeyOf(1)});
  cache::VarySpec vary;
  vary.names = {"cookie"};
  const std::string marker = cache::SealVaryMarker(kKey, vary, &keys);
  EXPECT_EQ(cache::KindOf(marker), cache::RecordKind::kVaryMarker);
  EXPECT_EQ(marker.find("origin.test"), std::string::npos);
  const auto opened = cache::OpenVaryMarker(marker, kKey, &keys);
  ASSERT_TRUE(opened);
  EXPECT_EQ(*opened, vary);
  EXPECT_FALSE(cache::OpenVaryMarker(marker, kKey));
  EXPECT_FALSE(cache::OpenVaryMarker(marker, "another", &keys));
}

TEST(RecordKeysTest, NoSaltComesTwice) {
  const RecordKeys keys({KeyOf(1)});
  std::set<std::string> salts;
  for (int i = 0; i < 1000; ++i) salts.insert(keys.Salt());
  EXPECT_EQ(salts.size(), 1000u);
}

}  // namespace
}  // namespace satchel::redis
