#pragma once

#include <cstdint>

#include "proxy/net/event_loop.h"

namespace satchel::net {

// A deadline that is pushed back again and again, as at every request of a connection: moving it
// later is one store; the timer looks again when it fires. One for each idle connection, so it is
// kept small: `fire` gets `self` and may destroy it.
class LazyDeadline {
 public:
  using Fire = void (*)(void* self);

  LazyDeadline(EventLoop& loop, Fire fire, void* self) : loop_(loop), fire_(fire), self_(self) {
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
    fire_(self_);
  }

  EventLoop& loop_;
  Timer timer_;
  int64_t deadline_ms_ = kNever;
  Fire fire_;
  void* self_;
};

}  // namespace satchel::net
