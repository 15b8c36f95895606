#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "cache/record_cipher.h"
#include "cache/record_head.h"

// A record is its head and the rest, which is verified by the head's sum, or encrypted: then the
// number of the key (u32), a salt and the encrypted bytes with their tag take its place, and head
// and key text are authenticated with them.
namespace satchel::cache {

// How one record is encrypted.
struct Sealing {
  const RecordCipher* cipher = nullptr;  // null: in the clear
  std::string salt;                      // new for each record
};

// Sets what the head says of it. Empty on failure.
std::string JoinRecord(RecordHead head, Millis clock_offset, std::string_view key,
                       const Sealing& sealing, std::string_view rest);

struct OpenedRest {
  std::string_view bytes;  // within `value` or `decrypted`
  std::string decrypted;
  uint32_t number = 0;  // of the key; 0: it stood in the clear
  std::string_view salt;
};
// Verified. Null, or why not.
const char* OpenRest(const RecordHead& head, std::string_view value, std::string_view key,
                     const RecordCipher* cipher, OpenedRest& out);

}  // namespace satchel::cache
