#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/entry.h"

namespace satchel::cache {

// Lazy greedy-dual: the priority of an object is L + f / size^a, where L is the priority of the
// last victim ("inflation"), f how often it was used and `a` the size exponent. A hit writes f and
// the current L into the entry and nothing else; since priorities only grow, the heap may hold old
// ones and is put right when its head is looked at. The order is exactly that of GDSF.

// L, one for all shards. Never falls.
class Inflation {
 public:
  double value() const { return value_.load(std::memory_order_relaxed); }
  void Raise(double to);

 private:
  std::atomic<double> value_{0};
};

// How often evicted objects had been used: 4 rows of 4-bit counters, 8 bytes per resident object.
// Counters are raised at eviction and halved from time to time. Not thread-safe.
class FrequencySketch {
 public:
  static constexpr uint32_t kMax = 15;

  void Raise(uint32_t hash, uint32_t frequency);
  uint32_t Estimate(uint32_t hash) const;
  // Called when the number of resident objects grows. What was learned stays.
  void EnsureRoomFor(size_t objects);
  size_t memory() const { return rows_.size(); }

 private:
  static constexpr size_t kRows = 4;
  static constexpr size_t kMinWidth = 64;  // counters per row
  size_t Position(uint32_t hash, size_t row) const;
  uint32_t Get(size_t position) const;
  void Set(size_t position, uint32_t value);
  void Age();

  std::vector<uint8_t> rows_;  // two counters in a byte, row after row
  size_t width_ = 0;           // counters per row, a power of two
  size_t raised_ = 0;
};

// The entries of one shard by priority. Guarded by the shard's mutex, but for published_head().
class EvictionQueue {
 public:
  EvictionQueue(EntrySlab& slab, const Inflation& inflation, double size_exponent);

  // The bookkeeping of a hit.
  void Touch(Entry& entry) {
    if (entry.frequency != Entry::kMaxFrequency) entry.frequency = entry.frequency + 1u;
    const float now = Stamp();
    if (entry.stamp != now) entry.stamp = now;
  }

  // `charge` is set. The frequency starts from what is remembered of this hash, or from `uses` of
  // the response it replaces.
  void Add(uint32_t id, uint32_t uses);
  // Removes without remembering: purged, replaced or expired.
  void Remove(uint32_t id);
  // Brings the head up to date. Infinity if there is none.
  double RefreshHead();
  // The entry at the head, which must exist and be up to date; remembers its frequency.
  uint32_t PopHead();

  // A lower bound of the head's priority, readable without the lock.
  double published_head() const { return published_.load(std::memory_order_relaxed); }
  size_t size() const { return heap_.size(); }

 private:
  struct Slot {
    float priority;  // above base_
    uint32_t id;
  };
  float Stamp() const { return static_cast<float>(inflation_.value() - base_); }
  float Priority(const Entry& entry) const;
  void Place(size_t at, Slot slot);
  void SiftUp(size_t at, Slot slot);
  void SiftDown(size_t at, Slot slot);
  void Detach(uint32_t id);
  void Rebase();
  void Publish();

  EntrySlab& slab_;
  const Inflation& inflation_;
  const double exponent_;
  // Stamps are kept as floats above this; it follows the inflation so that they stay exact.
  double base_ = 0;
  const double rebase_after_;
  std::vector<Slot> heap_;
  FrequencySketch evicted_;
  std::atomic<double> published_;
};

}  // namespace satchel::cache
