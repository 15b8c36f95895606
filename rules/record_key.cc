#include "rules/record_key.h"

namespace satchel::rules {
namespace {

// -1: none.
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

std::optional<RecordKey> FromHex(std::string_view text) {
  RecordKey key;
  for (size_t i = 0; i < key.size(); ++i) {
    const int high = HexDigit(text[2 * i]);
    const int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    key[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return key;
}

// 43 digits, the last of them with two bits of no meaning, and one sign of padding.
std::optional<RecordKey> FromBase64(std::string_view text) {
  if (text.back() != '=') return std::nullopt;
  RecordKey key;
  uint32_t bits = 0;
  int have = 0;
  size_t at = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    const int digit = Base64Digit(c);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    key[at++] = static_cast<uint8_t>(bits >> have & 0xFF);
    bits &= (1u << have) - 1;
  }
  if (bits != 0) return std::nullopt;
  return key;
}

}  // namespace

std::optional<RecordKey> ParseRecordKey(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return std::nullopt;
  text = text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
  constexpr size_t kHexDigits = 64;
  constexpr size_t kBase64Digits = 44;
  if (text.size() == kHexDigits) return FromHex(text);
  if (text.size() == kBase64Digits) return FromBase64(text);
  return std::nullopt;
}

}  // namespace satchel::rules
