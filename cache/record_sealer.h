#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/clock.h"
#include "cache/base/result.h"
#include "cache/record_rest.h"
#include "cache/stored_response.h"

namespace satchel::cache {

struct SealOptions {
  // Added to local times: the offset of the clock that all readers share (Redis TIME).
  Millis clock_offset{0};
  // Bodies from here on are tried with zstd if their type is compressible and they carry no
  // Content-Encoding. What saves less than a fifth stays as it is.
  size_t compress_from = 1024;
  // Bodies that are kept in more bytes stand in chunks.
  size_t chunk_above = size_t{512} << 10;
  const RecordCipher* cipher = nullptr;  // null: in the clear
};

struct SealedRecord {
  std::string value;
  std::vector<std::string> chunks;  // to be stored before it
  uint64_t entry = 0;
};

// A response on its way out, as a record (envelope.h). A large one takes milliseconds, so it can be
// made a slice at a time. One thread at a time; what the options point to must outlive it.
class RecordSealer {
 public:
  // `response` must be complete and smaller than 4 GiB; else the result is an error.
  static Result<RecordSealer> Begin(StoredPtr response, const SealOptions& options = {});
  RecordSealer(RecordSealer&&) noexcept;
  RecordSealer& operator=(RecordSealer&&) noexcept;
  ~RecordSealer();

  // Does about 0.25 ms of the work. True: there is more to be done.
  bool Step();
  // Does what is left of it at once. The entry is a number for texts and body: the same for the
  // same content, and random if it is encrypted.
  Result<SealedRecord> Finish() &&;

 private:
  class EntryHash;
  friend struct RenewedRecord;

  RecordSealer(StoredPtr response, const SealOptions& options);
  void TakeSlice();
  void Compress(std::string_view content);
  void Keep(std::string_view bytes);
  bool chunked() const { return kept_size_ > options_.chunk_above; }

  StoredPtr response_;
  SealOptions options_;
  Sealing sealing_;
  std::string texts_;
  std::unique_ptr<EntryHash> hash_;  // null: the entry's number is known
  uint64_t entry_ = 0;
  bool compressing_ = false;
  uint64_t taken_ = 0;               // bytes of the body
  uint64_t hashed_ = 0;              // of it
  std::vector<std::string> pieces_;  // what is kept of it, kChunkSize bytes in all but the last
  uint64_t kept_size_ = 0;
  std::vector<std::string> chunks_;
  bool failed_ = false;
};

// All of it at once.
Result<SealedRecord> SealRecord(StoredPtr response, const SealOptions& options = {});

// What becomes of the record of `old` when a 304 has made `updated` of it: the bytes to be written
// at RecordHead::kFirstRenewed, for the entry's number and with as many chunks. Nothing if more
// changed than stands in the head.
struct RenewedRecord {
  std::string bytes;
  uint64_t entry = 0;
  std::string first_bytes;  // with which such a record begins
  std::string entry_bytes;  // as they stand at RecordHead::kEntryAt

  static std::optional<RenewedRecord> From(const StoredResponse& old, const StoredResponse& updated,
                                           const SealOptions& options = {});
};

}  // namespace satchel::cache
