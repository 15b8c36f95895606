#include "cache/record_chunk.h"

#include "cache/base/crc32c.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr size_t kSumSize = 4;

uint32_t ChunkSum(uint64_t entry, uint32_t number, std::string_view bytes) {
  std::string place;
  TextWriter writer(place);
  writer.U64(entry);
  writer.U32(number);
  return Crc32c(bytes, Crc32c(place));
}

}  // namespace

uint32_t ChunksOf(uint64_t kept_size) {
  return static_cast<uint32_t>((kept_size + kChunkSize - 1) / kChunkSize);
}

std::string SealChunk(uint64_t entry, uint32_t number, std::string_view bytes) {
  std::string value;
  value.reserve(kSumSize + bytes.size());
  TextWriter(value).U32(ChunkSum(entry, number, bytes));
  value += bytes;
  return value;
}

const char* OpenChunk(uint64_t entry, uint32_t number, std::string_view& value) {
  if (value.size() < kSumSize) return "chunk";
  const uint32_t sum = TextReader(value.substr(0, kSumSize)).U32();
  value.remove_prefix(kSumSize);
  return sum == ChunkSum(entry, number, value) ? nullptr : "checksum of a chunk";
}

}  // namespace satchel::cache
