#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cache/envelope.h"
#include "cache/record_chunk.h"
#include "cache/record_frames.h"
#include "cache/record_reader.h"
#include "cache/record_sealer.h"
#include "tests/cache/memory_support.h"
#include "tests/cache/record_support.h"

namespace satchel::cache {
namespace {

using testing::kKey;
using testing::PartsOf;
using testing::Pattern;
using testing::Response;
using testing::Seal;
using testing::WhyNot;

std::string Json(size_t size) {
  std::string body;
  for (int i = 0; body.size() < size; ++i) {
    body += "{\"id\":" + std::to_string(i * 7919) + ",\"name\":\"item\",\"stock\":true},";
  }
  body.resize(size);
  return body;
}

StoredPtr Typed(std::string_view type, std::string body, std::string_view encoding = "") {
  StoredResponse::Parts parts = PartsOf({.body = std::move(body)});
  parts.fields.Set("Content-Type", type);
  if (!encoding.empty()) parts.fields.Add("Content-Encoding", encoding);
  return StoredResponse::Make(std::move(parts));
}

TEST(RecordBodyTest, TextIsCompressedAndComesBack) {
  for (const size_t size : {1024u, 5000u, 65'536u, 65'537u, 200'000u}) {
    const StoredPtr in = Typed("Application/JSON; charset=utf-8", Json(size));
    const std::string record = Seal(in);
    EXPECT_LT(record.size(), size * 7 / 10) << size;
    const auto opened = OpenRecord(record, kKey);
    ASSERT_TRUE(opened);
    EXPECT_EQ((*opened)->body().ToString(), in->body().ToString());
    EXPECT_EQ((*opened)->header_block(), in->header_block());
  }
}

TEST(RecordBodyTest, WhatWouldNotPayIsNotCompressed) {
  const std::string json = Json(5000);
  EXPECT_GT(Seal(Typed("application/json", Json(1000))).size(), 1000u);  // below the threshold
  EXPECT_GT(Seal(Typed("image/jpeg", json)).size(), 5000u);              // not a text
  EXPECT_GT(Seal(Typed("application/json", json, "gzip")).size(), 5000u);
  EXPECT_GT(Seal(Typed("text/plain", Pattern(5000))).size(), 5000u);  // saves less than a fifth
  EXPECT_LT(Seal(Typed("text/plain", Json(600)), {.compress_from = 512}).size(), 600u);
}

TEST(RecordBodyTest, EveryFlippedBitOfACompressedRecordIsAMiss) {
  std::string record = Seal(Typed("text/plain", Json(2000)));
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
    ASSERT_FALSE(OpenRecord(record, kKey)) << "bit " << bit;
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
  }
}

TEST(RecordBodyTest, ABodyBeyondTheLimitIsNotEvenUnpacked) {
  const std::string record = Seal(Typed("text/plain", std::string(100'000, 'a')));
  EXPECT_LT(record.size(), 1000u);
  EXPECT_EQ(WhyNot(record, kKey, {.max_body = 99'999}), "body too large");
  EXPECT_EQ(WhyNot(record, kKey, {.max_body = 100'000}), "opened");
}

constexpr size_t kChunk = kChunkSize;

// What reading the record with these chunks comes to: the body, or why not.
std::string BodyFrom(const std::string& value, const std::vector<std::string>& chunks) {
  auto reader = RecordReader::Begin(value, kKey);
  if (!reader) return reader.error().message;
  for (const std::string& chunk : chunks) {
    if (const char* why = reader->AddChunk(chunk)) return why;
  }
  const auto opened = std::move(*reader).Finish();
  return opened ? (*opened)->body().ToString() : opened.error().message;
}

TEST(RecordBodyTest, LargeBodiesStandInChunksAndComeBackWhole) {
  for (const size_t size : {2 * kChunk + 1, 3 * kChunk, 3 * kChunk + 5}) {
    const std::string body = Pattern(size);
    const auto record = SealRecord(Response({.body = body}));
    ASSERT_TRUE(record);
    EXPECT_LT(record->value.size(), 1000u);
    EXPECT_EQ(record->chunks.size(), (size + kChunk - 1) / kChunk);
    EXPECT_EQ(RecordReader::Begin(record->value, kKey)->chunks(), record->chunks.size());
    EXPECT_EQ(BodyFrom(record->value, record->chunks), body);
  }
  EXPECT_TRUE(SealRecord(Response({.body = Pattern(2 * kChunk)}))->chunks.empty());
}

TEST(RecordBodyTest, ChunksThatAreMissingSwappedCutDamagedOrAnothersAreAMiss) {
  const auto record = SealRecord(Response({.body = Pattern(3 * kChunk)}));
  const auto other = SealRecord(Response({.body = Pattern(3 * kChunk, 7)}));
  const std::vector<std::string>& good = record->chunks;
  EXPECT_NE(record->entry, other->entry);
  EXPECT_EQ(BodyFrom(record->value, {}), "a chunk is missing");
  EXPECT_EQ(BodyFrom(record->value, {good[0], good[1]}), "a chunk is missing");
  EXPECT_EQ(BodyFrom(record->value, {good[0], good[1], good[2], good[2]}), "too many chunks");
  EXPECT_EQ(BodyFrom(record->value, {good[1], good[0], good[2]}), "checksum of a chunk");
  EXPECT_EQ(BodyFrom(record->value, {other->chunks[0]}), "checksum of a chunk");
  EXPECT_EQ(BodyFrom(record->value, {""}), "chunk");
  for (const size_t size : {size_t{4}, size_t{5}, good[0].size() - 1}) {
    EXPECT_EQ(BodyFrom(record->value, {good[0].substr(0, size)}), "checksum of a chunk");
  }
  std::string damaged = good[0];
  for (size_t at = 0; at < damaged.size(); at += at < 64 ? 1 : 4099) {
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    ASSERT_EQ(BodyFrom(record->value, {damaged}), "checksum of a chunk") << at;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
  }
}

TEST(RecordBodyTest, LargeTextsAreCompressedAndStandInFewerChunks) {
  for (const size_t size : {size_t{300'000}, size_t{4} << 20, size_t{16} << 20}) {
    const StoredPtr in = Typed("application/json", Json(size));
    const auto record = SealRecord(in);
    ASSERT_TRUE(record);
    size_t kept = record->value.size();
    for (const std::string& chunk : record->chunks) kept += chunk.size();
    EXPECT_LT(kept, size / 2);
    EXPECT_EQ(record->chunks.size(), kept > 512 * 1024 ? ChunksOf(kept) : 0) << size;
    EXPECT_EQ(BodyFrom(record->value, record->chunks), in->body().ToString());
  }
}

TEST(RecordBodyTest, SlicesComeToTheSameAsAllAtOnce) {
  for (const char* type : {"application/json", "image/jpeg"}) {
    for (const size_t size : {size_t{1}, size_t{64} << 10, size_t{3'000'000}}) {
      const StoredPtr in = Typed(type, Json(size));
      auto sealer = RecordSealer::Begin(in);
      ASSERT_TRUE(sealer);
      size_t steps = 1;
      while (sealer->Step()) ++steps;
      EXPECT_GE(steps, size / kChunkSize) << "one slice at a time";
      const auto sliced = std::move(*sealer).Finish();
      const auto at_once = SealRecord(in);
      ASSERT_TRUE(sliced && at_once);
      EXPECT_EQ(sliced->value, at_once->value);
      EXPECT_EQ(sliced->chunks, at_once->chunks);
      EXPECT_EQ(sliced->entry, at_once->entry);
    }
  }
}

TEST(RecordBodyTest, UnpackingInSlicesComesToTheSameToo) {
  const StoredPtr in = Typed("text/plain", std::string(3'000'000, 'a'));
  const std::string value = Seal(in);
  EXPECT_LT(value.size(), 20'000u);
  auto reader = RecordReader::Begin(value, kKey);
  ASSERT_TRUE(reader);
  size_t steps = 1;
  while (reader->Unpack()) ++steps;
  EXPECT_EQ(steps, 12u);  // of a quarter of a megabyte
  const auto opened = std::move(*reader).Finish();
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->body().ToString(), in->body().ToString());
}

// What begins well may end so that it does not pay: then nothing of what was compressed is kept.
TEST(RecordBodyTest, ATextThatTurnsOutNotToPayStandsAsItIs) {
  const std::string body = Json(600'000) + Pattern(4'000'000);
  const StoredPtr in = Typed("text/plain", body);
  const auto record = SealRecord(in);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->chunks.size(), ChunksOf(body.size()));
  EXPECT_EQ(BodyFrom(record->value, record->chunks), body);
  // The number tells the content, not how it is kept.
  EXPECT_EQ(record->entry, SealRecord(in, {.compress_from = SIZE_MAX})->entry);
}

TEST(RecordBodyTest, FramesHoldNoMoreThanTheyMay) {
  const std::string whole(kFrameContent, 'a');
  const auto good = CompressFrame(whole, 1000);
  ASSERT_TRUE(good);
  ASSERT_TRUE(FirstFrame(*good + "more"));
  EXPECT_EQ(FirstFrame(*good + "more")->bytes, *good);
  EXPECT_EQ(FirstFrame(*good)->content, kFrameContent);
  const auto large = CompressFrame(whole + "a", 1000);
  ASSERT_TRUE(large);
  EXPECT_FALSE(FirstFrame(*large));
  EXPECT_FALSE(FirstFrame(*CompressFrame("", 1000)));
  EXPECT_FALSE(FirstFrame(""));
  EXPECT_FALSE(FirstFrame(good->substr(0, good->size() - 1)));
  EXPECT_FALSE(FirstFrame("no frame at all"));
  EXPECT_FALSE(CompressFrame(Pattern(1000), 800));  // no room
}

}  // namespace
}  // namespace satchel::cache
