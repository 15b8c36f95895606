#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace satchel::rules {

// A key for records in the shared tier, 256 bits.
using RecordKey = std::array<uint8_t, 32>;

// 64 hexadecimal digits, or the base64 (RFC 4648 4) of 32 bytes; white space around them is
// dropped.
std::optional<RecordKey> ParseRecordKey(std::string_view text);

}  // namespace satchel::rules
