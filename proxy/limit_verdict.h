#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "rules/limit_table.h"
#include "rules/rate_limit.h"

namespace satchel::proxy {

// One question: may this identity do something that costs `cost` now? Policy and plan are of the
// snapshot that the request holds.
struct LimitCheck {
  const rules::RateLimitPolicy* policy = nullptr;
  const rules::Plan* plan = nullptr;
  std::array<char, 22> id{};  // rules::Identity::id
  int64_t cost = 1;

  std::string_view id_text() const { return {id.data(), id.size()}; }
  bool operator==(const LimitCheck&) const = default;
};

// One window after the decision. `name` belongs to the plan. Requests under way at once are a
// window named "concurrent" without a length, and so is a running "penalty".
struct WindowVerdict {
  std::string_view name;
  uint64_t limit = 0;
  int64_t window_us = 0;
  int64_t remaining = 0;  // never negative
  int64_t reset_us = 0;   // until the oldest counted unit leaves; 0 = nothing is counted
  int64_t wait_us = 0;    // until `cost` fits; 0 = it fits now; -1 = it never will
};

struct LimitVerdict {
  enum class Source : uint8_t {
    kRedis,
    kLocal,    // in-process: no Redis configured
    kShare,    // in-process: Redis is away, store_down: local_share
    kRefusal,  // remembered: Redis refused, and its answer still holds
    kLease,    // a slot taken ahead
    kOpen,     // store_down: open. No windows.
    kClosed,   // store_down: closed. No windows.
  };
  static constexpr size_t kMaxWindows = rules::LimitStates::kMax;

  bool allowed = true;  // before `policy->mode` is applied: shadow policies never refuse
  Source source = Source::kLocal;
  const rules::RateLimitPolicy* policy = nullptr;
  uint8_t window_count = 0;
  int8_t violated = -1;  // index of the window that holds longest, if refused by a window
  std::array<WindowVerdict, kMaxWindows> window_storage;

  std::span<const WindowVerdict> windows() const { return {window_storage.data(), window_count}; }
  // Whether the request is to be refused: not allowed, and not a shadow policy.
  bool Refuses() const {
    return !allowed && policy != nullptr && policy->mode == rules::LimitMode::kEnforce;
  }
  int64_t wait_us() const {
    return violated < 0 ? 0 : window_storage[static_cast<size_t>(violated)].wait_us;
  }
};

// What `states` mean for `check`. `allowed` says whether it was granted; where it was not, but
// nothing of this policy stood in the way, the verdict allows and another of the call refuses.
LimitVerdict VerdictOf(const LimitCheck& check, bool allowed, LimitVerdict::Source source,
                       const rules::LimitStates& states);

}  // namespace satchel::proxy
