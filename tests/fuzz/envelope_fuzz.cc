// Opens records made by nobody. The first byte chooses: as they are, or with magic, version, sizes
// and checksums put right, so that what lies behind them is reached too. What opens must survive
// being sealed and opened again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "cache/base/crc32c.h"
#include "cache/envelope.h"

namespace {

constexpr std::string_view kKey = "http://origin.test/";
constexpr size_t kHeadSize = 76;

void Require(bool holds) {
  if (!holds) std::abort();
}

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
  if (bytes.size() < kHeadSize) return bytes;
  std::memcpy(bytes.data(), "StcR\x02", 5);
  bytes[5] = static_cast<char>(bytes[5] & 3);
  bytes[41] = static_cast<char>(bytes[41] & 0x0F);
  bytes[43] = 0;
  const auto rest = static_cast<uint32_t>(bytes.size() - kHeadSize);
  const uint32_t texts = Read32(bytes, 48) % (rest + 1);
  Write32(bytes, 48, texts);
  Write32(bytes, 52, rest - texts);
  if ((bytes[5] & 1) == 0) Write32(bytes, 44, rest - texts);
  Write32(bytes, 56, satchel::cache::Crc32c(std::string_view(bytes).substr(kHeadSize)));
  bytes[62] = bytes[63] = 0;
  Write32(bytes, 72, satchel::cache::Crc32c(std::string_view(bytes).substr(0, kHeadSize - 4)));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel::cache;
  if (size == 0) return 0;
  std::string record(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) == 0) record = Repaired(std::move(record));

  const OpenOptions limits{.max_body = 1 << 20};
  const RecordKind kind = KindOf(record);
  if (const auto vary = OpenVaryMarker(record, kKey)) {
    Require(kind == RecordKind::kVaryMarker);
    const auto again = OpenVaryMarker(SealVaryMarker(kKey, *vary), kKey);
    Require(again && *again == *vary);
  }
  const auto opened = OpenRecord(record, kKey, limits);
  if (!opened) return 0;
  Require(kind == RecordKind::kResponse);
  const StoredResponse& response = **opened;
  Require(response.key() == kKey && response.complete());
  Require(response.body().size() <= limits.max_body);
  const auto sealed = SealRecord(response);
  Require(sealed.has_value());
  const auto again = OpenRecord(*sealed, kKey, limits);
  Require(again.has_value());
  Require((*again)->header_block() == response.header_block());
  Require((*again)->body().ToString() == response.body().ToString());
  Require((*again)->vary() == response.vary() && std::ranges::equal((*again)->tags(), response.tags()));
  Require((*again)->purge_sequence() == response.purge_sequence());
  Require((*again)->facts().received == response.facts().received);
  Require((*again)->facts().lifetime <= response.facts().lifetime);
  return 0;
}
