#include "rules/path.h"

#include <array>

#include "cache/base/text.h"

namespace satchel::rules {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return -1;
}

constexpr std::array<bool, 256> MakePathTable() {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789-._~!$&'()*+,;=:@/")) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}

constexpr std::array<bool, 256> kPathTable = MakePathTable();

}  // namespace

bool NeedsNormalising(std::string_view path) {
  using cache::ByteLanes;
  if (path.empty()) return false;
  if (cache::AnyByte(path, [](ByteLanes b) { return b == '%'; })) return true;
  return cache::AnyPair(path.substr(0, path.size() - 1), path.substr(1),
                        [](ByteLanes first, ByteLanes second) {
                          return (first == '/') & ((second == '/') | (second == '.'));
                        });
}

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = HexValue(text[i + 1]);
    const int low = HexValue(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return decoded;
}

std::optional<std::string> NormalisePath(std::string_view path) {
  auto decoded = PercentDecode(path);
  if (!decoded || !decoded->starts_with('/')) return decoded;
  const std::string_view from = *decoded;
  std::string normal;
  normal.reserve(from.size());
  bool ends_in_folder = false;
  for (size_t at = 1; at <= from.size();) {
    const size_t slash = std::min(from.find('/', at), from.size());
    const std::string_view segment = from.substr(at, slash - at);
    at = slash + 1;
    ends_in_folder = segment.empty() || segment == "." || segment == "..";
    if (segment == "..") {
      const size_t parent = normal.rfind('/');
      normal.resize(parent == std::string::npos ? 0 : parent);
    } else if (!ends_in_folder) {
      normal += '/';
      normal += segment;
    }
  }
  if (ends_in_folder || normal.empty()) normal += '/';
  return normal;
}

void AppendPathEscaped(std::string_view text, std::string* to) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (kPathTable[byte]) {
      *to += c;
    } else {
      *to += '%';
      *to += kHex[byte >> 4];
      *to += kHex[byte & 15];
    }
  }
}

}  // namespace satchel::rules
