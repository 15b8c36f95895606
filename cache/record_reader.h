#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "cache/record_cipher.h"
#include "cache/record_head.h"
#include "cache/stored_response.h"

namespace satchel::cache {

struct OpenOptions {
  Millis clock_offset{0};              // taken off the recorded times
  size_t max_body = size_t{64} << 20;  // bytes; larger ones are errors, whatever they claim
  const RecordCipher* cipher = nullptr;
};

// One record (envelope.h) on its way in. Trusts nothing. The error's message is the reason, for
// example "checksum". One thread at a time.
class RecordReader {
 public:
  static Result<RecordReader> Begin(std::string_view value, std::string_view expected_key,
                                    const OpenOptions& options = {});
  bool encrypted() const { return number_ != 0; }
  // Of these the chunks are wanted, in order.
  uint64_t entry() const { return head_.entry; }
  uint32_t chunks() const { return chunks_; }
  // Why it cannot be used, or null.
  const char* AddChunk(std::string_view value);
  // When all chunks have been added: undoes a quarter of a megabyte of compression, which takes
  // about 0.3 ms. True: there is more to be undone.
  bool Unpack();
  // Undoes what is left of it at once.
  Result<StoredPtr> Finish() &&;

 private:
  RecordReader() = default;

  RecordHead head_;
  StoredResponse::Parts parts_;
  const RecordCipher* cipher_ = nullptr;
  uint32_t number_ = 0;
  std::string key_;
  std::string salt_;
  uint32_t chunks_ = 0;
  uint32_t next_ = 0;
  uint32_t kept_size_ = 0;
  std::shared_ptr<char[]> kept_;  // the body as kept
  size_t kept_bytes_ = 0;         // of it, come so far
  std::shared_ptr<char[]> body_;  // of a compressed one
  size_t undone_ = 0;             // bytes of kept_
  size_t body_bytes_ = 0;         // of body_
  const char* broken_ = nullptr;
};

// A record without chunks.
Result<StoredPtr> OpenRecord(std::string_view bytes, std::string_view expected_key,
                             const OpenOptions& options = {});

}  // namespace satchel::cache
