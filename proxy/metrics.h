#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/envelope.h"
#include "cache/purges.h"
#include "cache/reason.h"
#include "cache/store.h"
#include "proxy/warm_status.h"

namespace prometheus {
struct MetricFamily;
}

namespace satchel::proxy {

struct SharedLimits;

// A number written by one thread and read by any. Add() and Subtract() are for the owner only: a
// plain load and store, no locked instruction.
using Counter = std::atomic<uint64_t>;

inline void Add(Counter& counter, uint64_t n = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}
inline void Subtract(Counter& counter, uint64_t n = 1) {
  counter.store(counter.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
}
inline uint64_t Read(const Counter& counter) { return counter.load(std::memory_order_relaxed); }

// Durations in microseconds; the upper bounds are the powers of two from 8 us to 67 s.
class Histogram {
 public:
  static constexpr int kFirstPower = 3;
  static constexpr int kLastPower = 26;
  static constexpr size_t kBuckets = kLastPower - kFirstPower + 2;  // the last: longer than that

  void Observe(uint64_t micros) {
    Add(buckets_[BucketOf(micros)]);
    Add(sum_, micros);
  }

  static constexpr size_t BucketOf(uint64_t micros) {
    const int power = micros <= 1 ? 0 : std::bit_width(micros - 1);  // micros <= 2^power
    if (power <= kFirstPower) return 0;
    return power > kLastPower ? kBuckets - 1 : static_cast<size_t>(power - kFirstPower);
  }
  static constexpr uint64_t UpperBound(size_t bucket) {
    return uint64_t{1} << (bucket + kFirstPower);
  }

  uint64_t bucket(size_t index) const { return Read(buckets_[index]); }
  uint64_t sum_micros() const { return Read(sum_); }

 private:
  std::array<Counter, kBuckets> buckets_{};
  Counter sum_{0};
};

// What became of a request. Exactly one for each; the same word stands in the access log.
enum class Outcome : uint8_t {
  kHit,          // fresh from L1 or L2 (the tier says which), 304 and 206 included
  kStale,        // stale, as a rule, RFC 5861 or 4.2.4 allows
  kRevalidated,  // the origin said 304 to our validator
  kMiss,         // fetched for this request, storable or not
  kCollapsed,    // served from a fetch that another request began
  kBypass,       // sent on without asking the cache: method, rule, upgrade
  kSynthetic,    // answered by ourselves as asked: OPTIONS *, redirects
  kLimited,      // 401 or 429 of a rate limit
  kRefused,      // the request itself was at fault: 4xx of our own, 501, 505
  kError,        // 502, 503, 504 of our own, or an answer cut short by the upstream
  kAborted,      // the client left before the answer was complete
  kCount
};
std::string_view OutcomeWord(Outcome outcome);

// How one exchange with Redis about a stored response ended.
enum class L2Result : uint8_t {
  kHit,       // a usable record; for writes: stored
  kMiss,      // nothing there
  kRejected,  // a record we can't or mustn't use: version, checksum, other key
  kTimeout,   // later than stores.l2.deadline
  kError,     // Redis said so, or the connection broke
  kSkipped,   // not even asked: breaker open, not connected, queue full, too large
  kCount
};
std::string_view L2ResultWord(L2Result result);

// What came of asking for the right to fetch for the whole fleet.
enum class LockResult : uint8_t {
  kTaken,
  kBusy,     // another holds it
  kUnknown,  // Redis did not answer in time
  kLost,     // taken, and expired before the fetch was done
  kRenewed,  // taken, and prolonged once more
  kCount
};
std::string_view LockResultWord(LockResult result);

enum class LimitOutcome : uint8_t {
  kNone,  // no limit applies
  kAllowed,
  kRefused,     // 429
  kNoKey,       // 401
  kUnknownKey,  // 403
  kShadow,      // would have been refused
  kLocalShare,  // allowed by the local window: Redis is away
  kOpen,        // allowed unseen: Redis is away
  kClosed,      // refused unseen: Redis is away
  kCount
};
std::string_view LimitOutcomeWord(LimitOutcome outcome);

// What made a call of its own needless for a check.
enum class LimitSaving : uint8_t {
  kCoalesced,  // equal to another check of the same turn
  kMemory,     // a refusal that still holds
  kLease,      // a slot taken ahead
  kCount
};

enum class UpstreamError : uint8_t {
  kResolve,
  kConnect,
  kConnectTimeout,
  kTls,
  kFirstByteTimeout,
  kIdleTimeout,
  kTotalTimeout,
  kReset,     // closed or reset before the answer was complete
  kProtocol,  // not HTTP as we accept it
  kNoServer,  // none healthy
  kCount
};
std::string_view UpstreamErrorWord(UpstreamError error);

// Everything that is bounded, and was found at its bound.
enum class Bound : uint8_t {
  kConnections,     // listener max_connections
  kDescriptors,     // accept paused for want of descriptors
  kStartLine,       // 414
  kHeaderBytes,     // 431, too many fields included
  kRequestBody,     // 413
  kHeaderTimeout,   // 408
  kKeepAlive,       // idle connection closed
  kWriteStall,      // client too slow in reading
  kPipeline,        // reading paused: too many answers outstanding
  kClientBuffer,    // reading from upstream paused: unsent output
  kUpstreamBuffer,  // reading from the client paused: unsent request body
  kFillWait,        // follower's deadline passed, fetched for itself
  kFleetWait,       // the same for another instance's fetch
  kMaxObject,       // streamed through without being stored
  kInterim,         // too many 1xx
  kKeyedBody,       // a body that was to be part of the key is too large: sent on uncached
  kSealing,         // a large response found too many others waiting to be written to Redis
  kCount
};
std::string_view BoundWord(Bound bound);

template <typename Enum>
using Counters = std::array<Counter, static_cast<size_t>(Enum::kCount)>;

template <typename Enum>
inline void Add(Counters<Enum>& counters, Enum which, uint64_t n = 1) {
  Add(counters[static_cast<size_t>(which)], n);
}

// One Redis server as one worker or all of them see it.
struct RedisNodeStatus {
  std::string server;         // "host:port"; the URL where sentinels tell the address
  uint64_t connected = 0;     // workers
  uint64_t breaker_open = 0;  // workers
  uint64_t calls = 0;
  uint64_t errors = 0;
  uint64_t deadline_misses = 0;
  uint64_t rejected = 0;
  uint64_t dropped = 0;
  uint64_t redirects = 0;
  uint64_t disconnects = 0;
  uint64_t failed_connects = 0;
  uint64_t breaker_opened = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t latency_us = 0;  // the longest of the workers' moving averages
};

// The numbers of one worker. Written by that worker only; any thread may read. Members called
// *_open, *_idle, *_in_flight, *_waiting and *_up go up and down, all others only up.
struct alignas(64) WorkerMetrics {
  // Requests.
  Counters<Outcome> outcomes{};
  std::array<Counter, 6> status_classes{};  // [0]: ended without an answer
  std::array<Counter, static_cast<size_t>(cache::Reason::kCount)> reasons{};
  Counter requests_in_flight{0};
  Counter keyed_body_bytes{0};  // of request bodies held because they are part of a key
  Histogram request_duration;   // head complete to last byte handed to the kernel

  // Clients.
  Counter connections_accepted{0};
  Counter connections_closed{0};
  Counter connections_open{0};
  Counter tls_handshakes{0};
  Counter tls_handshake_errors{0};
  Counter parse_errors{0};
  Counter accept_errors{0};
  Counter client_bytes_in{0};
  Counter client_bytes_out{0};
  Counter tunnels_open{0};

  // Upstreams.
  Counter upstream_requests{0};
  Counter upstream_retries{0};
  Counter upstream_connects{0};
  Counter upstream_open{0};
  Counter upstream_idle{0};
  Counter upstream_bytes_in{0};
  Counter upstream_bytes_out{0};
  std::array<Counter, 6> upstream_status_classes{};
  Counters<UpstreamError> upstream_errors{};
  Histogram upstream_first_byte;

  // L1 and fills.
  Counter l1_hits{0};
  Counter l1_misses{0};
  Counter fills_led{0};
  Counter fills_followed{0};
  Counter fills_promoted{0};  // followers that had to become leaders
  Counter fills_failed{0};
  Counter refreshes{0};        // in the background
  Counter early_refreshes{0};  // of these, before the response had expired

  // L2.
  Counters<L2Result> l2_reads{};
  Counters<L2Result> l2_writes{};
  Counters<L2Result> l2_deletes{};
  std::array<Counter, static_cast<size_t>(cache::BadRecord::kCount)> l2_bad_records{};
  Counter l2_renewals{0};       // of the writes, those of the times alone
  Counter l2_searches{0};       // for equivalents (No-Vary-Search)
  Counter l2_equivalents{0};    // of these, found
  Counter l2_body_bytes{0};     // of what was written, before compression
  Counter l2_kept_bytes{0};     // and as it was written, heads included
  Counter l2_sealing_bytes{0};  // gauge: of large bodies that wait to be written
  Histogram l2_read_duration;
  Counters<LockResult> fleet_locks{};
  Counter fleet_waits{0};      // fills that waited for another instance
  Counter fleet_followed{0};   // of these, answered by what it stored
  Counter fleet_heirs{0};      // of these, that fetched in its place
  Counter fleet_let_downs{0};  // times its word did not come, or what it stored was not there
  Histogram fleet_wait_duration;
  Counter redis_up{0};  // 1: this worker's connection works
  Counter redis_reconnects{0};
  Counter redis_breaker_open{0};
  Counter redis_late_replies{0};
  Counter redis_gave_up{0};
  Counter redis_cross_slot{0};
  Counter redis_unserved{0};
  mutable std::mutex redis_nodes_mutex;
  std::vector<RedisNodeStatus> redis_nodes;  // guarded by it; replaced about once a second

  // Rate limits.
  Counters<LimitOutcome> limits{};
  Histogram limit_duration;
  Counter limit_calls{0};  // to Redis
  Counters<LimitSaving> limit_saved{};
  Counter limit_lease_lost{0};  // slots taken ahead that nobody used

  // Bounds.
  Counters<Bound> bounds{};

  // Logs and the loop itself.
  Counter log_lines{0};
  Counter log_truncated{0};  // lines whose strings were cut to fit
  Counter generation{0};     // of the configuration this worker uses

  void CountRequest(Outcome outcome, cache::Reason reason, uint16_t status, uint64_t micros) {
    Add(outcomes, outcome);
    Add(reasons[static_cast<size_t>(reason)]);
    Add(status_classes[status >= 100 && status < 600 ? status / 100 : 0]);
    request_duration.Observe(micros);
  }
};

// One server of an upstream as one worker or all of them see it.
struct ServerStatus {
  std::string upstream;
  std::string server;
  bool healthy = true;
  bool ejected = false;
  uint64_t in_flight = 0;
};

// Messages of applications.
struct PurgeEventCounters {
  uint64_t messages = 0;
  uint64_t refused = 0;  // not understood, or of an unknown entity
  uint64_t dropped = 0;  // kept for too many others
};

// What is known of purges, and how. The counters of the log are absent without a shared store.
struct PurgeStatus {
  cache::Purges::Stats table;
  bool shared = false;
  bool coherent = true;  // nothing older than stores.l1.incoherent_ttl can have been missed
  bool channel_up = false;
  uint64_t channel_disconnects = 0;
  uint64_t published = 0;
  uint64_t unpublished = 0;
  uint64_t received = 0;
  uint64_t gaps = 0;
  uint64_t repaired = 0;
  uint64_t epoch_losses = 0;
  uint64_t failed_reads = 0;
  uint64_t doubted = 0;
  uint64_t lag_us = 0;
  PurgeEventCounters events;
  uint64_t live_instances = 1;
  uint64_t refreshes_waiting = 0;
  uint64_t refreshes_searching = 0;  // purges whose responses are still looked for
  uint64_t refreshes_begun = 0;
  uint64_t refreshes_dropped = 0;
};

// Of purge.schedule. A run is one entry at one of its moments.
struct ScheduleStatus {
  uint64_t ran = 0;        // here
  uint64_t elsewhere = 0;  // by another instance
  uint64_t alone = 0;      // here, without Redis' word that no other does it
  uint64_t lost = 0;       // another took it and was not heard of again
  // Each entry and its next moment, in milliseconds since 1970; 0: none.
  std::vector<std::pair<std::string, int64_t>> next;
};

// What the main thread knows besides the workers' numbers.
struct ProcessStatus {
  std::string version;
  double start_time = 0;  // seconds since the epoch
  uint64_t generation = 0;
  bool last_reload_ok = true;
  double last_reload_time = 0;  // of the last success, seconds since the epoch
  uint64_t reloads_ok = 0;
  uint64_t reloads_failed = 0;
  bool ready = false;
  bool draining = false;
  bool l2_configured = false;
  const SharedLimits* limits = nullptr;
  uint64_t log_lines_written = 0;
  uint64_t log_lines_dropped = 0;
  uint64_t log_write_errors = 0;
  PurgeStatus purges;
  ScheduleStatus schedule;
  WarmStatus warm;
};

// Sums over the workers and writes the Prometheus text format. Main thread.
class MetricsRegistry {
 public:
  // All must outlive the registry.
  MetricsRegistry(std::vector<const WorkerMetrics*> workers, const cache::Store* store);

  std::vector<prometheus::MetricFamily> Collect(const ProcessStatus& process,
                                                const std::vector<ServerStatus>& servers) const;
  std::string Text(const ProcessStatus& process, const std::vector<ServerStatus>& servers) const;

  uint64_t Sum(const Counter WorkerMetrics::* counter) const;
  template <size_t N>
  uint64_t Sum(const std::array<Counter, N> WorkerMetrics::* counters, size_t index) const {
    uint64_t sum = 0;
    for (const WorkerMetrics* worker : workers_) sum += Read((worker->*counters)[index]);
    return sum;
  }

 private:
  std::vector<const WorkerMetrics*> workers_;
  const cache::Store* store_;
};

}  // namespace satchel::proxy
