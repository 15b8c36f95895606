#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/cache_key.h"
#include "cache/entry.h"
#include "cache/eviction.h"
#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/purge_table.h"

namespace satchel::cache {

class Fill;

// Responses taken out of a shard. They are let go of after its lock, and their bytes are given back
// to the budget only then.
struct Victims {
  std::vector<StoredPtr> responses;
  size_t bytes = 0;
};

// One part of the store: the responses and fills of the keys that hash to it. Everything but
// published_head() wants `mutex` held.
class Shard {
 public:
  Shard(const Inflation& inflation, double size_exponent);
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  std::mutex mutex;

  // The response that the request selects: of several the one with the most recent Date (RFC 9111
  // 4.1), and counts the use. `others` is set if the key has responses, but none for the request.
  StoredPtr Find(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                 bool& others);
  // The same, but counts no use. Good while the lock is held; null if there is none.
  const StoredResponse* Peek(const CacheKey& key, const RequestHead& request,
                             const Overrides& overrides) const;
  // All responses of the key, the last used or stored first.
  void FindAll(const CacheKey& key, std::vector<StoredPtr>& out) const;
  // The Vary of the response last used or stored under the key, null if there is none.
  const VarySpec* KnownVary(const CacheKey& key) const;

  // Adds a response, replacing the one with the same selecting fields; of more than `vary_limit`
  // variants the least recently used goes. False if the table is full, or for a part of a response
  // that is there as a whole.
  bool Insert(const CacheKey& key, StoredPtr response, size_t charge, uint32_t expires,
              size_t vary_limit, Victims& victims);
  // If `old` is still there: `now` takes its place, which must cost the same; null takes it out.
  void Replace(const CacheKey& key, const StoredPtr& old, StoredPtr now, Victims& victims);
  // Takes out that response, whatever object stands for it by now.
  void Drop(const CacheKey& key, const StoredResponse& response, Victims& victims);
  bool Has(const CacheKey& key, const StoredPtr& response) const {
    return EntryOf(key, response) != Entry::kNone;
  }
  // Like Replace() for one that costs `charge` from then on. False: `old` is not there any more.
  bool Exchange(const CacheKey& key, const StoredPtr& old, StoredPtr now, size_t charge);
  size_t RemoveKey(const CacheKey& key, Victims& victims);
  void RemoveAll(Victims& victims);

  // Takes out the entry at the head of the queue, which must be up to date.
  void EvictHead(Victims& victims);
  // Adds those of up to `budget` entries from `at` on that a purge in the table has hit and that
  // have not been judged since. Returns where to go on; beyond the last entry when all have been
  // looked at.
  uint32_t CollectPurged(const PurgeTable& purged, uint32_t at, size_t budget,
                         std::vector<StoredPtr>& out) const;
  bool IsBehind(uint32_t at) const { return at >= slab_.size(); }

  // Looks at up to `budget` entries where the last call stopped and takes out those that expired
  // before `now` (in units of Entry::expires). Returns how many it took.
  size_t SweepExpired(uint32_t now, size_t budget, Victims& victims);

  EvictionQueue& queue() { return queue_; }
  size_t size() const { return queue_.size(); }
  double published_head() const { return queue_.published_head(); }

  // Growing responses that take readers or may insert, by key hash.
  std::unordered_multimap<uint64_t, std::shared_ptr<Fill>> fills;

 private:
  uint32_t& Bucket(uint32_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  uint32_t FirstOf(uint32_t hash) const {
    return buckets_.empty() ? Entry::kNone : buckets_[hash & (buckets_.size() - 1)];
  }
  bool Holds(uint32_t id, const CacheKey& key) const {
    return slab_.link(id).hash == static_cast<uint32_t>(key.hash()) &&
           slab_[id].response->key() == key.text();
  }
  // The entry that the request selects, or kNone; `seen`: how many the key has.
  uint32_t Select(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                  uint32_t& seen) const;
  uint32_t EntryOf(const CacheKey& key, const StoredPtr& response) const;
  void Grow();
  void Link(uint32_t id);
  void Unlink(uint32_t id);
  void TakeOut(uint32_t id, Victims& victims);  // unlinked, but still queued or just popped

  EntrySlab slab_;
  std::vector<uint32_t> buckets_;  // a power of two
  EvictionQueue queue_;
  uint32_t sweep_at_ = 0;
};

}  // namespace satchel::cache
