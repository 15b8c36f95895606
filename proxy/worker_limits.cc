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

}  // namespace satchel::proxy
