#include "cache/envelope.h"
#include "cache/record_chunk.h"
#include "cache/record_reader.h"
#include "cache/record_sealer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "cache/fetch_time.h"
#include "cache/http/date.h"
#include "tests/cache/memory_support.h"
#include "tests/cache/record_support.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::kKey;
using testing::PartsOf;
using testing::Pattern;
using testing::Response;
using testing::Seal;
using testing::WhyNot;

StoredPtr RichResponse() {
  StoredResponse::Parts parts = PartsOf({.date = 5, .lifetime = 300, .body = Pattern(700)});
  parts.fields.Add("ETag", "\"tag\"");
  parts.vary.names = {"accept", "accept-language"};
  parts.vary_values = std::string("accept\0text/html", 16);
  parts.tags = {17, TagId{1} << 60};
  parts.purge_sequence = 1'800'000'000'000'001;
  parts.facts.rule = RuleTag("products");
  parts.facts.status = 206;
  parts.facts.initial_age = Millis(1234);
  parts.facts.stale_while_revalidate = Millis(30'000);
  parts.facts.stale_if_error = Millis(32LL * 86'400'000);
  parts.facts.stored_because = Reason::kExplicitLifetime;
  parts.facts.fetch_time = PackFetchTime(Millis(250));
  parts.facts.has_etag = parts.facts.strong_etag = parts.facts.has_vary = true;
  parts.facts.partial = true;
  parts.partial_range = {10, 709};
  parts.complete_length = 5000;
  parts.reason = "Partial Content";
  return StoredResponse::Make(std::move(parts));
}

TEST(EnvelopeTest, AResponseComesBackAsItWas) {
  const StoredPtr in = RichResponse();
  const std::string record = Seal(in);
  ASSERT_EQ(KindOf(record), RecordKind::kResponse);
  const Result<StoredPtr> opened = OpenRecord(record, kKey);
  ASSERT_TRUE(opened) << opened.error().message;
  const StoredResponse& out = **opened;
  EXPECT_EQ(out.key(), in->key());
  EXPECT_EQ(out.header_block(), in->header_block());
  EXPECT_EQ(out.body().ToString(), in->body().ToString());
  EXPECT_EQ(out.vary(), in->vary());
  EXPECT_EQ(out.vary_values(), in->vary_values());
  EXPECT_TRUE(std::ranges::equal(out.tags(), in->tags()));
  EXPECT_EQ(out.purge_sequence(), in->purge_sequence());
  EXPECT_EQ(out.facts().rule, RuleTag("products"));
  EXPECT_EQ(out.partial_range().first, 10u);
  EXPECT_EQ(out.partial_range().last, 709u);
  EXPECT_EQ(out.complete_length(), 5000u);
  const ResponseFacts& a = out.facts();
  const ResponseFacts& b = in->facts();
  EXPECT_EQ(a.received, b.received);
  EXPECT_EQ(a.date, b.date);
  EXPECT_EQ(a.initial_age, b.initial_age);
  EXPECT_EQ(a.lifetime, b.lifetime);
  EXPECT_EQ(a.stale_while_revalidate, b.stale_while_revalidate);
  EXPECT_EQ(a.stale_if_error, b.stale_if_error);
  EXPECT_EQ(a.status, 206);
  EXPECT_EQ(a.fetch_time, b.fetch_time);
  EXPECT_EQ(a.stored_because, Reason::kExplicitLifetime);
  EXPECT_TRUE(a.has_etag && a.strong_etag && a.has_vary && a.partial);
  EXPECT_FALSE(a.no_cache || a.must_revalidate || a.immutable || a.stale_by_purge);
}

TEST(EnvelopeTest, EveryFactHasItsOwnBit) {
  for (int i = 0; i < 12; ++i) {
    StoredResponse::Parts parts = PartsOf({.body = "x"});
    ResponseFacts& f = parts.facts;
    f.no_cache = i == 0;
    f.must_revalidate = i == 1;
    f.swr_granted = i == 2;
    f.sie_granted = i == 3;
    f.immutable = i == 4;
    f.has_etag = i == 5;
    f.strong_etag = i == 6;
    f.has_last_modified = i == 7;
    f.has_vary = i == 8;
    f.partial = i == 9;
    f.has_unstored_fields = i == 10;
    f.stale_by_purge = i == 11;
    const Result<StoredPtr> opened = OpenRecord(Seal(StoredResponse::Make(parts)), kKey);
    ASSERT_TRUE(opened);
    const ResponseFacts& g = (*opened)->facts();
    const bool bits[] = {g.no_cache,  g.must_revalidate, g.swr_granted,         g.sie_granted,
                         g.immutable, g.has_etag,        g.strong_etag,         g.has_last_modified,
                         g.has_vary,  g.partial,         g.has_unstored_fields, g.stale_by_purge};
    for (int k = 0; k < 12; ++k) EXPECT_EQ(bits[k], k == i) << i << " " << k;
  }
}

TEST(EnvelopeTest, EveryFlippedBitIsAMiss) {
  std::string record = Seal(RichResponse());
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
    ASSERT_FALSE(OpenRecord(record, kKey)) << "bit " << bit;
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
  }
  EXPECT_EQ(WhyNot(record), "opened");
}

