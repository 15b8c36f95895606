#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/tags.h"

namespace satchel::proxy {

// Bodies up to this size are looked through for tags.
inline constexpr size_t kMaxTaggedBody = size_t{256} << 10;

// Adds the texts, numbers and booleans that the pointers (RFC 6901) lead to; "*" stands for every
// member of a list or an object. What stands before a pointer's first "/" goes before each value:
// "product:/related/*/id". False if the body is no JSON: then nothing was added. Pure.
bool AddJsonTags(std::string_view body, const std::vector<std::string>& pointers,
                 cache::TagSet& tags);

// application/json and types that end in +json.
bool IsJsonType(std::string_view content_type);

}  // namespace satchel::proxy
