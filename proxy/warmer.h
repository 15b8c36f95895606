#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "proxy/net/event_loop.h"
#include "proxy/popularity.h"
#include "proxy/popularity_log.h"
#include "proxy/redis/commander.h"
#include "proxy/schedule.h"
#include "proxy/snapshot.h"
#include "proxy/warm_run.h"
#include "proxy/warm_status.h"

namespace satchel::proxy {

// Everything that is warmed: entries of `warmup` at the start and at their times, and what operators ask
// for. Each instance warms its own memory; the shared tier and the fleet's lock see to it that the origin
// is asked once. Main thread only.
class Warmer {
 public:
  static constexpr size_t kMaxRuns = 16;        // at once
  static constexpr size_t kMaxQueue = 50'000;   // requests that wait, of all runs
  static constexpr size_t kMaxRemembered = 16;  // runs that are over

  // Does one request on some worker; `done` runs on the main thread.
  using Send = WarmRun::Send;

  // `commander` is null without Redis, and not started yet. All must outlive this.
  Warmer(net::EventLoop& loop, redis::Commander* commander, Popularity& popularity,
         SnapshotPtr snapshot, Schedule::Clock clock, Send send,
         int64_t look_ms = Schedule::kLookMs);

  // Runs what is to be warmed at the start, and keeps the times. `ready` runs once, perhaps before this
  // returns: when every such entry has what the shared tier had, and ready_at of its requests are done, or
  // its ready_timeout has passed.
  void Start(std::function<void()> ready);
  bool ready() const { return ready_; }
  void Apply(SnapshotPtr snapshot);
  void Stop();  // nothing new begins

  // What an operator asks for.
  struct Order {
    std::string who{};
    std::vector<std::string> urls{};   // absolute
    FieldValues headers{};
    bool all_variants = false;
    std::vector<std::string> entries{};  // of `warmup`
    std::vector<std::string> rules{};    // what is asked for most that they match
    uint32_t concurrency = 4;
    double rate = 20;
  };
  // The run's number, or why there is none; `full` tells whether it may be tried again later.
  cache::Result<uint64_t> Begin(Order order, bool* full);

  WarmStatus status() const;
  bool counts() const { return counting_; }

 private:
  struct Gate {
    uint64_t run = 0;
    double share = 0;
    int64_t until_ms = 0;
  };

  // One run before it begins.
  struct Plan {
    WarmRun::Options options;
    std::vector<WarmRequest> requests;
    size_t top = 0;                  // so many of the history besides; 0: none
    std::vector<std::string> rules;  // of these, those that one of the rules matches; empty: all
  };

  void Configure();
  Plan PlanOf(const rules::WarmupConfig& entry, uint64_t id) const;
  void RunEntry(const std::string& name);
  void Launch(Plan plan);
  void Run(Plan plan);
  void OnChanged(uint64_t id);
  void Forget(uint64_t id);
  void LookAtGates();
  void AddRequests(const std::vector<std::string>& urls, const FieldValues& headers,
                   bool all_variants, std::vector<WarmRequest>& to) const;
  const rules::WarmupConfig* Find(const std::string& name) const;
  bool UnderWay(const std::string& name) const;
  size_t waiting() const;

  net::EventLoop& loop_;
  const Send send_;
  Popularity& popularity_;
  SnapshotPtr snapshot_;
  std::unique_ptr<PopularityLog> log_;  // null without Redis
  Schedule schedule_;
  bool stopped_ = false;
  bool counting_ = false;
  bool ready_ = false;
  std::function<void()> on_ready_;
  std::vector<Gate> gates_;
  net::Timer gate_timer_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<WarmRun>> runs_;  // under way
  std::map<uint64_t, std::string> reading_;  // names of runs whose history is being read
  std::deque<WarmProgress> past_;
  WarmStatus totals_;  // of what is over
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::proxy
