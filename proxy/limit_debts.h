#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/limit_verdict.h"
#include "rules/sliding_window.h"

namespace satchel::proxy {

// What this process let through while Redis was away, to be charged when it is back. Each window
// has its own log, so that what has left it by then is not charged. Shared by all workers; any
// thread. Bounded: beyond `max` identities nothing more is written down, and counted.
class LimitDebts {
 public:
  struct Debt {
    std::string policy;
    std::array<char, 22> id{};
    uint32_t max_entries = 0;
    std::vector<rules::RateWindow> windows;
    std::vector<int64_t> units;  // for each window; none is all zero
  };

  explicit LimitDebts(size_t max = 100'000) : max_(max) {}

  void Add(const LimitCheck& check, int64_t units, int64_t now_us);
  // Up to `most` debts; they are no longer here.
  std::vector<Debt> Take(size_t most, int64_t now_us);
  // Again, because the charge was not sent.
  void PutBack(const Debt& debt, int64_t now_us);
  bool empty() const { return size() == 0; }
  size_t size() const { return count_.load(std::memory_order_relaxed); }
  uint64_t lost() const;  // identities that found no room
  bool Forget(const std::string& key);  // a LocalKey; true if there was anything

 private:
  struct Entry {
    std::string policy;
    std::array<char, 22> id{};
    uint32_t max_entries = 0;
    std::vector<rules::RateWindow> windows;
    std::vector<rules::WindowLog> logs;
  };

  void AddTo(Entry& entry, size_t window, int64_t units, int64_t now_us);
  Entry* Find(std::string key);

  const size_t max_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;
  uint64_t lost_ = 0;
  std::atomic<size_t> count_{0};  // of entries_, for those who only want to know
};

}  // namespace satchel::proxy
