#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "cache/response_facts.h"

namespace satchel::cache {

// The fixed part of a record, 64 bytes, little endian. What a 304 renews stands together at its
// end, under a checksum of its own, so that it can be written anew where the rest lies:
//
//    0  u16  magic "St"                  22  u16  facts, one bit each
//    2  u8   version                     24  u16  rule
//    3  u8   flags, see below            26  i48  received, Unix ms
//    4  u32  size of the body            32  u32  initial age
//    8  u32  CRC-32C of bytes 0 to 7     36  u32  lifetime
//            and 12 to 21 and of what    40  u24  stale-while-revalidate
//            follows the head; 0 where   43  u24  stale-if-error
//            a tag takes its place       46  i40  Date, Unix seconds
//   12  u64  entry                       51  u56  purge sequence
//   20  u16  status                      58  u8   why it was stored
//                                        59  u8   fetch time, as PackFetchTime() puts it
//                                        60  u32  CRC-32C of entry and bytes 22 to 59
//
// Age and lifetime are in milliseconds, or in seconds if the highest bit is set; stale windows in
// milliseconds, seconds, or units of 1024 seconds, as the highest two bits say.
struct RecordHead {
  static constexpr size_t kSize = 64;
  static constexpr size_t kVersionAt = 2;
  static constexpr size_t kSumAt = 8;
  static constexpr size_t kEntryAt = 12;
  static constexpr size_t kFirstRenewed = 22;
  static constexpr size_t kReceivedAt = 26;
  static constexpr uint8_t kVersion = 3;

  enum Flag : uint8_t {
    kZstd = 1,
    kMarker = 2,   // the key has several variants: the texts tell by which request fields
    kChunked = 4,  // the body stands in chunks of its own
    kEncrypted = 8,
  };

  uint8_t flags = 0;
  uint32_t body_size = 0;
  uint32_t sum = 0;
  uint64_t entry = 0;
  ResponseFacts facts;
  uint64_t sequence = 0;
  bool date_renewed = false;  // Date is this one, not the header block's
};

// `clock_offset` is added to `received`: from the local clock to the one that all readers share.
std::string PackHead(const RecordHead& head, Millis clock_offset);
// Bytes kFirstRenewed to kSize of it.
std::string PackRenewed(const RecordHead& head, Millis clock_offset);

// Everything that can be said of a head alone, which is little of what is not renewed: that has no
// sum of its own. `bytes` may go on behind it.
Result<RecordHead> UnpackHead(std::string_view bytes, Millis clock_offset);

// Of a record in the clear, at least a head long: what must stand in its head as `sum`.
uint32_t SumOf(std::string_view record);
// Writes it there.
void PutSum(std::string& record);

}  // namespace satchel::cache
