#include "proxy/redis/seal_queue.h"

#include <iterator>
#include <utility>

namespace satchel::redis {

bool SealQueue::Add(std::string plain_key, std::string redis_key, size_t bytes,
                    cache::RecordSealer sealer, Sealed sealed, std::vector<Stored> stored) {
  if (bytes > max_bytes_ - bytes_) return false;
  bytes_ += bytes;
  tasks_.push_back({std::move(plain_key), std::move(redis_key), bytes, std::move(sealer),
                    std::move(sealed), std::move(stored)});
  Schedule();
  return true;
}

std::vector<SealQueue::Stored> SealQueue::Withdraw(std::string_view redis_key) {
  return WithdrawIf([&](const Task& task) { return task.redis_key == redis_key; });
}

std::vector<SealQueue::Stored> SealQueue::WithdrawUrl(std::string_view plain_key) {
  return WithdrawIf([&](const Task& task) { return task.plain_key == plain_key; });
}

std::vector<SealQueue::Stored> SealQueue::WithdrawIf(
    const std::function<bool(const Task&)>& condition) {
  std::vector<Stored> stored;
  std::erase_if(tasks_, [&](Task& task) {
    if (!condition(task)) return false;
    bytes_ -= task.bytes;
    std::move(task.stored.begin(), task.stored.end(), std::back_inserter(stored));
    return true;
  });
  return stored;
}

// By a message: work at the end of a turn would run again in the same one.
void SealQueue::Schedule() {
  if (std::exchange(scheduled_, true)) return;
  loop_.Post([self = std::weak_ptr(self_)] {
    if (const auto queue = self.lock()) (*queue)->Work();
  });
}

void SealQueue::Work() {
  scheduled_ = false;
  if (tasks_.empty()) return;
  if (!tasks_.front().sealer.Step()) {
    Task done = std::move(tasks_.front());
    tasks_.pop_front();
    bytes_ -= done.bytes;
    done.sealed(std::move(done.sealer).Finish(), done.stored);
  }
  if (!tasks_.empty()) Schedule();
}

}  // namespace satchel::redis
