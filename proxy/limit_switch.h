#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace satchel::proxy {

// The kill switch: policies that are off are not asked. Any thread.
class LimitSwitch {
 public:
  using Names = std::set<std::string, std::less<>>;
  static constexpr std::string_view kAll = "*";  // among the names; no policy is called that

  bool IsOn(std::string_view policy) const {
    if (!any_off_.load(std::memory_order_relaxed)) return true;
    const std::lock_guard lock(mutex_);
    return !off_.contains(kAll) && !off_.contains(policy);
  }
  // kAll turned on also turns on what was off by name.
  void Set(std::string_view policy, bool on) {
    const std::lock_guard lock(mutex_);
    if (policy == kAll) off_.clear();
    if (!on) {
      off_.emplace(policy);
    } else if (const auto found = off_.find(policy); found != off_.end()) {
      off_.erase(found);
    }
    any_off_.store(!off_.empty(), std::memory_order_relaxed);
  }
  // What is off from now on; returns what was.
  Names Replace(Names off) {
    const std::lock_guard lock(mutex_);
    std::swap(off_, off);
    any_off_.store(!off_.empty(), std::memory_order_relaxed);
    return off;
  }
  Names off() const {
    const std::lock_guard lock(mutex_);
    return off_;
  }

 private:
  std::atomic<bool> any_off_{false};
  mutable std::mutex mutex_;
  Names off_;
};

}  // namespace satchel::proxy
