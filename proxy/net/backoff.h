#pragma once

#include <cstdint>
#include <functional>

namespace satchel::net {

// Growing waits between attempts. Randomness is passed in: a function that gives values in [0, 1).
class Backoff {
 public:
  struct Options {
    int64_t first_ms = 50;
    int64_t max_ms = 5000;
    double factor = 2;
    double jitter = 0.5;  // a wait is shortened at random by up to this share of itself
  };

  Backoff(Options options, std::function<double()> random)
      : options_(options), random_(std::move(random)) {}

  // The wait before the next attempt. At least 1 ms, never above max_ms.
  int64_t Next();
  void Reset() { attempts_ = 0; }
  uint32_t attempts() const { return attempts_; }

 private:
  const Options options_;
  std::function<double()> random_;
  uint32_t attempts_ = 0;
};

// Uniform in [0, 1), seeded by the system, one generator per thread.
double RandomUnit();

}  // namespace satchel::net
