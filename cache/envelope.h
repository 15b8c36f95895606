#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/base/clock.h"
#include "cache/base/result.h"
#include "cache/stored_response.h"
#include "cache/vary.h"

namespace satchel::cache {

// The form in which responses leave this process. A record is a head of 76 bytes, little endian,
// then a part of texts, then the body:
//
//    0  u32  magic "StcR"               28  u32  lifetime
//    4  u8   version                    32  u32  stale-while-revalidate
//    5  u8   flags: 1 zstd, 2 marker    36  u32  stale-if-error
//    6  u16  status                     40  u16  facts, one bit each
//    8  i64  received, Unix ms          42  u8   why it was stored
//   16  i64  Date, Unix ms              43  u8   fetch time, as PackFetchTime() puts it
//   24  u32  initial age                44  u32  size of the body
//                                       48  u32  size of the texts
//                                       52  u32  size of the body as it stands here
//                                       56  u32  CRC-32C of texts and body
//   60  u16  rule                       62  u16  0
//   64  u64  purge sequence             72  u32  CRC-32C of the first 72 bytes
//
// Durations are in milliseconds, or in seconds if the highest bit is set. Texts: key, header block,
// Vary, selecting values, part of a 206, each behind its size; tags, 8 bytes each, behind their
// number. A response is complete here (Content-Length is always the body's true one).
//
// Opening trusts nothing: every size is checked against what is there, both sums must fit, the
// header block is parsed again, and unknown versions or flags are errors. Any error means: a miss.

enum class RecordKind : uint8_t {
  kUnknown,  // not ours, another version, or shorter than a head
  kResponse,
  kVaryMarker,  // the key has several variants: this tells by which request fields
};
// Looks at the head only; the record may still prove to be damaged.
RecordKind KindOf(std::string_view bytes);

struct SealOptions {
  // Added to local times: the offset of the clock that all readers share (Redis TIME).
  Millis clock_offset{0};
  // Bodies of these sizes are tried with zstd if their type is compressible and they carry no
  // Content-Encoding. What saves less than a fifth stays as it is.
  size_t compress_from = 1024;
  size_t compress_up_to = size_t{256} << 10;  // beyond it a loop thread would be held up too long
};

struct OpenOptions {
  Millis clock_offset{0};              // taken off the recorded times
  size_t max_body = size_t{64} << 20;  // bytes; larger ones are errors, whatever they claim
};

// `response` must be complete and smaller than 4 GiB; else the result is an error.
Result<std::string> SealRecord(const StoredResponse& response, const SealOptions& options = {});

// The error's message is the reason, for example "checksum".
Result<StoredPtr> OpenRecord(std::string_view bytes, std::string_view expected_key,
                             const OpenOptions& options = {});

std::string SealVaryMarker(std::string_view key, const VarySpec& vary);
Result<VarySpec> OpenVaryMarker(std::string_view bytes, std::string_view expected_key);

}  // namespace satchel::cache
