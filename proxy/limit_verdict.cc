#include "proxy/limit_verdict.h"

#include <algorithm>

namespace satchel::proxy {

LimitVerdict VerdictOf(const LimitCheck& check, bool allowed, LimitVerdict::Source source,
                       const rules::LimitStates& states) {
  LimitVerdict verdict;
  verdict.source = source;
  verdict.policy = check.policy;
  const size_t windows = rules::WindowCount(*check.plan);
  int64_t longest = 0;
  size_t used = 0;
  for (size_t i = 0; i < states.count; ++i) {
    const rules::WindowState& state = states.states[i];
    WindowVerdict& told = verdict.window_storage[used];
    if (i < windows) {
      const rules::RateWindow& window = check.plan->windows[i];
      told = {window.name, window.limit, window.window.count(), 0, 0, 0};
    } else if (i == windows && check.plan->concurrent != 0) {
      told = {"concurrent", check.plan->concurrent, 0, 0, 0, 0};
    } else if (!allowed && state.wait != 0) {
      told = {"penalty", 0, 0, 0, 0, 0};
    } else {
      continue;  // no penalty runs
    }
    told.remaining = std::max<int64_t>(0, state.remaining);
    told.reset_us = std::max<int64_t>(0, state.reset);
    if (!allowed) told.wait_us = state.wait;
    if (!allowed && longest >= 0 && (state.wait < 0 || state.wait > longest)) {
      longest = state.wait;  // -1, never, is the longest of all
      verdict.violated = static_cast<int8_t>(used);
    }
    ++used;
  }
  verdict.window_count = static_cast<uint8_t>(used);
  verdict.allowed = allowed || verdict.violated < 0;
  return verdict;
}

}  // namespace satchel::proxy
