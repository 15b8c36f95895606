#include "proxy/net/breaker.h"

#include <algorithm>

namespace satchel::net {

bool Breaker::Success() {
  switch (state_) {
    case State::kClosed:
      consecutive_ = 0;
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
      if (++consecutive_ < options_.failures) return false;
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

bool Breaker::TryProbe(int64_t now_ms) {
  if (state_ != State::kOpen || now_ms < probe_at_ms_) return false;
  state_ = State::kProbing;
  return true;
}

bool Breaker::Close() {
  const bool changed = state_ != State::kClosed;
  state_ = State::kClosed;
  consecutive_ = 0;
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
