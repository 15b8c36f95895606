#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "cache/response_facts.h"

namespace satchel::cache {

// The fixed part of a record, little endian. What a 304 renews stands together at its end, under a
// checksum of its own, so that it can be written anew where the rest lies:
//
//    0  u32  magic "StcR"               40  i64  received, Unix ms
//    4  u8   version                    48  i64  Date, Unix ms
//    5  u8   flags, see below           56  u64  purge sequence
//    6  u16  status                     64  u32  initial age
//    8  u32  size of the body           68  u32  lifetime
//   12  u32  size of the texts          72  u32  stale-while-revalidate
//   16  u32  size of the body as kept   76  u32  stale-if-error
//   20  u32  CRC-32C of what follows    80  u16  facts, one bit each
//            the head in this value     82  u8   why it was stored
//   24  u64  entry                      83  u8   fetch time, as PackFetchTime() puts it
//   32  u32  encryption key, or 0       84  u16  rule
//   36  u32  CRC-32C of the 36 bytes    86  u8   1: Date is this one, not the header block's
//            before it                  87  u8   0
//                                       88  u32  CRC-32C of entry and bytes 40 to 87
//
// Durations are in milliseconds, or in seconds if the highest bit is set.
struct RecordHead {
  static constexpr size_t kSize = 92;
  static constexpr size_t kVersionAt = 4;
  static constexpr size_t kEntryAt = 24;
  static constexpr size_t kFirstRenewed = 40;
  static constexpr uint8_t kVersion = 2;

  enum Flag : uint8_t {
    kZstd = 1,
    kMarker = 2,   // the key has several variants: the texts tell by which request fields
    kChunked = 4,  // the body stands in chunks of its own
    kEncrypted = 8,
  };

  uint8_t flags = 0;
  uint32_t body_size = 0;
  uint32_t text_size = 0;
  uint32_t kept_size = 0;
  uint32_t sum = 0;
  uint64_t entry = 0;
  uint32_t key = 0;
  ResponseFacts facts;
  uint64_t sequence = 0;
  bool date_renewed = false;
};

// `clock_offset` is added to `received`: from the local clock to the one that all readers share.
std::string PackHead(const RecordHead& head, Millis clock_offset);
// Bytes kFirstRenewed to kSize of it.
std::string PackRenewed(const RecordHead& head, Millis clock_offset);

// Everything that can be said of a head alone. `bytes` may go on behind it.
Result<RecordHead> UnpackHead(std::string_view bytes, Millis clock_offset);

}  // namespace satchel::cache
