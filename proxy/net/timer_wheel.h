#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace satchel::net {

class TimerWheel;

// One deadline. Belongs to the thread of its wheel. Cancels itself when destroyed. The function
// runs once, from the event loop, never from inside Set(). It may destroy the timer.
class Timer {
 public:
  Timer() = default;
  explicit Timer(std::function<void()> fire) : fire_(std::move(fire)) {}
  ~Timer() { Cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void OnFire(std::function<void()> fire) { fire_ = std::move(fire); }
  // (Re)arms: fires at or a few milliseconds after `deadline_ms` on the wheel's clock.
  void Set(TimerWheel& wheel, int64_t deadline_ms);
  void Cancel();
  bool armed() const { return wheel_ != nullptr; }
  int64_t deadline_ms() const { return deadline_ms_; }

 private:
  friend class TimerWheel;
  TimerWheel* wheel_ = nullptr;
  Timer* prev_ = nullptr;
  Timer* next_ = nullptr;
  int64_t deadline_ms_ = 0;
  uint16_t slot_ = 0;
  std::function<void()> fire_;
};

// Deadlines of one event loop: arming and cancelling are O(1) and make no system call. Two levels
// of 256 slots: 4 ms ticks for the next second, then one-second ticks; later deadlines wait in the
// last slot and are sorted in again. Knows no clock: the loop drives it.
class TimerWheel {
 public:
  explicit TimerWheel(int64_t now_ms);
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Fires everything due at `now_ms`.
  void Advance(int64_t now_ms);
  // When Advance() has something to do next; -1 if no timer is armed.
  int64_t NextDeadline() const;
  size_t size() const { return size_; }

 private:
  friend class Timer;
  static constexpr int64_t kFineMs = 4;
  static constexpr size_t kSlots = 256;
  static constexpr int64_t kCoarseTicks = 256;  // fine ticks in a coarse one

  struct List {
    Timer* first = nullptr;
  };
  void Insert(Timer* timer);
  void Unlink(Timer* timer);
  void FireList(List& list);

  int64_t tick_;  // fine ticks already processed
  std::array<List, kSlots> fine_{};
  std::array<List, kSlots> coarse_{};
  std::array<uint64_t, 4> fine_used_{};
  std::array<uint64_t, 4> coarse_used_{};
  List due_;  // being fired
  size_t size_ = 0;
};

}  // namespace satchel::net
