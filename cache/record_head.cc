#include "cache/record_head.h"

#include <algorithm>
#include <iterator>

#include "cache/base/crc32c.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr uint32_t kMagic = 0x52637453;  // "StcR"
constexpr uint8_t kKnownFlags = 15;
constexpr uint32_t kSeconds = 0x80000000u;
// Times further from 1970 than this (in ms) are nonsense and would overflow later sums.
constexpr int64_t kMaxTime = int64_t{1} << 50;

std::unexpected<Error> Bad(const char* why) { return Fail(ErrorSource::kStore, why); }

// Ages round up, rights to use a response round down.
uint32_t PackDuration(Millis duration, bool up) {
  const int64_t millis = std::max<int64_t>(duration.count(), 0);
  if (millis < int64_t{kSeconds}) return static_cast<uint32_t>(millis);
  const int64_t seconds = (millis + (up ? 999 : 0)) / 1000;
  return static_cast<uint32_t>(std::min<int64_t>(seconds, kSeconds - 1)) | kSeconds;
}

Millis UnpackDuration(uint32_t packed) {
  if ((packed & kSeconds) == 0) return Millis(packed);
  return Millis(int64_t{packed & ~kSeconds} * 1000);
}

uint16_t PackBits(const ResponseFacts& f) {
  const bool bits[] = {f.no_cache,  f.must_revalidate, f.swr_granted,         f.sie_granted,
                       f.immutable, f.has_etag,        f.strong_etag,         f.has_last_modified,
                       f.has_vary,  f.partial,         f.has_unstored_fields, f.stale_by_purge};
  uint16_t packed = 0;
  for (size_t i = 0; i < std::size(bits); ++i) {
    packed = static_cast<uint16_t>(packed | (bits[i] ? 1u << i : 0u));
  }
  return packed;
}
constexpr uint16_t kKnownBits = (1u << 12) - 1;

void UnpackBits(uint16_t packed, ResponseFacts& f) {
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
  std::string out;
  out.reserve(RecordHead::kSize - RecordHead::kFirstRenewed);
  TextWriter writer(out);
  writer.U64(static_cast<uint64_t>((facts.received + clock_offset).time_since_epoch().count()));
  writer.U64(static_cast<uint64_t>(facts.date.time_since_epoch().count()));
  writer.U64(head.sequence);
  writer.U32(PackDuration(facts.initial_age, true));
  writer.U32(PackDuration(facts.lifetime, false));
  writer.U32(PackDuration(facts.stale_while_revalidate, false));
  writer.U32(PackDuration(facts.stale_if_error, false));
  writer.U16(PackBits(facts));
  writer.U8(static_cast<uint8_t>(facts.stored_because));
  writer.U8(facts.fetch_time);
  writer.U16(facts.rule);
  writer.U8(head.date_renewed ? 1 : 0);
  writer.U8(0);
  writer.U32(RenewedSum(EntryBytes(head.entry), out));
  return out;
}

std::string PackHead(const RecordHead& head, Millis clock_offset) {
  std::string out;
  out.reserve(RecordHead::kSize);
  TextWriter writer(out);
  writer.U32(kMagic);
  writer.U8(RecordHead::kVersion);
  writer.U8(head.flags);
  writer.U16(head.facts.status);
  writer.U32(head.body_size);
  writer.U32(head.text_size);
  writer.U32(head.kept_size);
  writer.U32(head.sum);
  writer.U64(head.entry);
  writer.U32(head.key);
  writer.U32(Crc32c(out));
  return out + PackRenewed(head, clock_offset);
}

Result<RecordHead> UnpackHead(std::string_view bytes, Millis clock_offset) {
  constexpr size_t kFixed = RecordHead::kFirstRenewed;
  if (bytes.size() < RecordHead::kSize) return Bad("shorter than a head");
  TextReader reader(bytes.substr(0, RecordHead::kSize));
  RecordHead h;
  ResponseFacts& facts = h.facts;
  if (reader.U32() != kMagic) return Bad("not a record");
  if (reader.U8() != RecordHead::kVersion) return Bad("another version");
  h.flags = reader.U8();
  facts.status = reader.U16();
  h.body_size = reader.U32();
  h.text_size = reader.U32();
  h.kept_size = reader.U32();
  h.sum = reader.U32();
  h.entry = reader.U64();
  h.key = reader.U32();
  if (reader.U32() != Crc32c(bytes.substr(0, kFixed - 4))) return Bad("checksum of the head");
  const auto received = static_cast<int64_t>(reader.U64());
  const auto date = static_cast<int64_t>(reader.U64());
  h.sequence = reader.U64();
  facts.initial_age = UnpackDuration(reader.U32());
  facts.lifetime = UnpackDuration(reader.U32());
  facts.stale_while_revalidate = UnpackDuration(reader.U32());
  facts.stale_if_error = UnpackDuration(reader.U32());
  const uint16_t bits = reader.U16();
  const uint8_t because = reader.U8();
  facts.fetch_time = reader.U8();
  facts.rule = reader.U16();
  const uint8_t renewed = reader.U8();
  const uint8_t zero = reader.U8();
  const std::string_view entry = bytes.substr(RecordHead::kEntryAt, 8);
  if (reader.U32() != RenewedSum(entry, bytes.substr(kFixed, RecordHead::kSize - 4 - kFixed))) {
    return Bad("checksum of the head");
  }
  if ((h.flags & ~kKnownFlags) != 0 || zero != 0 || renewed > 1) return Bad("unknown flags");
  if (((h.flags & RecordHead::kEncrypted) != 0) != (h.key != 0)) return Bad("unknown flags");
  if ((h.flags & RecordHead::kMarker) == 0) {
    if (facts.status < 100 || facts.status > 599) return Bad("status");
    if (because >= static_cast<uint8_t>(Reason::kCount)) return Bad("unknown reason");
    if ((bits & ~kKnownBits) != 0) return Bad("unknown facts");
    for (const int64_t time : {received, date}) {
      if (time < -kMaxTime || time > kMaxTime) return Bad("time");
    }
    facts.received = TimeFromUnixMillis(received) - clock_offset;
    facts.date = TimeFromUnixMillis(date);
    facts.stored_because = static_cast<Reason>(because);
    UnpackBits(bits, facts);
    h.date_renewed = renewed == 1;
  }
  return h;
}

}  // namespace satchel::cache
