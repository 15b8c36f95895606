#include "cache/record_head.h"

#include <algorithm>
#include <iterator>

#include "cache/base/crc32c.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr uint16_t kMagic = 0x7453;  // "St"
constexpr uint8_t kKnownFlags = 15;
constexpr int64_t kUnits[] = {1, 1000, 1'024'000};  // milliseconds
constexpr int64_t kMaxUnits = (1 << 22) - 1;
// Times further from 1970 than this (in ms, 17,000 years) are nonsense, and do not fit.
constexpr int64_t kMaxDate = (int64_t{1} << 39) * 1000 - 1000;
constexpr int64_t kMaxReceived = (int64_t{1} << 47) - 1;
constexpr uint64_t kMaxSequence = (uint64_t{1} << 56) - 1;

std::unexpected<Error> Bad(const char* why) { return Fail(ErrorSource::kStore, why); }

// A stale window: 22 bits of the finest unit in which it fits, and two that say which.
uint32_t PackWindow(Millis duration) {
  const int64_t millis = std::max<int64_t>(duration.count(), 0);
  uint32_t unit = 0;
  while (unit + 1 < std::size(kUnits) && millis / kUnits[unit] > kMaxUnits) ++unit;
  return static_cast<uint32_t>(std::min<int64_t>(millis / kUnits[unit], kMaxUnits)) | unit << 22;
}

Millis UnpackWindow(uint32_t packed) {
  const size_t unit = std::min<size_t>(packed >> 22, std::size(kUnits) - 1);
  return Millis((packed & kMaxUnits) * kUnits[unit]);
}

// Towards the past: a whole second has passed or has not.
int64_t SecondsOf(Time time) {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}

uint16_t PackBits(const RecordHead& head) {
  const ResponseFacts& f = head.facts;
  const bool bits[] = {f.no_cache,       f.must_revalidate,     f.swr_granted,
                       f.sie_granted,    f.immutable,           f.has_etag,
                       f.strong_etag,    f.has_last_modified,   f.has_vary,
                       f.partial,        f.has_unstored_fields, f.stale_by_purge,
                       head.date_renewed};
  uint16_t packed = 0;
  for (size_t i = 0; i < std::size(bits); ++i) {
    packed = static_cast<uint16_t>(packed | (bits[i] ? 1u << i : 0u));
  }
  return packed;
}
constexpr uint16_t kKnownBits = (1u << 13) - 1;

void UnpackBits(uint16_t packed, RecordHead& head) {
  ResponseFacts& f = head.facts;
  const auto bit = [packed](int i) { return (packed >> i & 1) != 0; };
  f.no_cache = bit(0);
  f.must_revalidate = bit(1);
  f.swr_granted = bit(2);
  f.sie_granted = bit(3);
  f.immutable = bit(4);
  f.has_etag = bit(5);
  f.strong_etag = bit(6);
  f.has_last_modified = bit(7);
  f.has_vary = bit(8);
  f.partial = bit(9);
  f.has_unstored_fields = bit(10);
  f.stale_by_purge = bit(11);
  head.date_renewed = bit(12);
}

// Of the renewed part: of one entry only.
uint32_t RenewedSum(std::string_view entry, std::string_view renewed) {
  return Crc32c(renewed, Crc32c(entry));
}

std::string EntryBytes(uint64_t entry) {
  std::string bytes;
  TextWriter(bytes).U64(entry);
  return bytes;
}

}  // namespace

