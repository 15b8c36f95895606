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
#include "cache/record_cipher.h"
#include "cache/record_head.h"
#include "cache/stored_response.h"
#include "cache/vary.h"

namespace satchel::cache {

// The form in which responses leave this process: a head (record_head.h), a part of texts, the
// body. Texts: key, header block, Vary, selecting values, part of a 206, each behind its size;
// tags, 8 bytes each, behind their number. A response is complete here (Content-Length is always
// the body's true one).
//
// A large body stands in chunks of its own, each a value: a CRC-32C of entry, number and bytes,
// then the bytes. An encrypted record has the head in the clear, then a salt, then texts and body
// encrypted with a tag behind them; its chunks are encrypted and have no sum. Key and head are
// authenticated.
//
// Opening trusts nothing: every size is checked against what is there, all sums must fit, the
// header block is parsed again, and unknown versions or flags are errors. Any error means: a miss.

enum class RecordKind : uint8_t {
  kUnknown,  // not ours, another version, or shorter than a head
  kResponse,
  kVaryMarker,  // the key has several variants: this tells by which request fields
};
// Look at the head only; the record may still prove to be damaged.
RecordKind KindOf(std::string_view bytes);
bool IsEncrypted(std::string_view bytes);

struct SealOptions {
  // Added to local times: the offset of the clock that all readers share (Redis TIME).
  Millis clock_offset{0};
  // Bodies of these sizes are tried with zstd if their type is compressible and they carry no
  // Content-Encoding. What saves less than a fifth stays as it is.
  size_t compress_from = 1024;
  size_t compress_up_to = size_t{256} << 10;  // beyond it a loop thread would be held up too long
  // Bodies that are kept in more bytes stand in chunks of kChunkSize.
  size_t chunk_above = size_t{512} << 10;
  const RecordCipher* cipher = nullptr;  // null: in the clear

  static constexpr size_t kChunkSize = size_t{256} << 10;
};

struct OpenOptions {
  Millis clock_offset{0};              // taken off the recorded times
  size_t max_body = size_t{64} << 20;  // bytes; larger ones are errors, whatever they claim
  const RecordCipher* cipher = nullptr;
};

struct SealedRecord {
  std::string value;
  std::vector<std::string> chunks;  // to be stored before it
  uint64_t entry = 0;
};

// `response` must be complete and smaller than 4 GiB; else the result is an error. `entry` is a
// number for its texts and body: the same for the same content, and random if it is encrypted.
Result<SealedRecord> SealRecord(const StoredResponse& response, const SealOptions& options = {});

// What becomes of the record of `old` when a 304 has made `updated` of it: the bytes to be written
// at RecordHead::kFirstRenewed, for the entry's number and with as many chunks. Nothing if more
// changed than stands in the head.
struct RenewedRecord {
  std::string bytes;
  uint64_t entry = 0;
  std::string first_bytes;  // with which such a record begins
  std::string entry_bytes;  // as they stand at RecordHead::kEntryAt
};
std::optional<RenewedRecord> RenewRecord(const StoredResponse& old, const StoredResponse& updated,
                                         const SealOptions& options);

// One record on its way in. The error's message is the reason, for example "checksum".
class RecordReader {
 public:
  static Result<RecordReader> Begin(std::string_view value, std::string_view expected_key,
                                    const OpenOptions& options = {});
  bool encrypted() const { return head_.key != 0; }
  // Of these the chunks are wanted, in order.
  uint64_t entry() const { return head_.entry; }
  uint32_t chunks() const { return chunks_; }
  // Why it cannot be used, or null.
  const char* AddChunk(std::string_view value);
  // When all chunks have been added.
  Result<StoredPtr> Finish() &&;

 private:
  RecordReader() = default;

  RecordHead head_;
  StoredResponse::Parts parts_;
  const RecordCipher* cipher_ = nullptr;
  std::string key_;
  std::string salt_;
  uint32_t chunks_ = 0;
  uint32_t next_ = 0;
  std::shared_ptr<char[]> kept_;
  size_t kept_bytes_ = 0;
};

// A record without chunks.
Result<StoredPtr> OpenRecord(std::string_view bytes, std::string_view expected_key,
                             const OpenOptions& options = {});

// With a cipher: an empty string on failure.
std::string SealVaryMarker(std::string_view key, const VarySpec& vary,
                           const RecordCipher* cipher = nullptr);
Result<VarySpec> OpenVaryMarker(std::string_view bytes, std::string_view expected_key,
                                const RecordCipher* cipher = nullptr);

// A text under a key, and the last purge known when it came about: what is learned from a response
// and kept beside it. With a cipher: an empty string on failure.
struct Note {
  std::string text;
  uint64_t sequence = 0;
  bool operator==(const Note&) const = default;
};
std::string SealNote(std::string_view key, const Note& note, const RecordCipher* cipher = nullptr);
Result<Note> OpenNote(std::string_view bytes, std::string_view expected_key,
                      const RecordCipher* cipher = nullptr);

// Why records were of no use, for metrics.
enum class BadRecord : uint8_t {
  kVersion,   // not ours, or another format
  kChecksum,  // damaged
  kKey,       // another key's, or another variant's
  kCipher,    // no key for it, or not sealed with it
  kChunk,     // one is missing or damaged
  kForm,      // sizes, texts, facts
  kCount
};
BadRecord CauseOf(std::string_view error_message);

}  // namespace satchel::cache
