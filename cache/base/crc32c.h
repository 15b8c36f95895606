#pragma once

#include <cstdint>
#include <string_view>

namespace satchel::cache {

// CRC-32C (Castagnoli, RFC 3720 B.4) of the bytes, continued from `crc` of what stood before them.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

// The same without the processor's instruction: for processors that lack it, and for the test.
uint32_t Crc32cPortable(std::string_view bytes, uint32_t crc = 0);

}  // namespace satchel::cache
