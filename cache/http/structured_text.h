#pragma once

#include <string_view>

// Character classes and UTF-8, shared by the parser and the serializer of Structured Fields.
namespace satchel::cache::sf {

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
constexpr bool IsAlpha(char c) { return IsLower(c) || (c >= 'A' && c <= 'Z'); }
constexpr bool IsVisibleOrSpace(char c) { return c >= 0x20 && c <= 0x7e; }

// key = ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" ) (RFC 9651 3.1.2)
constexpr bool IsKeyStart(char c) { return IsLower(c) || c == '*'; }
constexpr bool IsKeyChar(char c) {
  return IsKeyStart(c) || IsDigit(c) || c == '_' || c == '-' || c == '.';
}

// UTF-8 without overlong forms, surrogates and code points above U+10FFFF (RFC 3629).
bool IsUtf8(std::string_view text);

}  // namespace satchel::cache::sf