std::string PackRenewed(const RecordHead& head, Millis clock_offset) {
  const ResponseFacts& facts = head.facts;
  const int64_t received = (facts.received + clock_offset).time_since_epoch().count();
  std::string out;
  out.reserve(RecordHead::kSize - RecordHead::kFirstRenewed);
  TextWriter writer(out);
  writer.U16(PackBits(head));
  writer.U16(facts.rule);
  writer.Number(static_cast<uint64_t>(std::clamp(received, -kMaxReceived, kMaxReceived)), 6);
  writer.U32(facts.initial_age.bits());
  writer.U32(facts.lifetime.bits());
  writer.Number(PackWindow(facts.stale_while_revalidate), 3);
  writer.Number(PackWindow(facts.stale_if_error), 3);
  const Time date =
      TimeFromUnixMillis(std::clamp(facts.date.time_since_epoch().count(), -kMaxDate, kMaxDate));
  writer.Number(static_cast<uint64_t>(SecondsOf(date)), 5);
  writer.Number(std::min(head.sequence, kMaxSequence), 7);
  writer.U8(static_cast<uint8_t>(facts.stored_because));
  writer.U8(facts.fetch_time);
  writer.U32(RenewedSum(EntryBytes(head.entry), out));
  return out;
}

std::string PackHead(const RecordHead& head, Millis clock_offset) {
  std::string out;
  out.reserve(RecordHead::kSize);
  TextWriter writer(out);
  writer.U16(kMagic);
  writer.U8(RecordHead::kVersion);
  writer.U8(head.flags);
  writer.U32(head.body_size);
  writer.U32(head.sum);
  writer.U64(head.entry);
  writer.U16(head.facts.status);
  return out + PackRenewed(head, clock_offset);
}

Result<RecordHead> UnpackHead(std::string_view bytes, Millis clock_offset) {
  constexpr size_t kFixed = RecordHead::kFirstRenewed;
  if (bytes.size() < RecordHead::kSize) return Bad("shorter than a head");
  TextReader reader(bytes.substr(0, RecordHead::kSize));
  RecordHead h;
  ResponseFacts& facts = h.facts;
  if (reader.U16() != kMagic) return Bad("not a record");
  if (reader.U8() != RecordHead::kVersion) return Bad("another version");
  h.flags = reader.U8();
  h.body_size = reader.U32();
  h.sum = reader.U32();
  h.entry = reader.U64();
  facts.status = reader.U16();
  const uint16_t bits = reader.U16();
  facts.rule = reader.U16();
  facts.received = TimeFromUnixMillis(reader.Signed(6)) - clock_offset;
  facts.initial_age = ShortAge::FromBits(reader.U32());
  facts.lifetime = ShortMillis::FromBits(reader.U32());
  facts.stale_while_revalidate = UnpackWindow(static_cast<uint32_t>(reader.Number(3)));
  facts.stale_if_error = UnpackWindow(static_cast<uint32_t>(reader.Number(3)));
  facts.date = TimeFromUnixMillis(reader.Signed(5) * 1000);
  h.sequence = reader.Number(7);
  const uint8_t because = reader.U8();
  facts.fetch_time = reader.U8();
  const std::string_view entry = bytes.substr(RecordHead::kEntryAt, 8);
  if (reader.U32() != RenewedSum(entry, bytes.substr(kFixed, RecordHead::kSize - 4 - kFixed))) {
    return Bad("checksum of the head");
  }
  if ((h.flags & ~kKnownFlags) != 0) return Bad("unknown flags");
  if ((bits & ~kKnownBits) != 0) return Bad("unknown facts");
  if (because >= static_cast<uint8_t>(Reason::kCount)) return Bad("unknown reason");
  if ((h.flags & RecordHead::kMarker) == 0 && (facts.status < 100 || facts.status > 599)) {
    return Bad("status");
  }
  facts.stored_because = static_cast<Reason>(because);
  UnpackBits(bits, h);
  return h;
}

uint32_t SumOf(std::string_view record) {
  constexpr size_t kBehindSum = RecordHead::kSumAt + 4;
  const uint32_t before = Crc32c(record.substr(0, RecordHead::kSumAt));
  const uint32_t fixed =
      Crc32c(record.substr(kBehindSum, RecordHead::kFirstRenewed - kBehindSum), before);
  return Crc32c(record.substr(RecordHead::kSize), fixed);
}

void PutSum(std::string& record) {
  std::string sum;
  TextWriter(sum).U32(SumOf(record));
  record.replace(RecordHead::kSumAt, sum.size(), sum);
}

}  // namespace satchel::cache
