#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// The chunks in which a large body stands beside its record: in the clear each is a CRC-32C of
// entry, number and bytes, then the bytes.
namespace satchel::cache {

inline constexpr size_t kChunkSize = size_t{256} << 10;  // bytes of the body as kept

uint32_t ChunksOf(uint64_t kept_size);

std::string SealChunk(uint64_t entry, uint32_t number, std::string_view bytes);
// Takes the sum off the front. Null, or why not.
const char* OpenChunk(uint64_t entry, uint32_t number, std::string_view& value);

}  // namespace satchel::cache
