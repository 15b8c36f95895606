#pragma once

#include <cstdint>

namespace satchel::net {

// Stops asking a server that does not answer. Opens after `failures` in a row, or when of at least
// `min_calls` within `window_ms` the share `failed_share` failed; when `open_ms` is
// over one probe may go through. A failed probe opens it again for twice the time, up to the cap;
// a good one closes it. Pure: time (any monotonic milliseconds) and randomness are passed in.
class Breaker {
 public:
  struct Options {
    uint32_t failures = 5;
    int64_t open_ms = 2000;
    int64_t max_open_ms = 30'000;
    double failed_share = 0.5;  // above 1: only failures in a row count
    uint32_t min_calls = 20;
    int64_t window_ms = 1000;
    double jitter =
        0.2;  // open times vary by up to this share, so that a fleet does not probe at once
  };
  enum class State : uint8_t { kClosed, kOpen, kProbing };

  explicit Breaker(Options options) : options_(options) {}

  State state() const { return state_; }
  bool closed() const { return state_ == State::kClosed; }
  // When a probe is due; meaningful while open.
  int64_t probe_at_ms() const { return probe_at_ms_; }

  // Outcome of a call. While open, outcomes of calls sent earlier change nothing. True if this
  // opened or closed it. `random` is in [0, 1).
  bool Success(int64_t now_ms);
  bool Failure(int64_t now_ms, double random);

  // True: the caller, and nobody else, may send one probe now and report its outcome.
  bool TryProbe(int64_t now_ms);

  // The same, but whatever the time: there is news of the server (a new connection was greeted).
  bool ProbeNow();

 private:
  struct Half {  // of the window
    int64_t number = 0;
    uint32_t calls = 0;
    uint32_t failed = 0;
  };
  bool Close();
  void Count(int64_t now_ms, bool failed);
  bool TooManyFailed() const;
  void Open(int64_t now_ms, double random);

  const Options options_;
  State state_ = State::kClosed;
  uint32_t consecutive_ = 0;
  Half current_;
  Half previous_;
  int64_t open_for_ms_ = 0;  // of the last opening, before jitter; 0 = never opened since success
  int64_t probe_at_ms_ = 0;
};

}  // namespace satchel::net
