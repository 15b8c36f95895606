#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace satchel::cache {

// How records are encrypted. Each record has a key of its own, derived from one of the operator's
// and a random salt, and each of its values a nonce of its own under that key. Any thread.
class RecordCipher {
 public:
  static constexpr size_t kSaltSize = 16;
  static constexpr size_t kTagSize = 16;

  virtual ~RecordCipher() = default;

  // The number of the key that seals: never 0.
  virtual uint32_t key() const = 0;
  // Random bytes; empty if there are none to be had.
  virtual std::string Salt() const = 0;
  // `bytes` encrypted, with the tag behind them. `value`: 0 for the record, then its chunks. Empty
  // on failure.
  virtual std::string Seal(uint32_t key, std::string_view salt, uint32_t value,
                           std::string_view authenticated, std::string_view bytes) const = 0;
  // False: an unknown key, or bytes that were sealed neither so nor with it.
  virtual bool Open(uint32_t key, std::string_view salt, uint32_t value,
                    std::string_view authenticated, std::string_view sealed,
                    std::string& bytes) const = 0;
};

}  // namespace satchel::cache
