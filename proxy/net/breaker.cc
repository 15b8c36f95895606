#include "proxy/net/breaker.h"

#include <algorithm>

namespace satchel::net {

void Breaker::Count(int64_t now_ms, bool failed) {
  const int64_t number = now_ms / std::max<int64_t>(1, options_.window_ms / 2);
  if (number != current_.number) {
    previous_ = number == current_.number + 1 ? current_ : Half();
    current_ = {.number = number};
  }
  ++current_.calls;
  if (failed) ++current_.failed;
}

bool Breaker::TooManyFailed() const {
  const uint32_t calls = current_.calls + previous_.calls;
  const uint32_t failed = current_.failed + previous_.failed;
  return calls >= options_.min_calls &&
         static_cast<double>(failed) >= options_.failed_share * static_cast<double>(calls);
}

bool Breaker::Success(int64_t now_ms) {
  switch (state_) {
    case State::kClosed:
      consecutive_ = 0;
      Count(now_ms, false);
      return false;
    case State::kOpen:
      return false;
    case State::kProbing:
      return Close();
  }
  return false;
}

bool Breaker::Failure(int64_t now_ms, double random) {
  switch (state_) {
    case State::kClosed:
      Count(now_ms, true);
      if (++consecutive_ < options_.failures && !TooManyFailed()) return false;
      Open(now_ms, random);
      return true;
    case State::kOpen:
      return false;
    case State::kProbing:
      Open(now_ms, random);
      return false;
  }
  return false;
}

bool Breaker::TryProbe(int64_t now_ms) { return now_ms >= probe_at_ms_ && ProbeNow(); }

bool Breaker::ProbeNow() {
  if (state_ != State::kOpen) return false;
  state_ = State::kProbing;
  return true;
}

bool Breaker::Close() {
  const bool changed = state_ != State::kClosed;
  state_ = State::kClosed;
  consecutive_ = 0;
  current_ = previous_ = Half();
  open_for_ms_ = 0;
  return changed;
}

void Breaker::Open(int64_t now_ms, double random) {
  state_ = State::kOpen;
  consecutive_ = 0;
  open_for_ms_ =
      open_for_ms_ == 0 ? options_.open_ms : std::min(open_for_ms_ * 2, options_.max_open_ms);
  const double spread = 1 + options_.jitter * (2 * random - 1);
  probe_at_ms_ = now_ms + static_cast<int64_t>(static_cast<double>(open_for_ms_) * spread);
}

}  // namespace satchel::net
