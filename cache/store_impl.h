#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/purges.h"
#include "cache/search_table.h"
#include "cache/shard.h"
#include "cache/store.h"
#include "cache/uncacheable.h"

namespace satchel::cache {

// What the store and its fills share: the shards and one budget of bytes for all of them.
//
// Locks, in this order: a shard's, a fill's, the purges'. Nothing is reserved, freed or woken under either.
struct Store::Impl {
  explicit Impl(Options o);

  Shard& ShardOf(uint64_t hash) { return *shards[hash >> 32 & (shards.size() - 1)]; }

  // Takes bytes from the budget, evicting as needed. False if what is left cannot be evicted.
  bool Reserve(size_t wanted, Shard& own);
  void Unreserve(size_t amount) { bytes.fetch_sub(amount, std::memory_order_relaxed); }
  // The same for growing responses, which together may hold half of the budget, or as much as one
  // object may have.
  bool ReserveForFill(size_t wanted, Shard& own);
  void UnreserveForFill(size_t amount);

  // What an entry costs: `charge` of its response and the store's own share.
  static size_t EntryCharge(size_t charge);
  size_t admitted() const {
    return static_cast<size_t>(static_cast<double>(options.capacity) * options.admit_share);
  }
  bool Admits(size_t entry_charge) const { return entry_charge <= admitted(); }

  // Puts a response in, with `reserved` bytes of the budget that the caller holds (they are used
  // or given back). `fill`, if any, leaves the table in the same step; a doomed one inserts
  // nothing. `charge` is normally EntryCharge(response->charge()).
  bool Insert(const CacheKey& key, StoredPtr response, size_t charge, size_t reserved,
              size_t vary_limit, Fill* fill);
  void Unlist(Fill& fill);
  // Wants the shard's lock.
  void UnlistLocked(Shard& shard, Fill& fill);

  void Tick(Time now);
  size_t Invalidate(const CacheKey& key);
  void Clear();
  // Puts what a purge made of a stored response in its place, or (null) takes it out.
  void Replace(const CacheKey& key, const StoredPtr& old, StoredPtr now);
  void Drop(const CacheKey& key, const StoredResponse& response);

  bool LayInFile(const StoredPtr& response);

  // Lets go of what left a shard, outside its lock.
  void Discard(Victims& victims);

  const Options options;
  Inflation inflation;
  std::vector<std::unique_ptr<Shard>> shards;
  UncacheableKeys uncacheable;
  SearchTable equivalents;
  Purges purges;

  std::atomic<size_t> bytes{0};       // of entries and fills; never above capacity
  std::atomic<size_t> fill_bytes{0};  // the fills' part of it
  std::atomic<size_t> pass_bytes{0};  // held by passes; not in `bytes`
  std::atomic<size_t> objects{0};
  std::atomic<size_t> fills{0};
  std::atomic<uint64_t> insertions{0};
  std::atomic<uint64_t> evictions{0};
  std::atomic<uint64_t> expirations{0};
  std::atomic<uint64_t> rejected_too_large{0};
  std::atomic<uint64_t> invalidations{0};
  std::atomic<uint64_t> files_refused{0};
  std::atomic<size_t> most_files{options.files.files};

 private:
  // Under the shard's lock; what it takes out is let go of after it.
  template <typename Change>
  void Alter(const CacheKey& key, Change change);
  bool EvictSome(size_t needed, Shard& own);
  size_t EvictFrom(Shard& shard, double bound, size_t needed);
  uint32_t ExpiryUnits(const ResponseFacts& facts) const;
  uint32_t NowUnits() const;

  std::atomic<int64_t> epoch_{0};  // first tick, Unix milliseconds; 0: none yet
  std::atomic<int64_t> now_{0};
};

}  // namespace satchel::cache