TEST(EnvelopeTest, EveryTruncationAndEveryTrailingByteIsAMiss) {
  const std::string record = Seal(RichResponse());
  for (size_t size = 0; size < record.size(); ++size) {
    ASSERT_FALSE(OpenRecord(std::string_view(record).substr(0, size), kKey)) << size;
  }
  EXPECT_EQ(WhyNot(record + '\0'), "checksum");
  EXPECT_EQ(WhyNot(record + record), "checksum");
}

TEST(EnvelopeTest, ARecordOfAnotherKeyIsAMiss) {
  const std::string record = Seal(RichResponse());
  EXPECT_EQ(WhyNot(record, "http://origin.test/other"), "another key");
  EXPECT_EQ(WhyNot(record, "http://origin.test"), "another key");
  EXPECT_EQ(WhyNot(record, ""), "another key");
}

TEST(EnvelopeTest, TimesAreShiftedToTheSharedClockAndBack) {
  const StoredPtr in = Response({.date = 100, .body = "x"});
  const std::string record = Seal(in, {.clock_offset = Millis(2500)});
  const auto opened = OpenRecord(record, kKey, {.clock_offset = Millis(-500)});
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->facts().received, At(103));
  EXPECT_EQ((*opened)->facts().date, At(100));  // the origin's word, nobody's clock
}

TEST(EnvelopeTest, TimesOfAnyYearFitAndDatesKeepTheirSecond) {
  for (const int64_t seconds : {int64_t{-62'135'596'800}, int64_t{-1}, int64_t{253'402'300'799}}) {
    StoredResponse::Parts parts = PartsOf({.body = "x"});
    parts.facts.received = parts.facts.date = TimeFromUnixSeconds(seconds) + Millis(999);
    parts.purge_sequence = (uint64_t{1} << 53) - 1;  // as far as Redis counts
    const auto opened = OpenRecord(Seal(StoredResponse::Make(parts)), kKey);
    ASSERT_TRUE(opened);
    EXPECT_EQ((*opened)->facts().received,
              std::min(parts.facts.received, TimeFromUnixMillis((int64_t{1} << 47) - 1)));
    EXPECT_EQ((*opened)->facts().date, TimeFromUnixSeconds(seconds));
    EXPECT_EQ((*opened)->purge_sequence(), parts.purge_sequence);
  }
}

TEST(EnvelopeTest, LongDurationsRoundTowardsCaution) {
  StoredResponse::Parts parts = PartsOf({.body = "x"});
  parts.facts.lifetime = Millis(40LL * 86'400'000 + 1);
  parts.facts.initial_age = Millis(40LL * 86'400'000 + 1);
  parts.facts.stale_while_revalidate = Millis(4'194'304);
  parts.facts.stale_if_error = Millis((int64_t{1} << 31) * 1000);  // the longest grant
  const auto opened = OpenRecord(Seal(StoredResponse::Make(parts)), kKey);
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->facts().lifetime, Millis(40LL * 86'400'000));
  EXPECT_EQ((*opened)->facts().initial_age, Millis(40LL * 86'400'000 + 1000));
  EXPECT_EQ((*opened)->facts().stale_while_revalidate, Millis(4'194'000));
  EXPECT_EQ((*opened)->facts().stale_if_error, Millis(((int64_t{1} << 31) - 1024) * 1000));
}

