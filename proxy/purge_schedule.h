#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "proxy/metrics.h"
#include "proxy/net/event_loop.h"
#include "proxy/purge_request.h"
#include "proxy/redis/commander.h"
#include "proxy/schedule.h"
#include "rules/config.h"

namespace satchel::proxy {

// purge.schedule. All instances look at the clock; at each moment of an entry one of them purges, for
// all: the first to claim it in Redis. If it dies before it says that it is done, another takes over.
// Without Redis, or while that does not answer, each instance purges for itself: what is purged twice
// does no harm, what is not purged does. Main thread only.
class PurgeSchedule {
 public:
  // `done` tells whether all instances have the purge, or will have it.
  using Act = std::function<void(const PurgeRequest& request, const std::string& who,
                                 std::function<void(bool shared)> done)>;
  struct Options {
    std::string prefix{};  // of keys in Redis
    std::string instance{};
    int64_t claim_ms = 5000;       // who purges says so within that time
    int64_t done_ms = 3'600'000;   // clocks of instances are less than that apart
    int64_t deadline_ms = 1000;    // of one call
    int64_t look_ms = Schedule::kLookMs;
  };

  // `commander` is null without Redis, and not started yet.
  PurgeSchedule(net::EventLoop& loop, redis::Commander* commander, Options options,
                Schedule::Clock clock, Act act);

  // `config` is copied.
  void Configure(const rules::PurgeConfig& config);
  void Stop();
  ScheduleStatus status() const;

 private:
  struct Run {
    PurgeRequest request;
    std::string name;
    std::string key;
    int64_t until_ms = 0;  // then it is given up: the claim's holder has had its time twice
    net::Timer again;
    redis::PendingReply asking;
  };

  void Begin(const std::string& name, const PurgeRequest& request, cache::Time due);
  void Claim(const std::shared_ptr<Run>& run);
  void Purge(const std::shared_ptr<Run>& run, bool claimed);

  net::EventLoop& loop_;
  redis::Commander* const commander_;
  const Options options_;
  const Act act_;
  Schedule schedule_;
  std::map<std::string, std::shared_ptr<Run>> runs_;  // by name: one of each at most
  ScheduleStatus counts_;
};

}  // namespace satchel::proxy
