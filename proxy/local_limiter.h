#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include "rules/limit_table.h"

namespace satchel::proxy {

// Exact windows in this process, shared by all workers: one table per shard of identities, each
// behind its own mutex. Any thread. Bounded: the least recently used identity is forgotten.
class LocalLimiter {
 public:
  static constexpr size_t kShards = 16;
  static constexpr size_t kMaxAsks = 64;  // in one call

  explicit LocalLimiter(size_t max_identities = 200'000);

  // All asks at once: as many calls are granted as fit everywhere. `now_us` is a monotonic clock in
  // microseconds. asks and states have equal sizes, at most kMaxAsks.
  int64_t Check(std::span<const rules::LimitAsk> asks, const rules::Charge& charge, int64_t now_us,
                std::span<rules::LimitStates> states);
  void GiveBack(std::string_view key, int64_t slots = 1);
  bool Forget(std::string_view key);  // true if there was anything

  size_t identities() const;
  uint64_t evictions() const;

 private:
  struct Shard {
    explicit Shard(size_t max) : table(max) {}
    mutable std::mutex mutex;
    rules::LimitTable table;
  };
  static size_t ShardOf(std::string_view key);

  std::array<std::unique_ptr<Shard>, kShards> shards_;
};

}  // namespace satchel::proxy
