#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cache/base/result.h"
#include "proxy/metrics.h"
#include "proxy/net/address.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

namespace satchel::proxy {

// The workers and their threads, as the main thread handles them.
class WorkerThreads {
 public:
  // Binds every listener of every worker; no thread runs yet.
  static cache::Result<std::unique_ptr<WorkerThreads>> Create(uint32_t count,
                                                              const SnapshotPtr& snapshot,
                                                              Worker::Shared shared);
  // Stops what still runs and waits for it without end; see Join().
  ~WorkerThreads();
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  void Start();
  // `failed` is called on a worker's thread.
  void Apply(const SnapshotPtr& snapshot, const std::function<void(std::string)>& failed);
  void BeginDrain();
  // Tells all threads to end; false if one has not within `patience`.
  bool Join(std::chrono::milliseconds patience);

  // By the workers in turn.
  void Refetch(RefreshTarget target) {
    slots_[next_refetch_++ % slots_.size()]->worker.Refetch(std::move(target));
  }

  void Warm(WarmRequest request, bool shared_only, std::function<void(WarmOutcome)> done);

  size_t size() const { return slots_.size(); }
  size_t open_connections() const;
  size_t open_connections(size_t index) const { return slots_[index]->worker.open_connections(); }
  const WorkerMetrics& metrics(size_t index) const { return slots_[index]->metrics; }
  std::vector<const WorkerMetrics*> metrics() const;
  // The listeners as bound, in the order of config.listeners. Of the configuration at the start.
  const std::vector<net::Address>& bound() const { return bound_; }

  // Runs `work` on each worker's own thread.
  void PostAll(const std::function<void(Worker&)>& work);

  // Asks every worker on its own thread and adds up the answers that came within `patience`.
  std::vector<ServerStatus> Servers(std::chrono::milliseconds patience) const;

  // A worker that has not come back to its loop for that long, or nothing. Each call also sends
  // the next round of pings.
  std::optional<size_t> FindStuck(std::chrono::milliseconds longer_than);

 private:
  struct Slot {
    Slot(uint32_t index, const SnapshotPtr& snapshot, Worker::Shared shared)
        : worker(index, snapshot, shared, metrics) {}
    WorkerMetrics metrics;
    Worker worker;
    std::thread thread;
    std::atomic<int64_t> pinged_ms{0};  // when the unanswered ping was sent; 0: none
  };
  struct Ended {
    std::mutex mutex;
    std::condition_variable changed;
    size_t threads = 0;
  };

  WorkerThreads() = default;

  std::vector<std::unique_ptr<Slot>> slots_;
  size_t next_refetch_ = 0;
  std::vector<net::Address> bound_;
  std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();
};

}  // namespace satchel::proxy
