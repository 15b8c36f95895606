#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/search_variance.h"

namespace satchel::cache {

// Under which URI's key a response is stored that answers other queries of its path too
// (No-Vary-Search). It only points: whoever follows it looks at what is there now, and whether that
// still says that it answers.
//
// Bounded in bytes; what is forgotten costs a fetch. Asked only where the URI itself has nothing
// fresh, for one load while nothing is known. Thread-safe.
class SearchTable {
 public:
  static constexpr size_t kMaxPaths = 1024;
  static constexpr size_t kMaxVariances = 4;  // per path
  static constexpr size_t kMaxNames = 32;     // in a variance
  static constexpr size_t kMaxKey = 2048;     // bytes

  struct Pointer {
    std::string key;
    uint64_t asked = 0;  // the last purge known when the origin was asked for the response
  };

  explicit SearchTable(size_t max_bytes) : max_bytes_(max_bytes) {}

  bool empty() const { return size() == 0; }
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  uint64_t forgotten() const { return forgotten_.load(std::memory_order_relaxed); }

  // A response stored under `key` says `variance`. Too long a key, or too many names, are not
  // learned.
  void Learn(std::string_view key, const SearchVariance& variance, uint64_t asked);
  // By what the queries of this key's path were last said to be told apart; null: not known.
  std::shared_ptr<const SearchVariance> VarianceOf(std::string_view key) const;
  // The pointers that may be of use to a request with this key, by the latest variance first.
  std::vector<Pointer> Find(std::string_view key) const;
  void Clear();

  // Somebody is about to fetch what this key names. Returns the key of an equivalent that somebody
  // said so of before, "" if there is none: it may have been fetched already. Where no variance is
  // known for the path nothing is remembered. `replaces`: that one has been looked for in vain.
  std::string Announce(std::string_view key, std::string_view replaces = {});

 private:
  static constexpr size_t kMaxAnnounced = 4096;
  using Variances = std::vector<std::shared_ptr<const SearchVariance>>;
  static size_t CostOf(const Pointer& pointer);
  void MakeRoom();

  const size_t max_bytes_;
  mutable std::mutex mutex_;
  // By hashes. Whoever follows a pointer compares, so that a collision costs a fetch and no more.
  std::unordered_map<uint64_t, Variances> paths_;
  std::deque<uint64_t> path_order_;  // the oldest first
  std::unordered_map<uint64_t, Pointer> pointers_;
  std::deque<uint64_t> order_;
  std::unordered_map<uint64_t, std::string> announced_;
  std::deque<uint64_t> announced_order_;
  size_t bytes_ = 0;
  std::atomic<size_t> size_{0};
  std::atomic<uint64_t> forgotten_{0};
};

}  // namespace satchel::cache
