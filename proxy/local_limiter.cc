#include "proxy/local_limiter.h"

#include <algorithm>
#include <functional>

namespace satchel::proxy {

LocalLimiter::LocalLimiter(size_t max_identities) {
  const size_t each = std::max<size_t>(1, max_identities / kShards);
  for (auto& shard : shards_) shard = std::make_unique<Shard>(each);
}

rules::LimitTable::Verdict LocalLimiter::Check(std::string_view key, const rules::Plan& plan,
                                               const rules::Charge& charge, int64_t now_us) {
  Shard& shard = *shards_[std::hash<std::string_view>()(key) % kShards];
  const std::lock_guard lock(shard.mutex);
  return shard.table.Check(key, plan, charge, now_us);
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
