#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"

namespace satchel::redis {

// Which instances share the Redis: each writes its name into "<prefix>:nodes" (score: the server's
// milliseconds) every five seconds, with the last purge it knows of beside it. One that has been
// silent for three times as long counts as gone. One object per process. Owner thread only, but
// for live().
class Fleet {
 public:
  struct Options {
    std::string prefix = "satchel";
    std::string name;  // of this instance, unique in the fleet; see UniqueName()
    int64_t interval_ms = 5000;
    int64_t deadline_ms = 1000;
  };
  struct Node {
    std::string name;
    uint64_t sequence = 0;  // the last purge that it knew of when it wrote
  };
  using Done = std::function<void(cache::Result<std::vector<Node>>)>;

  // `commander` must be started after this was made, and outlive it.
  Fleet(net::EventLoop& loop, Commander& commander, Options options);

  // Host name, process id and a random part.
  static std::string UniqueName();

  void Start();
  // The last purge known; it is told with the next heartbeat, or at once if `now`.
  void SetSequence(uint64_t sequence, bool now);
  // Every live instance, this one included.
  [[nodiscard]] PendingReply List(Done done);
  // Others need not wait for this one any more.
  void Leave();

  // Live instances, at least 1: the count last heard of holds while Redis is away. Any thread.
  size_t live() const { return live_.load(std::memory_order_relaxed); }
  const std::string& name() const { return options_.name; }

 private:
  void Beat();

  net::EventLoop& loop_;
  Commander& commander_;
  const Options options_;
  const std::string nodes_key_;
  const std::string sequences_key_;
  std::atomic<size_t> live_{1};
  uint64_t sequence_ = 0;
  bool soon_ = false;
  bool left_ = false;
  net::Timer timer_;
  PendingReply beat_;
};

}  // namespace satchel::redis
