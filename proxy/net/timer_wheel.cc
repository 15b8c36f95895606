#include "proxy/net/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace satchel::net {
namespace {

constexpr uint16_t kCoarseBase = 256;
constexpr uint16_t kDueSlot = 512;

// Distance from `from` to the first used slot, going round; -1 if none is used.
int FirstUsed(const std::array<uint64_t, 4>& used, size_t from) {
  for (size_t step = 0; step <= 4; ++step) {
    const size_t word = (from / 64 + step) % 4;
    uint64_t bits = used[word];
    if (step == 0) bits &= ~uint64_t{0} << (from % 64);
    if (step == 4) bits &= (uint64_t{1} << (from % 64)) - 1;
    if (bits != 0) {
      const size_t slot = word * 64 + static_cast<size_t>(std::countr_zero(bits));
      return static_cast<int>((slot + 256 - from) % 256);
    }
  }
  return -1;
}

}  // namespace

void Timer::Set(TimerWheel& wheel, int64_t deadline_ms) {
  Cancel();
  deadline_ms_ = deadline_ms;
  wheel_ = &wheel;
  ++wheel.size_;
  wheel.Insert(this);
}

void Timer::Cancel() {
  if (wheel_ == nullptr) return;
  wheel_->Unlink(this);
  --wheel_->size_;
  wheel_ = nullptr;
}

TimerWheel::TimerWheel(int64_t now_ms) : tick_(now_ms / kFineMs) {}

TimerWheel::~TimerWheel() {
  const auto orphan = [](List& list) {
    for (Timer* timer = list.first; timer != nullptr;) {
      Timer* next = timer->next_;
      timer->wheel_ = nullptr;
      timer->prev_ = timer->next_ = nullptr;
      timer = next;
    }
  };
  for (List& list : fine_) orphan(list);
  for (List& list : coarse_) orphan(list);
  orphan(due_);
}

void TimerWheel::Insert(Timer* timer) {
  // Rounded up: a timer may be late, never early.
  const int64_t due = std::max((timer->deadline_ms_ + kFineMs - 1) / kFineMs, tick_ + 1);
  const int64_t distance = due - tick_;
  List* list;
  if (distance < static_cast<int64_t>(kSlots)) {
    const size_t slot = static_cast<size_t>(due) % kSlots;
    timer->slot_ = static_cast<uint16_t>(slot);
    fine_used_[slot / 64] |= uint64_t{1} << (slot % 64);
    list = &fine_[slot];
  } else {
    const int64_t now_coarse = tick_ / kCoarseTicks;
    const int64_t coarse =
        std::min(due / kCoarseTicks, now_coarse + static_cast<int64_t>(kSlots) - 1);
    const size_t slot = static_cast<size_t>(coarse) % kSlots;
    timer->slot_ = static_cast<uint16_t>(kCoarseBase + slot);
    coarse_used_[slot / 64] |= uint64_t{1} << (slot % 64);
    list = &coarse_[slot];
  }
  timer->prev_ = nullptr;
  timer->next_ = list->first;
  if (list->first != nullptr) list->first->prev_ = timer;
  list->first = timer;
}

void TimerWheel::Unlink(Timer* timer) {
  List* list = timer->slot_ == kDueSlot        ? &due_
               : timer->slot_ >= kCoarseBase ? &coarse_[timer->slot_ - kCoarseBase]
                                             : &fine_[timer->slot_];
  if (timer->prev_ != nullptr) {
    timer->prev_->next_ = timer->next_;
  } else {
    list->first = timer->next_;
    if (list->first == nullptr && timer->slot_ < kDueSlot) {
      const size_t slot = timer->slot_ % kSlots;
      auto& used = timer->slot_ >= kCoarseBase ? coarse_used_ : fine_used_;
      used[slot / 64] &= ~(uint64_t{1} << (slot % 64));
    }
  }
  if (timer->next_ != nullptr) timer->next_->prev_ = timer->prev_;
  timer->prev_ = timer->next_ = nullptr;
}

void TimerWheel::FireList(List& list) {
  // Moved aside first: a function that runs may arm or cancel any timer of any slot.
  while (Timer* timer = list.first) {
    Unlink(timer);
    timer->slot_ = kDueSlot;
    timer->next_ = due_.first;
    if (due_.first != nullptr) due_.first->prev_ = timer;
    due_.first = timer;
  }
  while (Timer* timer = due_.first) {
    Unlink(timer);
    if (timer->deadline_ms_ > tick_ * kFineMs) {
      Insert(timer);
      continue;
    }
    timer->wheel_ = nullptr;
    --size_;
    const auto fire = timer->fire_;  // the call may destroy the timer and its function
    if (fire) fire();
  }
}

void TimerWheel::Advance(int64_t now_ms) {
  const int64_t target = now_ms / kFineMs;
  while (tick_ < target) {
    const int gap = FirstUsed(fine_used_, static_cast<size_t>(tick_ + 1) % kSlots);
    const int64_t next_fine = gap < 0 ? target + 1 : tick_ + 1 + gap;
    const int64_t next_coarse = (tick_ / kCoarseTicks + 1) * kCoarseTicks;
    const int64_t next = std::min({next_fine, next_coarse, target});
    tick_ = next;
    if (tick_ % kCoarseTicks == 0) {
      FireList(coarse_[static_cast<size_t>(tick_ / kCoarseTicks) % kSlots]);
    }
    FireList(fine_[static_cast<size_t>(tick_) % kSlots]);
  }
}

int64_t TimerWheel::NextDeadline() const {
  if (size_ == 0) return -1;
  const int gap = FirstUsed(fine_used_, static_cast<size_t>(tick_ + 1) % kSlots);
  const int64_t fine = gap < 0 ? INT64_MAX : tick_ + 1 + gap;
  const int64_t now_coarse = tick_ / kCoarseTicks;
  const int coarse_gap = FirstUsed(coarse_used_, static_cast<size_t>(now_coarse + 1) % kSlots);
  const int64_t coarse = coarse_gap < 0 ? INT64_MAX : (now_coarse + 1 + coarse_gap) * kCoarseTicks;
  return std::min(fine, coarse) * kFineMs;
}

}  // namespace satchel::net
