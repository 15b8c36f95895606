#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/record_cipher.h"
#include "rules/record_key.h"

namespace satchel::redis {

// The operator's keys, 256 bits each: AES-256-GCM under a key that HMAC-SHA-256 derives from one of
// them and the record's salt, so that no nonce meets a key twice however many records there are.
// The first key seals, all of them open: a key is replaced by putting the new one first, and the
// old one is taken away when what it sealed has expired.
class RecordKeys final : public cache::RecordCipher {
 public:
  // At least one key.
  explicit RecordKeys(const std::vector<rules::RecordKey>& keys);

  uint32_t key() const override { return keys_.front().number; }
  std::string Salt() const override;
  std::string Seal(uint32_t key, std::string_view salt, uint32_t value,
                   std::string_view authenticated, std::string_view bytes) const override;
  bool Open(uint32_t key, std::string_view salt, uint32_t value, std::string_view authenticated,
            std::string_view sealed, std::string& bytes) const override;

 private:
  struct Numbered {
    uint32_t number;  // of its digest: the same in every process, and never 0
    rules::RecordKey key;
  };
  const Numbered* Find(uint32_t number) const;
  std::vector<Numbered> keys_;
};

}  // namespace satchel::redis
