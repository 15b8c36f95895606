#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

namespace satchel::cache {

// Appends all pieces, growing at most once. None of them may lie in `out`.
inline void AppendAll(std::string& out, std::initializer_list<std::string_view> pieces) {
  const size_t before = out.size();
  size_t size = before;
  for (const std::string_view piece : pieces) size += piece.size();
  if (size > out.capacity()) out.reserve(std::max(size, 2 * out.capacity()));
  out.resize_and_overwrite(size, [&](char* data, size_t) {
    char* at = data + before;
    for (const std::string_view piece : pieces) {
      if (piece.empty()) continue;  // its data may be null
      std::memcpy(at, piece.data(), piece.size());
      at += piece.size();
    }
    return size;
  });
}

}  // namespace satchel::cache
