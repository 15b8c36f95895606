// Opens records made by nobody. The first byte chooses: as they are, or with magic, version, sizes
// and checksums put right, so that what lies behind them is reached too. What opens must survive
// being sealed and opened again.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "cache/base/crc32c.h"
#include "cache/envelope.h"
#include "cache/record_reader.h"
#include "cache/record_sealer.h"
#include "tests/fuzz/require.h"

namespace {

constexpr std::string_view kKey = "http://origin.test/";
constexpr size_t kHeadSize = satchel::cache::RecordHead::kSize;

void Write32(std::string& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i) & 0xFF);
}

uint32_t Read32(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  }
  return value;
}

std::string Repaired(std::string bytes) {
  using satchel::cache::Crc32c;
  using satchel::cache::RecordHead;
  constexpr size_t kFlagsAt = 3;
  constexpr size_t kBodySizeAt = 4;
  constexpr size_t kBitsAt = RecordHead::kFirstRenewed;
  if (bytes.size() < kHeadSize) return bytes;
  std::memcpy(bytes.data(), "St\x03", 3);
  bytes[kFlagsAt] = static_cast<char>(bytes[kFlagsAt] & 7);
  bytes[kBitsAt + 1] = static_cast<char>(bytes[kBitsAt + 1] & 0x1F);
  const auto rest = static_cast<uint32_t>(bytes.size() - kHeadSize);
  const bool chunked = (bytes[kFlagsAt] & 4) != 0;
  const bool compressed = (bytes[kFlagsAt] & 1) != 0;
  if (!chunked && !compressed) Write32(bytes, kBodySizeAt, Read32(bytes, kBodySizeAt) % (rest + 1));
  if (!chunked && compressed && rest >= 4) {
    Write32(bytes, kHeadSize, Read32(bytes, kHeadSize) % (rest - 3));
  }
  const std::string_view view = bytes;
  const uint32_t entry = Crc32c(view.substr(RecordHead::kEntryAt, 8));
  Write32(bytes, kHeadSize - 4, Crc32c(view.substr(kBitsAt, kHeadSize - 4 - kBitsAt), entry));
  satchel::cache::PutSum(bytes);
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel::cache;
  if (size == 0) return 0;
  std::string record(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) == 0) record = Repaired(std::move(record));

  const OpenOptions limits{.max_body = 1 << 19};
  const RecordKind kind = KindOf(record);
  if (const auto vary = OpenVaryMarker(record, kKey)) {
    Require(kind == RecordKind::kVaryMarker);
    const auto again = OpenVaryMarker(SealVaryMarker(kKey, *vary), kKey);
    Require(again && *again == *vary);
  }
  if (const auto note = OpenNote(record, kKey)) {
    const auto again = OpenNote(SealNote(kKey, *note), kKey);
    Require(again && *again == *note);
  }
  if (auto reader = RecordReader::Begin(record, kKey, limits); reader && reader->chunks() > 0) {
    // No chunk: never a body.
    Require(!std::move(*reader).Finish());
  }
  const auto opened = OpenRecord(record, kKey, limits);
  if (!opened) return 0;
  Require(kind == RecordKind::kResponse);
  const StoredResponse& response = **opened;
  Require(response.key() == kKey && response.complete());
  Require(response.body().size() <= limits.max_body);
  const auto sealed = SealRecord(*opened);
  Require(sealed.has_value());
  const auto again = OpenRecord(sealed->value, kKey, limits);
  Require(again.has_value());
  Require(sealed->chunks.empty());
  Require((*again)->header_block() == response.header_block());
  Require((*again)->body().ToString() == response.body().ToString());
  Require((*again)->vary() == response.vary() &&
          std::ranges::equal((*again)->tags(), response.tags()));
  Require((*again)->purge_sequence() == response.purge_sequence());
  Require((*again)->facts().received == response.facts().received);
  Require((*again)->facts().lifetime <= response.facts().lifetime);
  return 0;
}
