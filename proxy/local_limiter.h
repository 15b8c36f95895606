#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "rules/rate_limit.h"
#include "rules/sliding_window.h"

namespace satchel::proxy {

// Exact windows in this process, shared by all workers: one table per shard of identities, each
// behind its own mutex. Any thread. Bounded: the least recently used identity is forgotten.
class LocalLimiter {
 public:
  static constexpr size_t kShards = 16;

  explicit LocalLimiter(size_t max_identities = 200'000);

  // `key` names policy and identity; `now_us` is a monotonic clock in microseconds.
  rules::LimitTable::Verdict Check(std::string_view key, const rules::Plan& plan,
                                   const rules::Charge& charge, int64_t now_us);

  size_t identities() const;
  uint64_t evictions() const;

 private:
  struct Shard {
    explicit Shard(size_t max) : table(max) {}
    mutable std::mutex mutex;
    rules::LimitTable table;
  };
  std::array<std::unique_ptr<Shard>, kShards> shards_;
};

}  // namespace satchel::proxy
