#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache/base/clock.h"
#include "cache/base/result.h"
#include "cache/remote_store.h"
#include "cache/store.h"
#include "proxy/access_log.h"
#include "proxy/http1/parser.h"
#include "proxy/log_output.h"
#include "proxy/metrics.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/net/tls.h"
#include "proxy/limited_hit.h"
#include "proxy/popularity.h"
#include "proxy/purger.h"
#include "proxy/rate_limiter.h"
#include "proxy/redis/announcements.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/fleet_lock.h"
#include "proxy/redis/redis_store.h"
#include "proxy/request_filter.h"
#include "proxy/shared_limits.h"
#include "proxy/snapshot.h"
#include "proxy/upstream_pool.h"

namespace satchel::proxy {

class ClientConnection;
class FillTask;
class Listener;
struct WarmOutcome;
struct WarmRequest;

// One thread: its event loop, listeners, client connections, upstream pools, resolver and Redis
// connection. What workers share is in Shared. Everything but the constructor, Apply(),
// BeginDrain(), Stop() and open_connections() belongs to the worker's own thread.
class Worker {
 public:
  struct Shared {
    cache::Store& store;
    SharedLimits& limits;
    LogOutput& log_output;
    Purger& purger;
    Popularity& popularity;
    redis::Announcements* announcements;  // null without Redis
    std::string instance;                 // the name of this process, unique in the fleet
  };

  // All references must outlive the worker.
  Worker(uint32_t index, SnapshotPtr snapshot, Shared shared, WorkerMetrics& metrics);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Binds the listeners of the first snapshot; before Run(). A port of 0 is resolved by the first
  // worker: pass its bound_addresses() to the others.
  cache::Result<void> Listen(const std::vector<net::Address>& resolved);
  // In the order of config.listeners.
  std::vector<net::Address> bound_addresses() const;

  void Run();  // until Stop()

  // Any thread. New exchanges use the new snapshot; those under way keep theirs. Listeners that
  // are new are bound first; `failed` is told (on the worker's thread) why one could not be.
  void Apply(SnapshotPtr snapshot, std::function<void(std::string)> failed);
  void BeginDrain();  // any thread: stops accepting, closes idle connections, finishes the rest
  void Stop();        // any thread
  size_t open_connections() const { return open_connections_.load(std::memory_order_relaxed); }
  std::vector<ServerStatus> ServerStatuses() const;

  // For the objects of this worker.
  net::EventLoop& loop() { return loop_; }
  const SnapshotPtr& snapshot() const { return snapshot_; }
  cache::Store& store() { return shared_.store; }
  WorkerMetrics& metrics() { return metrics_; }
  AccessLog& access_log() { return access_log_; }
  net::Resolver& resolver() { return resolver_; }
  cache::RemoteStore* remote() { return redis_store_.get(); }  // null: memory alone
  // The response, which is stored or about to be, answers other queries of its path too: made known to
  // both tiers. `asked`: the last purge known when the origin was asked for it.
  void LearnEquivalents(const cache::StoredResponse& response, const cache::Overrides& overrides,
                        uint64_t asked);
  Purger& purger() { return shared_.purger; }
  // The same, and what else there is where Redis is configured.
  redis::RedisStore* redis_store() { return redis_store_.get(); }
  redis::FleetLock* fleet_lock() { return fleet_lock_.get(); }
  redis::Announcements& announcements() { return *shared_.announcements; }
  // How long fetches for the rule take of late; 0: none so far.
  cache::Millis FetchTime(const rules::Rule& rule) const;
  void NoteFetchTime(const rules::Rule& rule, cache::Millis time);
  RateLimiter& limiter() { return *rate_limiter_; }
  SharedLimits& limits() { return shared_.limits; }
  LimitedHitPool& limited_hits() { return limited_hits_; }
  http1::HeadParser& parser() { return parser_; }
  AuthorityCache& authority_cache() { return authority_cache_; }
  const std::shared_ptr<UpstreamPool>& pool(uint32_t upstream_index) const {
    return pools_[upstream_index];
  }
  bool draining() const { return draining_; }
  cache::Time WallNow() const;
  double Random();  // [0, 1)

  std::span<char> client_scratch() { return client_scratch_; }
  std::span<char> upstream_scratch() { return upstream_scratch_; }
  cache::RequestHead& scratch_head() { return scratch_head_; }
  cache::CacheKey& scratch_key() { return scratch_key_; }
  std::string& scratch_text() { return scratch_text_; }

  void Adopt(std::shared_ptr<ClientConnection> connection);
  void Release(ClientConnection* connection);  // deleted at the end of the turn
  bool HasRoomFor(const Listener& listener) const;
  void Keep(std::shared_ptr<FillTask> task);
  void Forget(FillTask* task);
  void SyncRedisNodes();    // the same for each server, once a second
  // Any thread: fetches the URL into the store, as a client's GET would.
  void Refetch(RefreshTarget target);
  // Any thread: brings the answer to the request into the store, from the shared tier alone or from the
  // origin too, by the same policy as for a client's. `done` runs on the worker's thread.
  void Warm(WarmRequest request, bool shared_only, std::function<void(WarmOutcome)> done);
  // Any thread: from now on it is counted what is asked for, or no more.
  void CountPopularity(bool on);
  // True for some requests: NotePopular() then has to be called.
  bool PopularityDue() { return sampler_.Due(); }
  // `vary`: of the answer; null if nothing was stored.
  void NotePopular(const rules::Rule* rule, const cache::RequestHead& head,
                   const cache::StoredResponse* answer);
  void SyncRedisMetrics();  // copies the Redis client's counters to where scrapes look
  void SyncLimitMetrics();  // and the limiter's

 private:
  void RefetchNow(const RefreshTarget& target);
  void WarmNow(const WarmRequest& request, bool shared_only,
               const std::function<void(WarmOutcome)>& done);
  void ApplyNow(SnapshotPtr snapshot, const std::function<void(std::string)>& failed);
  void BuildPools();
  void BuildRedis();
  void BuildLimiter();  // worker_limits.cc

  const uint32_t index_;
  Shared shared_;
  WorkerMetrics& metrics_;
  SnapshotPtr snapshot_;
  net::EventLoop loop_;
  net::Resolver resolver_;
  AccessLog access_log_;
  http1::HeadParser parser_;
  AuthorityCache authority_cache_;
  std::vector<char> client_scratch_;
  std::vector<char> upstream_scratch_;
  cache::RequestHead scratch_head_;
  cache::CacheKey scratch_key_;
  std::string scratch_text_;
  uint64_t random_state_;

  std::vector<std::shared_ptr<UpstreamPool>> pools_;  // by index into the snapshot's upstreams
  std::unique_ptr<redis::Commander> redis_client_;
  std::string redis_url_;  // of the configuration it was made from; without secrets
  std::unique_ptr<redis::RedisStore> redis_store_;
  std::unique_ptr<redis::FleetLock> fleet_lock_;
  std::vector<cache::Millis> fetch_times_;  // by the rule's index
  std::unique_ptr<redis::Commander> limit_client_;  // where limits have a Redis of their own
  std::unique_ptr<RateLimiter> rate_limiter_;
  LimitedHitPool limited_hits_;
  PopularitySampler sampler_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_map<ClientConnection*, std::shared_ptr<ClientConnection>> connections_;
  std::unordered_map<FillTask*, std::shared_ptr<FillTask>> tasks_;
  net::Timer tick_;
  bool draining_ = false;
  std::atomic<size_t> open_connections_{0};
};

}  // namespace satchel::proxy
