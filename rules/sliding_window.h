#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "rules/rate_limit.h"

namespace satchel::rules {

// One window as the algorithm sees it. Times are microseconds of one clock.
struct WindowSpec {
  int64_t limit = 0;
  int64_t window = 0;
  // Entries are rounded up to a multiple of this, so that one entry serves a whole stretch of
  // time: counted late, never early. 1 = exact.
  int64_t resolution = 1;
  int64_t unit = 1;  // what one call costs
  bool operator==(const WindowSpec&) const = default;
};

// A question to the logs.
struct Charge {
  int64_t count = 1;   // calls; 0 only looks
  int64_t lease = 0;   // microseconds by which the entries count later (slots used later)
  bool force = false;  // charge above the limit: debt
  // What else allows: no more calls than this are granted, forced or not.
  int64_t at_most = std::numeric_limits<int64_t>::max();
};

struct WindowState {
  int64_t remaining = 0;  // negative after a forced charge or a lowered limit
  int64_t reset = 0;      // until the oldest entry leaves; 0 if there is none
  int64_t wait = 0;       // until one more call fits; 0 = it fits; -1 = it never will (unit > limit)
  bool operator==(const WindowState&) const = default;
};

// The log of one identity in one window: times and running totals, oldest first. The same
// semantics as one sorted set under the Redis script.
class WindowLog {
 public:
  // More entries than this are merged into the last one (counted late).
  static constexpr size_t kMaxEntries = 4096;

  bool empty() const { return first_ == entries_.size(); }
  size_t entries() const { return entries_.size() - first_; }
  // When the last entry was made; 0 if there is none.
  int64_t last_time() const { return empty() ? 0 : entries_.back().time; }
  // How many calls fit after what has left by `now` is gone. May be negative.
  int64_t Fits(int64_t now, const WindowSpec& spec, int64_t lease);

 private:
  friend int64_t CheckWindows(std::span<WindowLog* const> logs, std::span<const WindowSpec> specs,
                              const Charge& charge, int64_t now, std::span<WindowState> states);
  struct Entry {
    int64_t time;
    int64_t total;  // running total including this entry
    int64_t cost;
  };

  void Prune(int64_t now, const WindowSpec& spec, int64_t lease);
  int64_t used() const;
  void Add(int64_t cost, int64_t now, const WindowSpec& spec, int64_t lease);
  WindowState StateOf(const WindowSpec& spec, const Charge& charge, int64_t granted,
                      int64_t now) const;

  const Entry& front() const { return entries_[first_]; }
  void Clear();

  // Those before `first_` have left. Many identities have one entry or two: a vector is as small.
  std::vector<Entry> entries_;
  size_t first_ = 0;
};

// Grants as many of `charge.count` calls as fit into all windows at once, records exactly those,
// and returns how many. logs, specs and states have equal sizes. Refused calls are not recorded.
int64_t CheckWindows(std::span<WindowLog* const> logs, std::span<const WindowSpec> specs,
                     const Charge& charge, int64_t now, std::span<WindowState> states);

// How the log of a window stays within `max_entries`: exact where the limit does, else in that
// many steps of time. `share`: the limit is divided by it, at least 1 is left of one that is not 0.
WindowSpec SpecOf(const RateWindow& window, uint32_t max_entries, int64_t unit,
                  uint64_t share = 1);

}  // namespace satchel::rules
