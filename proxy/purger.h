#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cache/purges.h"
#include "cache/store.h"
#include "proxy/metrics.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/purge_order.h"
#include "proxy/purge_refresher.h"
#include "proxy/redis/connect.h"
#include "proxy/redis/fleet.h"
#include "proxy/redis/purge_log.h"
#include "proxy/redis/subscriber.h"
#include "proxy/snapshot.h"

namespace satchel::proxy {

class PurgeEvents;
struct PurgeRequest;

// All purges of this process go through here, to where they hold: in this process, and by the log
// in Redis in all others. Made, and destroyed, on the main thread before and after the workers.
// Everything but PurgeHere(), PurgeFrom(), Refresh() and live_instances() belongs to the main thread.
class Purger {
 public:
  using Done = std::function<void(const PurgeAnswer&)>;

  // `store` must outlive it.
  Purger(net::EventLoop& loop, cache::Store& store, SnapshotPtr snapshot);
  ~Purger();
  Purger(const Purger&) = delete;
  Purger& operator=(const Purger&) = delete;

  void Start();
  // The log has been read for the first time, or cannot be: nothing is gained by waiting.
  bool settled() const;
  void Apply(SnapshotPtr snapshot);
  // Others need not wait for this instance any more.
  void Leave();

  // Without a shared store: purges at once and fills in the answer. Any thread.
  bool PurgeHere(const PurgeOrder& order, PurgeAnswer* answer);

  // `done` runs when the purge holds, after the call has returned.
  void Purge(PurgeOrder order, Done done);
  // The same from a worker: `done` runs on its loop, which must outlive this.
  void PurgeFrom(net::EventLoop& worker, PurgeOrder order, Done done);

  // Fetches again, as often a second as purge.refresh_rate says; beyond a bound the rest is left to
  // the next request for it. `sequence`: of the purge. Any thread; `refetch` is called on the main
  // thread.
  void Refresh(PurgeRefresh what, uint64_t sequence);
  void OnRefetch(PurgeRefresher::Refetch refetch) { refresher_.OnRefetch(std::move(refetch)); }

  // At least 1.
  size_t live_instances() const { return redis_ ? redis_->fleet.live() : 1; }
  // For others that listen, or null without Redis.
  redis::Subscriber* subscriber() { return redis_ ? &redis_->subscriber : nullptr; }
  redis::Commander* commander() { return redis_ ? redis_->commander.get() : nullptr; }
  PurgeStatus status() const;

 private:
  struct Redis {
    Redis(net::EventLoop& loop, cache::Purges& purges, const Snapshot& snapshot);
    net::Resolver resolver;
    std::unique_ptr<redis::Commander> commander;
    redis::Subscriber subscriber;
    redis::Fleet fleet;
    redis::PurgeLog log;
    std::unique_ptr<PurgeEvents> events;
    bool failed_once = false;
  };
  struct Wait;  // for instances

  void WaitForFleet(PurgeAnswer answer, Done done);
  void AskFleet(const std::shared_ptr<Wait>& wait);

  net::EventLoop& loop_;
  cache::Purges& purges_;
  SnapshotPtr snapshot_;
  void OnEvent(const PurgeRequest& request);

  std::set<std::shared_ptr<Wait>> waits_;
  PurgeRefresher refresher_;
  std::unique_ptr<Redis> redis_;  // null: memory alone
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::proxy
