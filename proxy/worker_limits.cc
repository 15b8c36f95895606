// The worker's part in limits: which Redis counts them.

#include <string>
#include <utility>

#include "proxy/redis_log.h"
#include "proxy/worker.h"

namespace satchel::proxy {

void Worker::BuildLimiter() {
  const rules::Config& config = snapshot_->config;
  redis::Commander* client = redis_client_.get();
  if (config.limits) {
    limit_client_ = redis::Connect(loop_, resolver_, *config.limits,
                                   redis::Accesses::From(*config.limits, snapshot_->limits_tls),
                                   LogRedisEvents(config.limits->redis));
    client = limit_client_.get();
  }
  RateLimiter::Options options;
  if (const rules::L2Config* store = config.limit_store()) {
    options.prefix = store->prefix;
    options.deadline_ms = store->deadline.count();
    options.token = shared_.instance + "/" + std::to_string(index_);
  }
  rate_limiter_ = std::make_unique<RateLimiter>(loop_, client, shared_.limits, std::move(options));
}

void Worker::SyncLimitMetrics() {
  const RateLimiter::Counters& counters = rate_limiter_->counters();
  const auto set = [](Counter& to, const net::Counter& from) {
    to.store(from.Get(), std::memory_order_relaxed);
  };
  const auto saved = [this](LimitSaving by) -> Counter& {
    return metrics_.limit_saved[static_cast<size_t>(by)];
  };
  set(metrics_.limit_calls, counters.calls);
  set(saved(LimitSaving::kCoalesced), counters.coalesced);
  set(saved(LimitSaving::kMemory), counters.from_memory);
  set(saved(LimitSaving::kLease), counters.from_lease);
  set(metrics_.limit_lease_lost, counters.lease_lost);
}

}  // namespace satchel::proxy
