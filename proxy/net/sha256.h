#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace satchel::net {

// Any thread.
std::array<uint8_t, 32> Sha256(std::string_view bytes);

// 22 characters of base64url (no padding): the first 16 bytes of the SHA-256.
std::array<char, 22> Digest22(std::string_view bytes);

}  // namespace satchel::net
