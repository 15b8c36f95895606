#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace satchel::proxy {

// The most bytes WriteEscaped() writes for one byte of input.
constexpr size_t kMaxEscaped = 6;

// Writes `text` as the inside of a JSON string to `out`, which has room for kMaxEscaped bytes for
// each of its bytes, and returns the end of what was written. Control characters (DEL and C1 too: a
// terminal obeys them) become \u00XX, each byte that is not part of valid UTF-8 becomes U+FFFD. The
// result is valid UTF-8 whatever the input.
char* WriteEscaped(char* out, std::string_view text);

// The same, appended.
void AppendEscaped(std::string& out, std::string_view text);

// The length of the longest prefix of at most `limit` bytes that does not end inside a UTF-8
// sequence.
size_t CutUtf8(std::string_view text, size_t limit);

}  // namespace satchel::proxy
