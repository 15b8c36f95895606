#pragma once

#include <atomic>
#include <cstdint>

namespace satchel::net {

// A number counted by one thread and read by any: no locked instruction to count.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.store(Get() + n, std::memory_order_relaxed); }
  void Set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace satchel::net
