#include "cache/envelope.h"

#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "cache/base/crc32c.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr size_t kHeadSize = 76;
constexpr uint32_t kMagic = 0x52637453;  // "StcR"
constexpr uint8_t kVersion = 2;
constexpr uint8_t kZstd = 1;
constexpr uint8_t kMarker = 2;
constexpr uint32_t kSeconds = 0x80000000u;
// Times further from 1970 than this (in ms) are nonsense and would overflow later sums.
constexpr int64_t kMaxTime = int64_t{1} << 50;
constexpr int kLevel = 1;

struct RecordHead {
  uint8_t flags = 0;
  uint16_t status = 0;
  int64_t received = 0;
  int64_t date = 0;
  uint32_t initial_age = 0;
  uint32_t lifetime = 0;
  uint32_t swr = 0;
  uint32_t sie = 0;
  uint16_t bits = 0;
  uint8_t because = 0;
  uint8_t fetch_time = 0;
  uint32_t body_size = 0;
  uint32_t text_size = 0;
  uint32_t kept_size = 0;
  uint32_t sum = 0;
  uint16_t rule = 0;
  uint64_t sequence = 0;
};

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

std::string PackHead(const RecordHead& h) {
  std::string out;
  out.reserve(kHeadSize);
  TextWriter writer(out);
  writer.U32(kMagic);
  writer.U8(kVersion);
  writer.U8(h.flags);
  writer.U16(h.status);
  writer.U64(static_cast<uint64_t>(h.received));
  writer.U64(static_cast<uint64_t>(h.date));
  writer.U32(h.initial_age);
  writer.U32(h.lifetime);
  writer.U32(h.swr);
  writer.U32(h.sie);
  writer.U16(h.bits);
  writer.U8(h.because);
  writer.U8(h.fetch_time);
  writer.U32(h.body_size);
  writer.U32(h.text_size);
  writer.U32(h.kept_size);
  writer.U32(h.sum);
  writer.U16(h.rule);
  writer.U16(0);
  writer.U64(h.sequence);
  writer.U32(Crc32c(out));
  return out;
}

// Everything that can be said of a head alone, and that the rest has the size it tells.
Result<RecordHead> UnpackHead(std::string_view bytes) {
  if (bytes.size() < kHeadSize) return Bad("shorter than a head");
  TextReader reader(bytes.substr(0, kHeadSize));
  RecordHead h;
  if (reader.U32() != kMagic) return Bad("not a record");
  if (reader.U8() != kVersion) return Bad("another version");
  h.flags = reader.U8();
  h.status = reader.U16();
  h.received = static_cast<int64_t>(reader.U64());
  h.date = static_cast<int64_t>(reader.U64());
  h.initial_age = reader.U32();
  h.lifetime = reader.U32();
  h.swr = reader.U32();
  h.sie = reader.U32();
  h.bits = reader.U16();
  h.because = reader.U8();
  h.fetch_time = reader.U8();
  h.body_size = reader.U32();
  h.text_size = reader.U32();
  h.kept_size = reader.U32();
  h.sum = reader.U32();
  h.rule = reader.U16();
  const uint16_t zeros = reader.U16();
  h.sequence = reader.U64();
  if (reader.U32() != Crc32c(bytes.substr(0, kHeadSize - 4))) return Bad("checksum of the head");
  if ((h.flags & ~(kZstd | kMarker)) != 0 || zeros != 0) return Bad("unknown flags");
  if (uint64_t{h.text_size} + h.kept_size != bytes.size() - kHeadSize) return Bad("size");
  return h;
}

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// The compressed body, or empty if compressing does not pay.
std::string Compress(std::string_view body) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  std::string out;
  if (!context) return out;
  // A target this small makes the compressor give up by itself where it would not pay.
  out.resize(body.size() - body.size() / 5);
  const size_t size =
      ZSTD_compressCCtx(context.get(), out.data(), out.size(), body.data(), body.size(), kLevel);
  out.resize(ZSTD_isError(size) != 0 ? 0 : size);
  return out;
}

Result<Body> Decompress(std::string_view kept, size_t size) {
  if (ZSTD_getFrameContentSize(kept.data(), kept.size()) != size) return Bad("compressed size");
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeDecompressor> context(ZSTD_createDCtx());
  if (!context) return Bad("no memory");
  auto bytes = std::make_shared_for_overwrite<char[]>(size);
  const size_t got =
      ZSTD_decompressDCtx(context.get(), bytes.get(), size, kept.data(), kept.size());
  if (ZSTD_isError(got) != 0 || got != size) return Bad("compressed data");
  Body body;
  body.AppendSegment(std::move(bytes), size);
  return body;
}

}  // namespace

RecordKind KindOf(std::string_view bytes) {
  const Result<RecordHead> head = UnpackHead(bytes);
  if (!head) return RecordKind::kUnknown;
  return (head->flags & kMarker) != 0 ? RecordKind::kVaryMarker : RecordKind::kResponse;
}

