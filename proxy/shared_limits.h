#pragma once

#include <atomic>
#include <cstdint>

#include "proxy/limit_debts.h"
#include "proxy/limit_stats.h"
#include "proxy/limit_switch.h"
#include "proxy/local_limiter.h"

namespace satchel::proxy {

// What the limiters of all workers have in common. Any thread.
struct SharedLimits {
  explicit SharedLimits(size_t max_identities = 200'000) : local(max_identities) {}

  LocalLimiter local;
  LimitDebts debts;
  LimitStats stats;
  LimitSwitch kill_switch;
  // Live instances that share the limits' Redis, at least 1; the count last heard of holds.
  std::atomic<size_t> instances{1};
};

}  // namespace satchel::proxy
