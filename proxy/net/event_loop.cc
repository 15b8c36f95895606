#include "proxy/net/event_loop.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>

namespace satchel::net {

int64_t EventLoop::ReadClockNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

int64_t EventLoop::ReadClockMs() { return ReadClockNs() / 1'000'000; }

namespace {

event_base* NewBase() {
  event_config* config = event_config_new();
  // Without locks inside libevent: a base is used by its own thread only.
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
  event_base* base = event_base_new_with_config(config);
  event_config_free(config);
  if (base == nullptr) std::abort();  // no epoll: nothing can run
  return base;
}

}  // namespace

EventLoop::EventLoop() : base_(NewBase()), timers_(ReadClockMs()) {
  event_assign(
      &mailbox_event_, base_, mailbox_.fd(), EV_READ | EV_PERSIST,
      [](evutil_socket_t, short, void* self) { static_cast<EventLoop*>(self)->mailbox_.Drain(); },
      this);
  event_add(&mailbox_event_, nullptr);
  event_assign(
      &wake_event_, base_, -1, 0,
      [](evutil_socket_t, short, void* self) { static_cast<EventLoop*>(self)->wake_at_ms_ = -1; },
      this);
}

EventLoop::~EventLoop() {
  deferred_.clear();
  while (!graveyard_.empty()) {
    auto dead = std::move(graveyard_);
    graveyard_.clear();
  }
  event_del(&mailbox_event_);
  event_del(&wake_event_);
  event_base_free(base_);
}

void EventLoop::Stop() {
  Post([this] { stopped_ = true; });
}

void EventLoop::Run() {
  stopped_ = false;
  while (!stopped_) Turn(true);
}

void EventLoop::Turn(bool wait) {
  // Work that was put off before the loop started, or that a burst left over, must not wait.
  if (!deferred_.empty() || !graveyard_.empty()) wait = false;
  const int64_t next = timers_.NextDeadline();
  // The wake-up is moved only when something is due earlier than it; deadlines that are pushed back
  // cost a spurious wake-up instead of heap work at every request.
  if (wait && next >= 0 && (wake_at_ms_ < 0 || next < wake_at_ms_)) {
    const int64_t delay = std::max<int64_t>(0, next - ReadClockMs());
    timeval timeout{delay / 1000, static_cast<suseconds_t>(delay % 1000 * 1000)};
    event_add(&wake_event_, &timeout);
    wake_at_ms_ = next;
  }
  // The wait may be long: callbacks that arm timers must not count from before it.
  now_ms_ = -1;
  ++turns_;
  event_base_loop(base_, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
  now_ms_ = ReadClockMs();
  timers_.Advance(now_ms_);
  RunDeferred();
  now_ms_ = -1;  // whoever asks between turns, before Run() for example, must not count from then
}

void EventLoop::RunDeferred() {
  // Work may put off more work; a few rounds in one turn, the rest after the next poll, so that
  // nothing can starve the descriptors.
  for (int round = 0; round < 8 && (!deferred_.empty() || !graveyard_.empty()); ++round) {
    running_.swap(deferred_);
    for (auto& work : running_) work();
    running_.clear();
    auto dead = std::move(graveyard_);
    graveyard_.clear();
  }
}

void IoWatch::Start(EventLoop& loop, int fd, short what, Callback callback, void* self) {
  Stop();
  event_assign(&event_, loop.base(), fd, EV_PERSIST, callback, self);
  started_ = true;
  Watch(what);
}

void IoWatch::Watch(short what) {
  if (what == watching_ || !started_) return;
  if (watching_ != 0) event_del(&event_);
  watching_ = what;
  if (what == 0) return;
  event_assign(&event_, event_get_base(&event_), event_get_fd(&event_),
               static_cast<short>(what | EV_PERSIST), event_get_callback(&event_),
               event_get_callback_arg(&event_));
  event_add(&event_, nullptr);
}

void IoWatch::Stop() {
  Watch(0);
  started_ = false;
}

}  // namespace satchel::net
