#include "proxy/worker.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <random>
#include <utility>

#include "cache/fetch_time.h"
#include "proxy/client_connection.h"
#include "proxy/exchange.h"
#include "proxy/fill_task.h"
#include "proxy/listen_socket.h"
#include "proxy/listener.h"
#include "proxy/redis_log.h"
#include "proxy/redis/connect.h"
#include "proxy/redis/node.h"

namespace satchel::proxy {
namespace {

constexpr size_t kScratchBytes = 128 * 1024;
constexpr int64_t kTickMs = 500;

bool SameServers(const rules::Upstream& a, const rules::Upstream& b) {
  const auto tls = [](const rules::Upstream& upstream) {
    return upstream.tls
               ? std::tuple(true, upstream.tls->ca, upstream.tls->sni, upstream.tls->verify)
               : std::tuple(false, std::string(), std::string(), true);
  };
  return a.name == b.name && a.servers == b.servers && a.balance == b.balance &&
         a.keepalive == b.keepalive && a.retry_attempts == b.retry_attempts && tls(a) == tls(b);
}

}  // namespace

Worker::Worker(uint32_t index, SnapshotPtr snapshot, Shared shared, WorkerMetrics& metrics)
    : index_(index),
      shared_(shared),
      metrics_(metrics),
      snapshot_(std::move(snapshot)),
      resolver_(loop_),
      access_log_(loop_, shared.log_output, metrics, index),
      client_scratch_(kScratchBytes),
      upstream_scratch_(kScratchBytes),
      random_state_(std::random_device()() | uint64_t{1}),
      tick_([this] {
        if (index_ == 0) store().Tick(WallNow());
        SyncRedisMetrics();
        SyncLimitMetrics();
        rate_limiter_->PayDebts();
        SyncRedisNodes();
        loop_.SetTimer(tick_, kTickMs);
      }) {
  access_log_.Configure(snapshot_->access_log);
  metrics_.generation = snapshot_->generation;
  BuildPools();
  BuildRedis();
}

Worker::~Worker() {
  // Connections first: what they let go of still finds pools and loop.
  auto connections = std::move(connections_);
  for (auto& [raw, connection] : connections) connection->Close();
  connections.clear();
  tasks_.clear();
  listeners_.clear();
  rate_limiter_.reset();
  fleet_lock_.reset();
  limit_client_.reset();
  redis_store_.reset();
  redis_client_.reset();
  pools_.clear();
}

cache::Time Worker::WallNow() const {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return cache::TimeFromUnixMillis(int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000);
}

double Worker::Random() {
  // xorshift64*: jitter needs no more.
  random_state_ ^= random_state_ >> 12;
  random_state_ ^= random_state_ << 25;
  random_state_ ^= random_state_ >> 27;
  return static_cast<double>((random_state_ * 0x2545F4914F6CDD1Du) >> 11) / 9007199254740992.0;
}

cache::Result<void> Worker::Listen(const std::vector<net::Address>& resolved) {
  const auto& configs = snapshot_->config.listeners;
  for (size_t i = 0; i < configs.size(); ++i) {
    rules::Endpoint endpoint = configs[i].address;
    if (i < resolved.size() && endpoint.kind == rules::Endpoint::Kind::kIp) {
      endpoint.port = resolved[i].port();
    }
    const bool unix_socket = endpoint.kind == rules::Endpoint::Kind::kUnix;
    if (unix_socket && i < resolved.size()) continue;  // a path has one owner: the first worker
    auto socket = OpenListenSocket(endpoint, /*shared=*/true);
    if (!socket) return std::unexpected(socket.error());
    listeners_.push_back(std::make_unique<Listener>(*this, socket->fd, socket->bound, configs[i],
                                                    snapshot_->listener_tls[i]));
  }
  return {};
}

std::vector<net::Address> Worker::bound_addresses() const {
  std::vector<net::Address> addresses;
  for (const auto& listener : listeners_) addresses.push_back(listener->bound());
  return addresses;
}

void Worker::Run() {
  for (const auto& listener : listeners_) listener->Start();
  if (redis_client_) redis_client_->Start();
  if (limit_client_) limit_client_->Start();
  if (index_ == 0) store().Tick(WallNow());
  loop_.SetTimer(tick_, kTickMs);
  loop_.Run();
  access_log_.Flush();
}

void Worker::Stop() { loop_.Stop(); }

void Worker::BuildPools() {
  const auto old = std::move(pools_);
  pools_.clear();
  const rules::Config& config = snapshot_->config;
  for (size_t i = 0; i < config.upstreams.size(); ++i) {
    const rules::Upstream& upstream = config.upstreams[i];
    const auto same = std::find_if(old.begin(), old.end(), [&](const auto& pool) {
      return SameServers(pool->config(), upstream) && pool->tls() == snapshot_->upstream_tls[i];
    });
    pools_.push_back(same != old.end()
                         ? *same
                         : std::make_shared<UpstreamPool>(loop_, metrics_, upstream,
                                                          snapshot_->upstream_tls[i]));
  }
}

void Worker::BuildRedis() {
  const rules::Config& config = snapshot_->config;
  if (config.l2) {
    redis_url_ = config.l2->redis;
    redis_client_ = redis::Connect(
        loop_, resolver_, *config.l2, redis::Accesses::From(*config.l2, snapshot_->redis_tls),
        LogRedisEvents(config.l2->redis));
    redis_store_ = std::make_unique<redis::RedisStore>(
        loop_, *redis_client_, redis::RedisStore::Options::From(*config.l2),
        &shared_.store.purges());
    redis::FleetLock::Options lock_options;
    lock_options.prefix = config.l2->prefix;
    lock_options.holder = shared_.instance + '/' + std::to_string(index_);
    lock_options.deadline_ms = config.l2->deadline.count();
    fleet_lock_ =
        std::make_unique<redis::FleetLock>(loop_, *redis_client_, std::move(lock_options));
    redis_store_->SetKeys(config.l2->encrypt_keys);
  }
  BuildLimiter();
}

void Worker::Apply(SnapshotPtr snapshot, std::function<void(std::string)> failed) {
  loop_.Post([this, snapshot = std::move(snapshot), failed = std::move(failed)]() mutable {
    ApplyNow(std::move(snapshot), failed);
  });
}

void Worker::ApplyNow(SnapshotPtr snapshot, const std::function<void(std::string)>& failed) {
  const auto& configs = snapshot->config.listeners;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<size_t> kept;
  for (size_t i = 0; i < configs.size(); ++i) {
    const auto same = std::find_if(listeners_.begin(), listeners_.end(), [&](const auto& old) {
      return old && old->config().address == configs[i].address;
    });
    if (same != listeners_.end()) {
      (*same)->Update(configs[i], snapshot->listener_tls[i]);
      listeners.push_back(std::move(*same));
      continue;
    }
    if (configs[i].address.kind == rules::Endpoint::Kind::kUnix && index_ != 0) continue;
    auto socket = OpenListenSocket(configs[i].address, /*shared=*/true);
    if (!socket) {
      if (failed) failed(socket.error().message);
      continue;
    }
    listeners.push_back(std::make_unique<Listener>(*this, socket->fd, socket->bound, configs[i],
                                                   snapshot->listener_tls[i]));
    if (!draining_) listeners.back()->Start();
  }
  for (auto& old : listeners_) {
    if (old) loop_.DeleteLater(std::move(old));
  }
  listeners_ = std::move(listeners);
  snapshot_ = std::move(snapshot);
  access_log_.Configure(snapshot_->access_log);
  BuildPools();
  rate_limiter_->ForgetConfiguration();
  if (limit_client_ && snapshot_->config.limits) {
    const auto accesses =
        redis::Accesses::From(*snapshot_->config.limits, snapshot_->limits_tls);
    limit_client_->SetAccess(accesses.servers, accesses.sentinels);
  }
  if (redis_client_ && snapshot_->config.l2) {
    const auto accesses = redis::Accesses::From(*snapshot_->config.l2, snapshot_->redis_tls);
    redis_client_->SetAccess(accesses.servers, accesses.sentinels);
    redis_store_->SetKeys(snapshot_->config.l2->encrypt_keys);
  }
  metrics_.generation = snapshot_->generation;
}

void Worker::BeginDrain() {
  loop_.Post([this] {
    draining_ = true;
    for (auto& listener : listeners_) loop_.DeleteLater(std::move(listener));
    listeners_.clear();
    std::vector<std::shared_ptr<ClientConnection>> open;
    for (const auto& [raw, connection] : connections_) open.push_back(connection);
    for (const auto& connection : open) connection->OnDrain();
  });
}

bool Worker::HasRoomFor(const Listener& listener) const {
  const uint32_t workers = WorkersFor(snapshot_->config);
  const size_t share = (listener.config().max_connections + workers - 1) / workers;
  return connections_.size() < share;
}

void Worker::Adopt(std::shared_ptr<ClientConnection> connection) {
  Add(metrics_.connections_accepted);
  Add(metrics_.connections_open);
  open_connections_.fetch_add(1, std::memory_order_relaxed);
  ClientConnection* const raw = connection.get();
  connections_.emplace(raw, std::move(connection));
}

void Worker::Release(ClientConnection* connection) {
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return;
  Add(metrics_.connections_closed);
  Subtract(metrics_.connections_open);
  open_connections_.fetch_sub(1, std::memory_order_relaxed);
  // Its own function is on the stack, perhaps: it goes at the end of the turn.
  loop_.DeleteLater(std::make_unique<std::shared_ptr<ClientConnection>>(std::move(at->second)));
  connections_.erase(at);
}

void Worker::Keep(std::shared_ptr<FillTask> task) {
  FillTask* const raw = task.get();
  tasks_.emplace(raw, std::move(task));
}

void Worker::Forget(FillTask* task) {
  const auto at = tasks_.find(task);
  if (at == tasks_.end()) return;
  loop_.DeleteLater(std::make_unique<std::shared_ptr<FillTask>>(std::move(at->second)));
  tasks_.erase(at);
}

std::vector<ServerStatus> Worker::ServerStatuses() const {
  std::vector<ServerStatus> statuses;
  const int64_t now = net::EventLoop::ReadClockMs();
  for (const auto& pool : pools_) {
    for (const auto& server : pool->servers()) {
      ServerStatus status;
      status.upstream = pool->config().name;
      status.server = server->endpoint().text;
      status.healthy = server->IsUp(now);
      status.in_flight = server->in_flight();
      statuses.push_back(std::move(status));
    }
  }
  return statuses;
}

void Worker::SyncRedisNodes() {
  if (!redis_client_) return;
  std::vector<RedisNodeStatus> nodes;
  redis_client_->VisitNodes([&](const redis::Node& node) {
    const redis::Node::Counters& counters = node.counters();
    nodes.push_back({
        .server = node.server().host.empty() ? redis_url_ : node.server().ToString(),
        .connected = counters.connected.Get(),
        .breaker_open = counters.breaker_state.Get() != 0 ? uint64_t{1} : 0,
        .calls = counters.calls.Get(),
        .errors = counters.errors.Get(),
        .deadline_misses = counters.deadline_misses.Get(),
        .rejected = counters.rejected.Get(),
        .dropped = counters.dropped.Get(),
        .redirects = counters.redirects.Get(),
        .disconnects = counters.disconnects.Get(),
        .failed_connects = counters.failed_connects.Get(),
        .breaker_opened = counters.breaker_opened.Get(),
        .bytes_in = counters.bytes_in.Get(),
        .bytes_out = counters.bytes_out.Get(),
        .latency_us = counters.latency_us.Get(),
    });
  });
  const std::lock_guard lock(metrics_.redis_nodes_mutex);
  metrics_.redis_nodes.swap(nodes);
}

cache::Millis Worker::FetchTime(const rules::Rule& rule) const {
  return rule.index < fetch_times_.size() ? fetch_times_[rule.index] : cache::Millis(0);
}

void Worker::LearnEquivalents(const cache::StoredResponse& response,
                              const cache::Overrides& overrides, uint64_t asked) {
  store().LearnEquivalents(response, asked);
  if (redis_store_) redis_store_->PutEquivalent(response, overrides, asked);
}

void Worker::NoteFetchTime(const rules::Rule& rule, cache::Millis time) {
  if (rule.index >= fetch_times_.size()) fetch_times_.resize(rule.index + 1);
  fetch_times_[rule.index] = cache::SmoothFetchTime(fetch_times_[rule.index], time);
}

void Worker::SyncRedisMetrics() {
  if (!redis_client_) return;
  const auto& l2 = redis_store_->counters();
  uint64_t up = 0;
  uint64_t open = 0;
  uint64_t lost = 0;
  uint64_t late = 0;
  redis_client_->VisitNodes([&](const redis::Node& node) {
    const redis::Node::Counters& counters = node.counters();
    up |= counters.connected.Get();
    open |= counters.breaker_state.Get() != 0 ? 1 : 0;
    lost += counters.disconnects.Get();
    late += counters.late_replies.Get();
  });
  const auto set = [](Counter& counter, uint64_t value) {
    counter.store(value, std::memory_order_relaxed);
  };
  set(metrics_.redis_up, up);
  set(metrics_.redis_reconnects, lost);
  set(metrics_.redis_breaker_open, open);
  set(metrics_.redis_late_replies, late);
  if (const redis::ClusterCounters* cluster = redis_client_->cluster_counters()) {
    set(metrics_.redis_gave_up, cluster->gave_up.Get());
    set(metrics_.redis_cross_slot, cluster->cross_slot.Get());
    set(metrics_.redis_unserved, cluster->unserved.Get());
  }
  const auto put = [](auto& counters, L2Result which, uint64_t value) {
    counters[static_cast<size_t>(which)].store(value, std::memory_order_relaxed);
  };
  const uint64_t timeouts = l2.deadline_misses.Get();
  put(metrics_.l2_reads, L2Result::kHit, l2.hits.Get());
  put(metrics_.l2_reads, L2Result::kMiss, l2.misses.Get());
  put(metrics_.l2_reads, L2Result::kRejected, l2.bad_records.Get());
  put(metrics_.l2_reads, L2Result::kTimeout, timeouts);
  put(metrics_.l2_reads, L2Result::kError, l2.errors.Get() - std::min(timeouts, l2.errors.Get()));
  put(metrics_.l2_writes, L2Result::kHit, l2.puts.Get());
  put(metrics_.l2_writes, L2Result::kSkipped, l2.puts_dropped.Get());
  put(metrics_.l2_deletes, L2Result::kHit, l2.removes.Get());
  for (size_t i = 0; i < l2.bad_causes.size(); ++i) {
    set(metrics_.l2_bad_records[i], l2.bad_causes[i].Get());
  }
  set(metrics_.l2_renewals, l2.renewals.Get());
  set(metrics_.l2_searches, l2.searches.Get());
  set(metrics_.l2_equivalents, l2.equivalents.Get());
  set(metrics_.l2_body_bytes, l2.body_bytes.Get());
  set(metrics_.l2_kept_bytes, l2.kept_bytes.Get());
  set(metrics_.l2_sealing_bytes, redis_store_->sealing_bytes());
  set(metrics_.bounds[static_cast<size_t>(Bound::kSealing)], l2.sealing_full.Get());
  const auto& locks = fleet_lock_->counters();
  set(metrics_.fleet_locks[static_cast<size_t>(LockResult::kTaken)], locks.taken.Get());
  set(metrics_.fleet_locks[static_cast<size_t>(LockResult::kBusy)], locks.busy.Get());
  set(metrics_.fleet_locks[static_cast<size_t>(LockResult::kUnknown)], locks.unknown.Get());
  set(metrics_.fleet_locks[static_cast<size_t>(LockResult::kLost)], locks.lost.Get());
  set(metrics_.fleet_locks[static_cast<size_t>(LockResult::kRenewed)], locks.renewed.Get());
}

}  // namespace satchel::proxy
