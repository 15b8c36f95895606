#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <span>

#include "cache/base/clock.h"
#include "cache/purge_table.h"
#include "cache/stored_response.h"

namespace satchel::cache {

// The purge table that all threads share. Every stored response carries a sequence up to which no
// purge concerns it. While nothing newer was purged a use costs one comparison with head(); when
// something was, the response is judged once and its sequence raised, so that the next use is cheap
// again. Thread-safe.
//
// Sequences are applied in increasing order: one that does not exceed the head counts as the next
// one after it. That may purge too much and never too little.
class Purges {
 public:
  struct Stats {
    size_t records = 0;
    std::array<std::array<uint64_t, 2>, kPurgeKinds> applied{};  // by kind; [1]: soft
    uint64_t gone = 0;      // responses that a hard purge ended
    uint64_t softened = 0;  // responses made stale by a soft purge
    uint64_t doubtful = 0;  // responses older than what is known of purges
  };

  explicit Purges(size_t max_records = 100'000) : table_(max_records) {}

  // The last purge known. What is fetched from now on is newer.
  uint64_t head() const { return head_.load(std::memory_order_acquire); }

  // Returns the sequence that they got: `sequence`, or the next one. `before`: the last one before
  // it.
  uint64_t Apply(std::span<const PurgeRecord> records, uint64_t sequence,
                 uint64_t* before = nullptr);
  // Everything stored so far is to be validated before it is served. Records up to then may be
  // forgotten if `forget`.
  void Doubt(uint64_t sequence, bool forget);
  // Something happened up to here that concerns nobody.
  void Advance(uint64_t sequence);

  PurgeVerdict Judge(const PurgeSubject& subject, uint64_t since) const;

  // The response as it may be used now: itself, a copy that is stale, or null.
  StoredPtr Check(const StoredPtr& response) const;
  // The same for what another instance has stored, before anybody else sees it. It may know of
  // purges that are not known here yet; one that is made here alone meanwhile gets a smaller
  // sequence, and must hold for it all the same.
  StoredPtr Adopt(const StoredPtr& foreign) const;

  // False: purges of other instances may have been missed, so that what they stored is not to be
  // used. True where there are no others.
  bool complete() const { return complete_.load(std::memory_order_acquire); }
  void SetComplete(bool complete) { complete_.store(complete, std::memory_order_release); }

  // Of the clock that sequences are read from, minus the local one.
  void SetClockOffset(Millis offset) {
    offset_ms_.store(offset.count(), std::memory_order_relaxed);
  }

  Stats stats() const;

 private:
  void RaiseHead(uint64_t sequence);

  mutable std::shared_mutex mutex_;  // held for the table only; a leaf: nothing is locked under it
  PurgeTable table_;
  std::atomic<uint64_t> head_{0};
  std::atomic<bool> complete_{true};
  std::atomic<int64_t> offset_ms_{0};
  std::array<std::array<std::atomic<uint64_t>, 2>, kPurgeKinds> applied_{};
  mutable std::atomic<uint64_t> gone_{0};
  mutable std::atomic<uint64_t> softened_{0};
  mutable std::atomic<uint64_t> doubtful_{0};
};

PurgeSubject SubjectOf(const StoredResponse& response);

}  // namespace satchel::cache
