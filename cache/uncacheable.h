#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "cache/base/clock.h"
#include "cache/cache_key.h"

namespace satchel::cache {

// Keys whose answers are not shared, so that nobody queues on them. A bounded table: when it is
// full, what expires first makes room. A key is known by two hashes of 64 bits. Thread-safe.
class UncacheableKeys {
 public:
  UncacheableKeys(size_t capacity, Millis remembered_for);

  void Remember(const CacheKey& key, Time now);
  void Forget(const CacheKey& key);
  bool Contains(const CacheKey& key, Time now) const;
  void Clear();
  // Counts keys whose time is over until they are overwritten.
  size_t size() const { return used_.load(std::memory_order_relaxed); }

 private:
  struct Mark {
    uint64_t hash = 0;
    uint64_t check = 0;
    int64_t expires = 0;  // Unix milliseconds; 0 = free
  };
  static constexpr size_t kWays = 4;
  using Set = std::array<Mark, kWays>;

  static uint64_t Check(const CacheKey& key);
  Mark* Find(const CacheKey& key);

  const size_t set_count_;
  const Millis remembered_for_;
  mutable std::mutex mutex_;
  std::vector<Set> sets_;  // made at the first use
  std::atomic<size_t> used_{0};
};

}  // namespace satchel::cache
