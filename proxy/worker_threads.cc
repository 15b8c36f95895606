#include "proxy/worker_threads.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "proxy/net/block_cache.h"
#include "proxy/warm_recipe.h"
#include "proxy/warm_run.h"

namespace satchel::proxy {

using cache::Result;

Result<std::unique_ptr<WorkerThreads>> WorkerThreads::Create(uint32_t count,
                                                             const SnapshotPtr& snapshot,
                                                             Worker::Shared shared) {
  std::unique_ptr<WorkerThreads> threads(new WorkerThreads());
  for (uint32_t index = 0; index < count; ++index) {
    auto slot = std::make_unique<Slot>(index, snapshot, shared);
    if (auto listening = slot->worker.Listen(threads->bound_); !listening) {
      return std::unexpected(std::move(listening.error()));
    }
    if (index == 0) threads->bound_ = slot->worker.bound_addresses();
    threads->slots_.push_back(std::move(slot));
  }
  return threads;
}

WorkerThreads::~WorkerThreads() {
  for (auto& slot : slots_) {
    if (!slot->thread.joinable()) continue;
    slot->worker.Stop();
    slot->thread.join();
  }
}

void WorkerThreads::Start() {
  for (size_t index = 0; index < slots_.size(); ++index) {
    Slot& slot = *slots_[index];
    slot.thread = std::thread([&slot, ended = ended_] {
      const net::BlockCache::Use blocks;
      slot.worker.Run();
      const std::lock_guard lock(ended->mutex);
      ++ended->threads;
      ended->changed.notify_all();
    });
    pthread_setname_np(slot.thread.native_handle(), ("worker-" + std::to_string(index)).c_str());
  }
}

void WorkerThreads::Apply(const SnapshotPtr& snapshot,
                          const std::function<void(std::string)>& failed) {
  for (auto& slot : slots_) slot->worker.Apply(snapshot, failed);
}

void WorkerThreads::BeginDrain() {
  for (auto& slot : slots_) slot->worker.BeginDrain();
}

bool WorkerThreads::Join(std::chrono::milliseconds patience) {
  for (auto& slot : slots_) slot->worker.Stop();
  {
    std::unique_lock lock(ended_->mutex);
    if (!ended_->changed.wait_for(lock, patience,
                                  [this] { return ended_->threads == slots_.size(); })) {
      return false;
    }
  }
  for (auto& slot : slots_) slot->thread.join();
  return true;
}

void WorkerThreads::Warm(WarmRequest request, bool shared_only,
                         std::function<void(WarmOutcome)> done) {
  slots_[next_refetch_++ % slots_.size()]->worker.Warm(std::move(request), shared_only,
                                                       std::move(done));
}

size_t WorkerThreads::open_connections() const {
  size_t sum = 0;
  for (const auto& slot : slots_) sum += slot->worker.open_connections();
  return sum;
}

std::vector<const WorkerMetrics*> WorkerThreads::metrics() const {
  std::vector<const WorkerMetrics*> all;
  for (const auto& slot : slots_) all.push_back(&slot->metrics);
  return all;
}

void WorkerThreads::PostAll(const std::function<void(Worker&)>& work) {
  for (const auto& slot : slots_) {
    Worker* const worker = &slot->worker;
    worker->loop().Post([worker, work] { work(*worker); });
  }
}

std::vector<ServerStatus> WorkerThreads::Servers(std::chrono::milliseconds patience) const {
  struct Answers {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::vector<ServerStatus>> parts;
  };
  auto answers = std::make_shared<Answers>();
  for (const auto& slot : slots_) {
    Worker* worker = &slot->worker;
    worker->loop().Post([worker, answers] {
      auto part = worker->ServerStatuses();
      const std::lock_guard lock(answers->mutex);
      answers->parts.push_back(std::move(part));
      answers->changed.notify_all();
    });
  }
  std::vector<ServerStatus> sum;
  std::unique_lock lock(answers->mutex);
  answers->changed.wait_for(lock, patience, [&] { return answers->parts.size() == slots_.size(); });
  for (const auto& part : answers->parts) {
    for (const ServerStatus& one : part) {
      const auto same = std::find_if(sum.begin(), sum.end(), [&one](const ServerStatus& other) {
        return other.upstream == one.upstream && other.server == one.server;
      });
      if (same == sum.end()) {
        sum.push_back(one);
        continue;
      }
      // Workers judge for themselves; the server is down when all of them say so.
      same->healthy = same->healthy || one.healthy;
      same->ejected = same->ejected && one.ejected;
      same->in_flight += one.in_flight;
    }
  }
  return sum;
}

std::optional<size_t> WorkerThreads::FindStuck(std::chrono::milliseconds longer_than) {
  const int64_t now = net::EventLoop::ReadClockMs();
  std::optional<size_t> stuck;
  for (size_t index = 0; index < slots_.size(); ++index) {
    Slot* slot = slots_[index].get();
    const int64_t pinged = slot->pinged_ms.load();
    if (pinged != 0) {
      if (now - pinged > longer_than.count()) stuck = index;
      continue;
    }
    slot->pinged_ms.store(now);
    slot->worker.loop().Post([slot] { slot->pinged_ms.store(0); });
  }
  return stuck;
}

}  // namespace satchel::proxy
