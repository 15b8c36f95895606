#pragma once

#include <cstddef>
#include <cstdint>

namespace satchel::proxy {

// By how many instances a limit is divided when each has to count for itself. More than before
// holds at once. Fewer holds only after Redis has said so for as long as it takes to know that a
// silent instance is gone: one that was emptied knows nobody at first, and whoever believed it
// would let the whole limit through alone. No clock of its own.
class LiveCount {
 public:
  // Silent for fifteen seconds is gone; the next heartbeat tells it after five more.
  static constexpr int64_t kHoldMs = 20'000;

  // `heard`: what Redis said last, at least 1. `available`: it can be asked.
  void Update(size_t heard, bool available, int64_t now_ms) {
    if (heard >= count_ || !available) {
      if (heard > count_) count_ = heard;
      lower_since_ms_ = -1;
    } else if (lower_since_ms_ < 0) {
      lower_since_ms_ = now_ms;
    } else if (now_ms - lower_since_ms_ >= kHoldMs) {
      count_ = heard;
      lower_since_ms_ = -1;
    }
  }
  size_t count() const { return count_; }

 private:
  size_t count_ = 1;
  int64_t lower_since_ms_ = -1;  // -1: it is not
};

}  // namespace satchel::proxy
