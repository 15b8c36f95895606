#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "proxy/net/mailbox.h"
#include "proxy/net/timer_wheel.h"

namespace satchel::net {

// One thread's event loop: descriptors, timers, messages, and work put off to the end of the turn.
// A turn is one epoll_wait and all that it made ready. Everything but Post() and Stop() belongs to
// the thread that runs it.
class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Run();   // until Stop()
  void Stop();  // any thread
  // One turn; waits for something to happen if `wait`. For tests and for draining.
  void Turn(bool wait);

  void Post(Mailbox::Message message) { mailbox_.Post(std::move(message)); }

  // Runs at the end of this turn (or of the next one, if none is under way), after all I/O
  // callbacks: the place to flush queues and to complete what must not complete inline.
  // A function object of up to 24 bytes, a weak_ptr and a word, costs no allocation.
  void AtTurnEnd(std::move_only_function<void()> work) { deferred_.push_back(std::move(work)); }

  // Deletes at the end of the turn, when no callback of the object is on the stack any more.
  template <typename T>
  void DeleteLater(std::unique_ptr<T> object) {
    graveyard_.emplace_back(object.release(), [](void* p) { delete static_cast<T*>(p); });
  }

  // Turns begun so far.
  uint64_t turns() const { return turns_; }

  // Monotonic milliseconds, read once after each wait, on first use.
  int64_t now_ms() const {
    if (now_ms_ < 0) now_ms_ = ReadClockMs();
    return now_ms_;
  }
  static int64_t ReadClockMs();
  // Monotonic nanoseconds, read now.
  static int64_t ReadClockNs();

  TimerWheel& timers() { return timers_; }
  void SetTimer(Timer& timer, int64_t after_ms) { timer.Set(timers_, now_ms() + after_ms); }
  event_base* base() { return base_; }

 private:
  void RunDeferred();

  event_base* base_;
  Mailbox mailbox_;
  struct event mailbox_event_;
  struct event wake_event_;  // ends the wait when a timer is due
  int64_t wake_at_ms_ = -1;
  mutable int64_t now_ms_ = -1;  // -1: not read since the last wait or turn
  TimerWheel timers_;
  uint64_t turns_ = 0;
  bool stopped_ = false;
  std::vector<std::move_only_function<void()>> deferred_;
  std::vector<std::move_only_function<void()>> running_;
  std::vector<std::unique_ptr<void, void (*)(void*)>> graveyard_;
};

// Interest in one descriptor. Does not own it. Level-triggered. The function gets EV_READ and/or
// EV_WRITE. Stops when destroyed; may be destroyed from its own function.
class IoWatch {
 public:
  using Callback = void (*)(int fd, short what, void* self);

  IoWatch() = default;
  ~IoWatch() { Stop(); }
  IoWatch(const IoWatch&) = delete;
  IoWatch& operator=(const IoWatch&) = delete;

  // Watches for `what` (EV_READ, EV_WRITE or both) until changed or stopped.
  void Start(EventLoop& loop, int fd, short what, Callback callback, void* self);
  // Changes what is watched; no system call if it is the same. 0 = nothing, stays startable.
  void Watch(short what);
  void Stop();
  short watching() const { return watching_; }
  // True: this turn's poll found it ready, and its function is still to be called.
  bool due() const {
    return watching_ != 0 && (event_.ev_evcallback.evcb_flags & EVLIST_ACTIVE) != 0;
  }

 private:
  struct event event_;  // says which descriptor, and what is called, once it has been started
  bool started_ = false;
  short watching_ = 0;
};

}  // namespace satchel::net