TEST(EnvelopeTest, AHeadWithoutItsBodyIsNotSealed) { EXPECT_FALSE(SealRecord(testing::Head())); }

TEST(EnvelopeTest, ManySegmentsAreWrittenInOrder) {
  StoredResponse::Parts parts = PartsOf({});
  std::string all;
  for (unsigned i = 0; i < 50; ++i) {
    const std::string piece = Pattern(1000 + i, i);
    const Body copy = Body::Copy(piece);
    iovec view;
    ASSERT_EQ(copy.Gather(0, copy.size(), {&view, 1}), 1u);
    parts.body.AppendSegment(
        Body::Segment(std::make_shared<Body>(copy), static_cast<const char*>(view.iov_base)),
        piece.size());
    all += piece;
  }
  const auto opened = OpenRecord(Seal(StoredResponse::Make(std::move(parts))), kKey);
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->body().ToString(), all);
}

StoredPtr Dated(Time date, std::string body, std::string_view etag = "\"1\"") {
  StoredResponse::Parts parts = PartsOf({.body = std::move(body)});
  parts.fields.Set("Date", FormatHttpDate(date));
  parts.fields.Add("ETag", etag);
  parts.facts.received = parts.facts.date = date;
  return StoredResponse::Make(std::move(parts));
}

// What a 304 at `date` makes of it.
StoredPtr Validated(const StoredResponse& old, Time date, std::string_view more = "") {
  HeaderMap fields = old.Fields();
  fields.Set("Date", FormatHttpDate(date));
  fields.Set("etag", *old.Fields().First(FieldId::kEtag));  // said again, and elsewhere
  if (!more.empty()) fields.Add("X-More", more);
  ResponseFacts facts = old.facts();
  facts.received = facts.date = date;
  facts.lifetime = Millis(77'000);
  return StoredResponse::WithFields(old, fields, facts);
}

TEST(EnvelopeTest, A304RenewsTheTimesWhereTheyStandAndDateWithThem) {
  for (const size_t size : {size_t{100}, 3 * kChunkSize}) {
    const StoredPtr old = Dated(At(100), Pattern(size));
    auto record = SealRecord(old);
    const StoredPtr updated = Validated(*old, At(160));
    const auto renewed = RenewedRecord::From(*old, *updated, {.clock_offset = Millis(500)});
    ASSERT_TRUE(renewed);
    EXPECT_EQ(renewed->entry, record->entry);
    std::string& value = record->value;
    EXPECT_EQ(value.substr(0, renewed->first_bytes.size()), renewed->first_bytes);
    EXPECT_EQ(value.substr(RecordHead::kEntryAt, 8), renewed->entry_bytes);
    value.replace(RecordHead::kFirstRenewed, renewed->bytes.size(), renewed->bytes);
    auto reader = RecordReader::Begin(value, kKey, {.clock_offset = Millis(500)});
    ASSERT_TRUE(reader) << reader.error().message;
    for (const std::string& chunk : record->chunks) ASSERT_EQ(reader->AddChunk(chunk), nullptr);
    const auto opened = std::move(*reader).Finish();
    ASSERT_TRUE(opened);
    EXPECT_EQ((*opened)->Fields().First(FieldId::kDate), FormatHttpDate(At(160)));
    EXPECT_EQ((*opened)->Fields().size(), updated->Fields().size());
    EXPECT_EQ((*opened)->body().ToString(), updated->body().ToString());
    EXPECT_EQ((*opened)->facts().received, At(160));
    EXPECT_EQ((*opened)->facts().date, At(160));
    EXPECT_EQ((*opened)->facts().lifetime, Millis(77'000));
    // And once more, from what was read.
    EXPECT_EQ(RenewedRecord::From(**opened, *Validated(**opened, At(200)), {})->entry,
              record->entry);
  }
}

TEST(EnvelopeTest, WhatElseA304ChangesIsWrittenWhole) {
  const StoredPtr old = Dated(At(100), "x");
  EXPECT_TRUE(RenewedRecord::From(*old, *Validated(*old, At(160)), {}));
  EXPECT_FALSE(RenewedRecord::From(*old, *Validated(*old, At(160), "new"), {}));
  const std::vector<TagId> tags{5};
  const StoredPtr tagged =
      StoredResponse::WithFields(*old, Validated(*old, At(160))->Fields(),
                                 Validated(*old, At(160))->facts(), {.more_tags = tags});
  EXPECT_FALSE(RenewedRecord::From(*old, *tagged, {}));
  const StoredPtr dateless = Response({.body = "x"});
  EXPECT_FALSE(RenewedRecord::From(*dateless, *dateless, {}));
}

// RFC 9110 6.6.1: a Date is never rewritten, and a record that is renewed where it stands keeps a
// time, not a text.
TEST(EnvelopeTest, A6_ADateInAnotherFormIsKeptAsItIs) {
  const StoredPtr old = Dated(At(100), "x");
  for (const std::string_view date :
       {"Thursday, 01-Jan-26 00:02:40 GMT", "Thu Jan  1 00:02:40 2026", "soon"}) {
    const StoredPtr updated = Validated(*old, At(160));
    HeaderMap fields = updated->Fields();
    fields.Set("Date", date);
    EXPECT_FALSE(
        RenewedRecord::From(*old, *StoredResponse::WithFields(*old, fields, updated->facts()), {}))
        << date;
  }
}

TEST(EnvelopeTest, TheTimesOfOneEntryAreNotAnothers) {
  const StoredPtr one = Dated(At(100), "one");
  const StoredPtr two = Dated(At(100), "two");
  std::string value = Seal(one);
  const auto renewed = RenewedRecord::From(*two, *Validated(*two, At(160)), {});
  EXPECT_NE(renewed->entry, SealRecord(one)->entry);
  value.replace(RecordHead::kFirstRenewed, renewed->bytes.size(), renewed->bytes);
  EXPECT_EQ(WhyNot(value), "checksum of the head");
}

TEST(EnvelopeTest, AMarkerTellsTheNamesOfVary) {
  VarySpec vary;
  vary.names = {"accept-encoding", "accept-language"};
  const std::string record = SealVaryMarker(kKey, vary);
  EXPECT_EQ(KindOf(record), RecordKind::kVaryMarker);
  const Result<VarySpec> opened = OpenVaryMarker(record, kKey);
  ASSERT_TRUE(opened);
  EXPECT_EQ(*opened, vary);
  EXPECT_FALSE(OpenVaryMarker(record, "another"));
}

TEST(EnvelopeTest, MarkersAndResponsesAreNotMistakenForEachOther) {
  VarySpec vary;
  vary.names = {"accept"};
  EXPECT_EQ(WhyNot(SealVaryMarker(kKey, vary)), "a marker, not a response");
  EXPECT_FALSE(OpenVaryMarker(Seal(RichResponse()), kKey));
}

TEST(EnvelopeTest, EveryFlippedBitOfAMarkerIsAMiss) {
  VarySpec vary;
  vary.names = {"accept"};
  std::string record = SealVaryMarker(kKey, vary);
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
    ASSERT_FALSE(OpenVaryMarker(record, kKey)) << "bit " << bit;
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ (1 << bit % 8));
  }
}

TEST(EnvelopeTest, ANoteTellsItsTextAndWhenItCameAbout) {
  const Note note{.text = "http://origin.test/?a=1", .sequence = 1'800'000'000'000'001};
  std::string record = SealNote(kKey, note);
  const Result<Note> opened = OpenNote(record, kKey);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(*opened, note);
  EXPECT_FALSE(IsEncrypted(record));
  EXPECT_FALSE(OpenNote(record, "another"));
  EXPECT_EQ(WhyNot(record), "a marker, not a response");
  EXPECT_FALSE(OpenNote(Seal(RichResponse()), kKey));
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ 1 << bit % 8);
    ASSERT_FALSE(OpenNote(record, kKey)) << "bit " << bit;
    record[bit / 8] = static_cast<char>(record[bit / 8] ^ 1 << bit % 8);
  }
}

TEST(EnvelopeTest, ForeignBytesAreOfNoKind) {
  EXPECT_EQ(KindOf(""), RecordKind::kUnknown);
  EXPECT_EQ(KindOf(std::string(100, '\0')), RecordKind::kUnknown);
  EXPECT_EQ(KindOf(Pattern(500)), RecordKind::kUnknown);
  EXPECT_EQ(WhyNot(Pattern(500)), "not a record");
}

}  // namespace
}  // namespace satchel::cache
