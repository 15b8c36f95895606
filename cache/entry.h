#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/stored_response.h"

namespace satchel::cache {

// What a shard keeps beside a stored response: 40 bytes in two pieces, and nothing of it is shared
// with other entries, so that a hit writes to one line only. Guarded by the shard's mutex.
//
// This piece is all that is looked at of the entries of other keys in a bucket.
struct ChainLink {
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t hash = 0;      // low half of the key hash
  uint32_t next = kNone;  // in the bucket's chain, or in the free list
};

struct alignas(32) Entry {
  static constexpr uint32_t kNone = ChainLink::kNone;
  static constexpr uint32_t kNeverExpires = (1u << 24) - 1;
  static constexpr size_t kChargeUnit = 16;
  static constexpr uint8_t kMaxFrequency = 255;

  StoredPtr response;  // null in a free slot
  uint32_t heap_at = kNone;
  uint32_t charge = 0;                    // in units of 16 bytes
  float stamp = 0;                        // inflation at the last use, above the queue's base
  uint32_t expires : 24 = kNeverExpires;  // in units of 4 s since the store's first tick
  uint32_t frequency : 8 = 0;

  size_t charged_bytes() const { return size_t{charge} * kChargeUnit; }
};
static_assert(sizeof(Entry) + sizeof(ChainLink) == 40);

// Entries by number, at addresses that never change. Not thread-safe.
class EntrySlab {
 public:
  Entry& operator[](uint32_t id) { return blocks_[id / kBlock]->entries[id % kBlock]; }
  const Entry& operator[](uint32_t id) const { return blocks_[id / kBlock]->entries[id % kBlock]; }
  ChainLink& link(uint32_t id) { return blocks_[id / kBlock]->links[id % kBlock]; }
  const ChainLink& link(uint32_t id) const { return blocks_[id / kBlock]->links[id % kBlock]; }

  // Entry::kNone when all numbers are used up.
  uint32_t Allocate();
  void Free(uint32_t id);  // the response must be gone already

  uint32_t size() const { return end_; }  // numbers handed out so far, free ones included

 private:
  static constexpr uint32_t kBlock = 128;
  struct alignas(64) Block {
    std::array<ChainLink, kBlock> links;
    std::array<Entry, kBlock> entries;
  };
  std::vector<std::unique_ptr<Block>> blocks_;
  uint32_t end_ = 0;
  uint32_t free_ = Entry::kNone;
};

}  // namespace satchel::cache
