#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/vary.h"

namespace satchel::redis {

// Parts of the names under which records stand.

// 22 characters for a text of any length: the first half of its SHA-256.
std::string DigestText(std::string_view bytes);

// Of a variant: names and values both, since the origin may change its Vary.
std::string VariantDigest(const cache::VarySpec& vary, std::string_view values);

// In the slot of the URL; the entry's number keeps the chunks of two bodies apart.
std::string ChunkKey(std::string_view plain_key, uint64_t entry, size_t number);

}  // namespace satchel::redis
