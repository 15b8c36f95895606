#include "proxy/redis/record_names.h"

#include "proxy/net/sha256.h"

namespace satchel::redis {

std::string DigestText(std::string_view bytes) {
  const std::array<char, 22> digest = net::Digest22(bytes);
  return {digest.data(), digest.size()};
}

std::string VariantDigest(const cache::VarySpec& vary, std::string_view values) {
  std::string text;
  for (const std::string& name : vary.names) text += name + "\n";
  text += "\n";
  text += values;
  return DigestText(text);
}

std::string ChunkKey(std::string_view plain_key, uint64_t entry, size_t number) {
  std::string key(plain_key);
  key += ':';
  for (int shift = 60; shift >= 0; shift -= 4) key += "0123456789abcdef"[entry >> shift & 15];
  key += ':';
  key += std::to_string(number);
  return key;
}

}  // namespace satchel::redis
