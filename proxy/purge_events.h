#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "proxy/metrics.h"
#include "proxy/net/event_loop.h"
#include "proxy/purge_request.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/subscriber.h"
#include "rules/config.h"

namespace satchel::proxy {

// What a message of an application asks for: {"entity": "user", "id": "7", ...} names the tags that
// purge.events gives for its entity, filled in from its members; one without "entity" is what POST
// /purge takes. The error says why it asks for nothing. Pure.
cache::Result<PurgeRequest> RequestOfEvent(const rules::PurgeConfig& config,
                                           std::string_view message);

// Listens to purge.channel. Every instance hears every message, and one of them acts: the one that
// holds a lease in Redis. The others keep what they heard until the lease must have passed on, so
// that nothing is lost with its holder; what is done twice does no harm. Main thread only.
class PurgeEvents {
 public:
  static constexpr size_t kMaxKept = 10'000;  // messages, of which the oldest go
  using Counters = PurgeEventCounters;
  using Act = std::function<void(PurgeRequest request)>;

  PurgeEvents(net::EventLoop& loop, redis::Commander& commander, redis::Subscriber& subscriber,
              std::string prefix, std::string name, Act act);

  // Subscribes, or listens elsewhere or no more. `config` is copied.
  void Configure(const rules::PurgeConfig& config);
  const Counters& counters() const { return counters_; }

 private:
  struct Kept {
    int64_t since_ms;
    std::string message;
  };

  void OnMessage(std::string_view message);
  void Handle(std::string_view message);
  void Renew();
  void OnLease(bool held, int64_t sent_ms);
  bool holds() const { return loop_.now_ms() < held_until_ms_; }

  net::EventLoop& loop_;
  redis::Commander& commander_;
  redis::Subscriber& subscriber_;
  const std::string lease_key_;
  const std::string name_;
  const Act act_;
  rules::PurgeConfig config_;
  Counters counters_;
  std::deque<Kept> kept_;
  int64_t held_until_ms_ = 0;
  net::Timer renew_;
  redis::Subscriber::Subscription subscription_;
  redis::PendingReply asking_;
};

}  // namespace satchel::proxy
