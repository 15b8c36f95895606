#include "rules/api_keys.h"

#include <utility>

namespace satchel::rules {

bool ApiKeys::Add(const Digest256& digest, ApiKey key) {
  return keys_.emplace(digest, std::move(key)).second;
}

const ApiKey* ApiKeys::Find(const Digest256& digest) const {
  const auto at = keys_.find(digest);
  return at == keys_.end() ? nullptr : &at->second;
}

std::optional<Digest256> ParseDigest(std::string_view hex) {
  Digest256 digest;
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  const auto value = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  for (size_t i = 0; i < digest.size(); ++i) {
    const int high = value(hex[2 * i]);
    const int low = value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return digest;
}

std::string DigestText(const Digest256& digest) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace satchel::rules
