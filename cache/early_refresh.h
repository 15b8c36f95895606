#pragma once

#include "cache/base/clock.h"
#include "cache/fetch_time.h"
#include "cache/overrides.h"
#include "cache/response_facts.h"

namespace satchel::cache {

// Refreshing a response before it expires, so that nobody waits for the origin when it does (XFetch:
// Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", 2015). Each
// hit draws a number: the nearer the end, the longer the fetch, and the greater the rule's weight,
// the likelier it is that this hit begins a refresh in the background. One hit in e draws more than
// the fetch time itself, so that busy entries are refreshed about a fetch or a few before their end
// and idle ones not at all.

// Beyond so many fetch times a draw is as good as never met (1 in 60,000), and ends.
inline constexpr double kLongestDraw = 11;

inline double EarlyRefreshWeight(const ResponseFacts& facts, const Overrides& overrides) {
  // A stale window hides the fetch already.
  return overrides.early_refresh.value_or(facts.swr_granted ? 0.0 : 1.0);
}

// Could a draw be met with `left` of the lifetime to come? Never in its first half, however slow the
// origin. For most hits one comparison.
inline bool NearsExpiry(const ResponseFacts& facts, Millis left, const Overrides& overrides) {
  if (left * 2 > facts.lifetime || facts.fetch_time == 0) return false;
  const double longest = static_cast<double>(UnpackFetchTime(facts.fetch_time).count()) *
                         EarlyRefreshWeight(facts, overrides) * kLongestDraw;
  return static_cast<double>(left.count()) < longest;
}

// `random` in [0, 1).
bool RefreshesEarly(const ResponseFacts& facts, Millis left, double random,
                    const Overrides& overrides);

}  // namespace satchel::cache