Result<std::string> SealRecord(const StoredResponse& response, const SealOptions& options) {
  if (!response.complete()) return Bad("the body is not complete");
  constexpr uint64_t kMost = UINT32_MAX;
  if (response.body().size() > kMost) return Bad("the body is too large");
  if (response.tags().size() > kMaxTags) return Bad("too many tags");
  if (response.vary().names.size() > kMaxNames) return Bad("Vary names too many fields");
  const ResponseFacts& facts = response.facts();
  std::string texts = PackTexts(response);
  if (texts.size() > kMaxTexts) return Bad("the header is too large");

  RecordHead head;
  head.status = facts.status;
  head.received = (facts.received + options.clock_offset).time_since_epoch().count();
  head.date = facts.date.time_since_epoch().count();
  head.initial_age = PackDuration(facts.initial_age, true);
  head.lifetime = PackDuration(facts.lifetime, false);
  head.swr = PackDuration(facts.stale_while_revalidate, false);
  head.sie = PackDuration(facts.stale_if_error, false);
  head.bits = PackBits(facts);
  head.because = static_cast<uint8_t>(facts.stored_because);
  head.fetch_time = facts.fetch_time;
  head.body_size = static_cast<uint32_t>(response.body().size());
  head.text_size = static_cast<uint32_t>(texts.size());
  head.rule = facts.rule;
  head.sequence = response.purge_sequence();

  const Body& body = response.body();
  std::string packed;
  if (body.size() >= std::max<size_t>(options.compress_from, 1) &&
      body.size() <= options.compress_up_to && IsCompressible(response)) {
    packed = Compress(body.ToString());
  }
  if (!packed.empty()) head.flags |= kZstd;
  head.kept_size = packed.empty() ? head.body_size : static_cast<uint32_t>(packed.size());

  std::string record;
  record.reserve(kHeadSize + texts.size() + head.kept_size);
  record.resize(kHeadSize);
  record.append(texts);
  if (!packed.empty()) {
    record.append(packed);
  } else {
    std::array<iovec, 16> pieces;
    for (uint64_t done = 0; done < body.size();) {
      const size_t count = body.Gather(done, body.size() - done, pieces);
      for (size_t i = 0; i < count; ++i) {
        record.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
        done += pieces[i].iov_len;
      }
    }
  }
  head.sum = Crc32c(std::string_view(record).substr(kHeadSize));
  record.replace(0, kHeadSize, PackHead(head));
  return record;
}

Result<StoredPtr> OpenRecord(std::string_view bytes, std::string_view expected_key,
                             const OpenOptions& options) {
  const Result<RecordHead> opened = UnpackHead(bytes);
  if (!opened) return std::unexpected(opened.error());
  const RecordHead& head = *opened;
  if ((head.flags & kMarker) != 0) return Bad("a marker, not a response");
  if (head.body_size > options.max_body) return Bad("body too large");
  if (head.text_size > kMaxTexts) return Bad("header too large");
  if ((head.flags & kZstd) == 0 && head.kept_size != head.body_size) return Bad("size");
  if (Crc32c(bytes.substr(kHeadSize)) != head.sum) return Bad("checksum");

  StoredResponse::Parts parts;
  ResponseFacts& facts = parts.facts;
  if (head.status < 100 || head.status > 599) return Bad("status");
  if (head.because >= static_cast<uint8_t>(Reason::kCount)) return Bad("unknown reason");
  if ((head.bits & ~kKnownBits) != 0) return Bad("unknown facts");
  for (const int64_t time : {head.received, head.date}) {
    if (time < -kMaxTime || time > kMaxTime) return Bad("time");
  }
  facts.status = head.status;
  facts.received = TimeFromUnixMillis(head.received) - options.clock_offset;
  facts.date = TimeFromUnixMillis(head.date);
  facts.initial_age = UnpackDuration(head.initial_age);
  facts.lifetime = UnpackDuration(head.lifetime);
  facts.stale_while_revalidate = UnpackDuration(head.swr);
  facts.stale_if_error = UnpackDuration(head.sie);
  facts.stored_because = static_cast<Reason>(head.because);
  facts.fetch_time = head.fetch_time;
  facts.rule = head.rule;
  parts.purge_sequence = head.sequence;
  UnpackBits(head.bits, facts);

  const std::string_view texts = bytes.substr(kHeadSize, head.text_size);
  if (const char* why = UnpackTexts(texts, expected_key, parts)) return Bad(why);

  const std::string_view kept = bytes.substr(kHeadSize + head.text_size);
  if ((head.flags & kZstd) != 0) {
    Result<Body> body = Decompress(kept, head.body_size);
    if (!body) return std::unexpected(body.error());
    parts.body = *std::move(body);
  } else {
    parts.body = Body::Copy(kept);
  }
  parts.complete = true;
  return StoredResponse::Make(std::move(parts));
}

std::string SealVaryMarker(std::string_view key, const VarySpec& vary) {
  const std::string texts = PackMarkerTexts(key, vary);
  RecordHead head;
  head.flags = kMarker;
  head.text_size = static_cast<uint32_t>(texts.size());
  head.sum = Crc32c(texts);
  return PackHead(head) + texts;
}

Result<VarySpec> OpenVaryMarker(std::string_view bytes, std::string_view expected_key) {
  const Result<RecordHead> head = UnpackHead(bytes);
  if (!head) return std::unexpected(head.error());
  if (head->flags != kMarker) return Bad("a response, not a marker");
  if (head->kept_size != 0 || head->text_size > kMaxTexts) return Bad("size");
  if (Crc32c(bytes.substr(kHeadSize)) != head->sum) return Bad("checksum");
  VarySpec vary;
  if (const char* why = UnpackMarkerTexts(bytes.substr(kHeadSize), expected_key, vary)) {
    return Bad(why);
  }
  return vary;
}

}  // namespace satchel::cache
