#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "cache/record_cipher.h"
#include "cache/record_head.h"
#include "cache/vary.h"

namespace satchel::cache {

// The form in which responses leave this process: a head (record_head.h), a part of texts, the
// body. Texts: key, header block, Vary, selecting values, part of a 206, each behind its size;
// tags, 8 bytes each, behind their number. A response is complete here (Content-Length is always
// the body's true one).
//
// A compressed body (record_frames.h) is preceded, before the texts, by the size it is kept in
// (u32). A large one stands in chunks of its own, each a value (record_chunk.h). An encrypted
// record has the head in the clear, then number of the key and salt, then what else there is
// (record_rest.h); its chunks are encrypted and have no sum.
//
// Opening trusts nothing: every size is checked against what is there, all sums must fit, the
// header block is parsed again, and unknown versions or flags are errors. Any error means: a miss.
// record_sealer.h makes records of responses, record_reader.h responses of records; here is what is
// kept beside them.

enum class RecordKind : uint8_t {
  kUnknown,  // not ours, another version, or shorter than a head
  kResponse,
  kVaryMarker,  // the key has several variants: this tells by which request fields
};
// Look at the head only; the record may still prove to be damaged.
RecordKind KindOf(std::string_view bytes);
bool IsEncrypted(std::string_view bytes);

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
