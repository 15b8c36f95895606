#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace satchel::rules {

using Digest256 = std::array<uint8_t, 32>;

// What is known of one API key.
struct ApiKey {
  uint32_t plan = 0;  // into the plans of the policy
  std::string owner;  // the quota belongs to it; never empty
};

// The known API keys by the SHA-256 of their text: the keys themselves never stand in a file, in
// memory or in a log. Filled by the parser, const afterwards.
class ApiKeys {
 public:
  // False if that key is already there.
  bool Add(const Digest256& digest, ApiKey key);
  const ApiKey* Find(const Digest256& digest) const;
  size_t size() const { return keys_.size(); }
  auto begin() const { return keys_.begin(); }
  auto end() const { return keys_.end(); }

 private:
  std::map<Digest256, ApiKey> keys_;
};

// 64 hex digits in either letter case.
std::optional<Digest256> ParseDigest(std::string_view hex);
std::string DigestText(const Digest256& digest);

}  // namespace satchel::rules
