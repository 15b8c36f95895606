#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "proxy/limit_verdict.h"

namespace satchel::proxy {

class RateLimiter;

// All that one request asks the limiter, the answers, and the slots of concurrency that it holds
// until it has been answered. Part of the object that asks; when it goes, so does the question:
// units of a call already sent stay charged, slots are given back. May be used again after
// Reset(), keeping its memory. Owner thread only.
class LimitRequest {
 public:
  LimitRequest() = default;
  ~LimitRequest() { Reset(); }
  LimitRequest(const LimitRequest&) = delete;
  LimitRequest& operator=(const LimitRequest&) = delete;

  // What is to be asked; before Begin(), not while waiting. Begin() puts those that enforce before
  // those in shadow, otherwise the order stays: the strictest first.
  std::vector<LimitCheck>& checks() { return checks_; }
  std::span<const LimitCheck> checks() const { return checks_; }

  // Asks. True: everything is decided now. False: `done` will run once, after this has returned.
  // More checks may be added and Begin() called again afterwards: only the new ones are asked.
  bool Begin(RateLimiter& limiter, std::function<void()> done);
  bool waiting() const { return batch_ != nullptr; }

  // In the order asked; a check that was not asked because an earlier one refused has none.
  std::span<const LimitVerdict> verdicts() const { return verdicts_; }
  const LimitVerdict* refusal() const;  // the one that refuses, or null

  void ReleaseSlots();
  void Reset();  // cancels, gives back, forgets

 private:
  friend class RateLimiter;
  struct Slot {
    std::string key;
    std::string member;  // empty: in this process
  };

  void Advance();
  void Answer();  // the group that was asked has its verdicts

  std::vector<LimitCheck> checks_;
  std::vector<LimitVerdict> verdicts_;
  std::vector<Slot> slots_;
  std::function<void()> done_;
  RateLimiter* limiter_ = nullptr;
  std::weak_ptr<int> limiter_alive_;
  size_t next_ = 0;  // first check that was not asked yet
  size_t group_end_ = 0;

  // Of the batch that waits for Redis.
  struct Batch;
  std::shared_ptr<Batch> batch_;
  LimitRequest* before_ = nullptr;
  LimitRequest* after_ = nullptr;
  int64_t place_ = 0;  // among the calls of the batch
};

}  // namespace satchel::proxy
