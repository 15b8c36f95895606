#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "proxy/net/event_loop.h"

namespace satchel::net {

// A deadline that is pushed back again and again, as at every request of a connection: moving it
// later is one store; the timer looks again when it fires.
class LazyDeadline {
 public:
  LazyDeadline(EventLoop& loop, std::function<void()> fire) : loop_(loop), fire_(std::move(fire)) {
    timer_.OnFire([this] { OnTimer(); });
  }

  void SetAfter(int64_t ms) {
    deadline_ms_ = loop_.now_ms() + ms;
    if (!timer_.armed() || timer_.deadline_ms() > deadline_ms_) {
      timer_.Set(loop_.timers(), deadline_ms_);
    }
  }
  void Clear() { deadline_ms_ = kNever; }

 private:
  static constexpr int64_t kNever = INT64_MAX;

  void OnTimer() {
    if (deadline_ms_ == kNever) return;
    if (deadline_ms_ > loop_.now_ms()) {
      timer_.Set(loop_.timers(), deadline_ms_);
      return;
    }
    deadline_ms_ = kNever;
    fire_();
  }

  EventLoop& loop_;
  Timer timer_;
  int64_t deadline_ms_ = kNever;
  std::function<void()> fire_;
};

}  // namespace satchel::net
