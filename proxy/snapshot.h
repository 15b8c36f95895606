#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/base/result.h"
#include "proxy/access_log.h"
#include "proxy/net/tls.h"
#include "rules/config.h"
#include "rules/rule_set.h"

namespace satchel::proxy {

// One whole configuration, checked and compiled. Immutable and shared by all threads; an exchange
// keeps the one it began with.
struct Snapshot {
  uint64_t generation = 0;  // 1 at the start, one more with each reload
  rules::Config config;
  rules::RuleSet rules;  // of config.rules and config.rate_limits
  AccessLogOptions access_log;
  std::vector<std::shared_ptr<net::ServerTls>> listener_tls;  // as config.listeners; null: plain
  std::vector<std::shared_ptr<net::ClientTls>> upstream_tls;  // as config.upstreams; null: plain
  std::shared_ptr<net::ClientTls> redis_tls;                  // null: plain, or no Redis
  std::shared_ptr<net::ClientTls> limits_tls;                 // of stores.limits
};

using SnapshotPtr = std::shared_ptr<const Snapshot>;

// Builds everything that can fail before anything is applied. The error is fit for the log.
cache::Result<SnapshotPtr> BuildSnapshot(rules::Config config, uint64_t generation);

// What the configuration leaves to the machine: worker threads and bytes of L1.
uint32_t WorkersFor(const rules::Config& config);
size_t L1BytesFor(const rules::Config& config);

}  // namespace satchel::proxy
