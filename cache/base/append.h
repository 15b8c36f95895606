#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "cache/base/text.h"

namespace satchel::cache {

// Appends what `write`, char*(char*), puts where it is told to: at most `most` bytes. It returns
// their end.
template <typename Write>
void AppendWritten(std::string& out, size_t most, Write write) {
  const size_t before = out.size();
  const size_t size = before + most;
  if (size > out.capacity()) out.reserve(std::max(size, 2 * out.capacity()));
  out.resize_and_overwrite(
      size, [&](char* data, size_t) { return static_cast<size_t>(write(data + before) - data); });
}

// Appends all pieces, growing at most once. None of them may lie in `out`.
inline void AppendAll(std::string& out, std::initializer_list<std::string_view> pieces) {
  size_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  AppendWritten(out, size, [&](char* at) {
    for (const std::string_view piece : pieces) at = PutText(at, piece);
    return at;
  });
}

}  // namespace satchel::cache
