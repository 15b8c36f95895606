#include "proxy/local_limiter.h"

#include <algorithm>
#include <bitset>
#include <functional>

namespace satchel::proxy {

LocalLimiter::LocalLimiter(size_t max_identities) {
  const size_t each = std::max<size_t>(1, max_identities / kShards);
  for (auto& shard : shards_) shard = std::make_unique<Shard>(each);
}

size_t LocalLimiter::ShardOf(std::string_view key) {
  return std::hash<std::string_view>()(key) % kShards;
}

int64_t LocalLimiter::Check(std::span<const rules::LimitAsk> asks, const rules::Charge& charge,
                            int64_t now_us, std::span<rules::LimitStates> states) {
  std::bitset<kShards> wanted;
  for (const rules::LimitAsk& ask : asks) wanted.set(ShardOf(ask.key));
  // Always in the same order: two calls can't wait for each other.
  std::array<std::unique_lock<std::mutex>, kShards> locks;
  for (size_t i = 0; i < kShards; ++i) {
    if (wanted[i]) locks[i] = std::unique_lock(shards_[i]->mutex);
  }
  std::array<rules::LimitTable::Node*, kMaxAsks> nodes;
  for (size_t i = 0; i < asks.size(); ++i) {
    nodes[i] = shards_[ShardOf(asks[i].key)]->table.Find(asks[i], now_us, i);
  }
  return rules::LimitTable::Check(std::span(nodes).first(asks.size()), asks, charge, now_us,
                                  states);
}

void LocalLimiter::GiveBack(std::string_view key, int64_t slots) {
  Shard& shard = *shards_[ShardOf(key)];
  const std::lock_guard lock(shard.mutex);
  shard.table.GiveBack(key, slots);
}

bool LocalLimiter::Forget(std::string_view key) {
  Shard& shard = *shards_[ShardOf(key)];
  const std::lock_guard lock(shard.mutex);
  return shard.table.Forget(key);
}

size_t LocalLimiter::identities() const {
  size_t sum = 0;
  for (const auto& shard : shards_) {
    const std::lock_guard lock(shard->mutex);
    sum += shard->table.size();
  }
  return sum;
}

uint64_t LocalLimiter::evictions() const {
  uint64_t sum = 0;
  for (const auto& shard : shards_) {
    const std::lock_guard lock(shard->mutex);
    sum += shard->table.evictions();
  }
  return sum;
}

}  // namespace satchel::proxy
