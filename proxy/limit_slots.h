#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"

namespace satchel::proxy {

// Slots of concurrency that requests of this worker hold in Redis. Each is renewed while it is
// held; should this process die, its slots run out within kHoldUs. Owner thread only.
class LimitSlots {
 public:
  static constexpr int64_t kHoldUs = 30'000'000;
  static constexpr int64_t kRenewMs = 10'000;
  static constexpr int64_t kDeadlineMs = 1000;

  // `commander` may be null: then nothing may be held. To be made before it is started.
  LimitSlots(net::EventLoop& loop, redis::Commander* commander);

  void Hold(const std::string& key, const std::string& member);
  void GiveBack(const std::string& key, const std::string& member);
  // Also of a slot that perhaps was never taken: the reply did not come.
  void Remove(const std::string& key, const std::string& member);
  size_t held() const { return count_; }
  void RenewNow();

 private:
  net::EventLoop& loop_;
  redis::Commander* commander_;
  std::unordered_map<std::string, std::unordered_set<std::string>> held_;
  size_t count_ = 0;
  net::Timer timer_;
};

}  // namespace satchel::proxy
