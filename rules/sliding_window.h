#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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
};

// A question to the log: `count` calls of `unit` each.
struct Charge {
  int64_t unit = 1;
  int64_t count = 1;   // 0 only looks
  int64_t lease = 0;   // microseconds by which the entries count later (slots used later)
  bool force = false;  // charge above the limit: debt
};

struct WindowState {
  int64_t remaining = 0;  // negative after a forced charge or a lowered limit
  int64_t reset = 0;      // until the oldest entry leaves; 0 if there is none
  int64_t wait = 0;  // until one more unit fits; 0 = it fits; -1 = it never will (unit > limit)
  bool operator==(const WindowState&) const = default;
};

// The log of one identity in one window: times and running totals, oldest first. The same
// semantics as one sorted set under the Redis script.
class WindowLog {
 public:
  // More entries than this are merged into the last one (counted late).
  static constexpr size_t kMaxEntries = 4096;

  bool empty() const { return entries_.empty(); }
  size_t entries() const { return entries_.size(); }

 private:
  friend int64_t CheckWindows(std::span<WindowLog> logs, std::span<const WindowSpec> specs,
                              const Charge& charge, int64_t now, std::span<WindowState> states);
  friend class LimitTable;
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

  std::deque<Entry> entries_;
};

// Grants as many of `charge.count` calls as fit into all windows at once, records exactly those,
// and returns how many. logs, specs and states have equal sizes. Refused calls are not recorded.
int64_t CheckWindows(std::span<WindowLog> logs, std::span<const WindowSpec> specs,
                     const Charge& charge, int64_t now, std::span<WindowState> states);

// The logs of many identities, bounded: the least recently used identity is forgotten when
// `max_identities` is passed, or once nothing of it counts any more. Not thread-safe; one table per
// shard of the identity.
class LimitTable {
 public:
  static constexpr size_t kMaxWindows = 8;

  explicit LimitTable(size_t max_identities) : max_identities_(max_identities) {}

  struct Verdict {
    int64_t granted = 0;
    size_t windows = 0;
    std::array<WindowState, kMaxWindows> states;  // in the order of the plan
  };

  // `key` names identity and policy; at most kMaxWindows of the plan's windows count. `now` is in
  // microseconds; a step back is tolerated (never admits too much).
  Verdict Check(std::string_view key, const Plan& plan, const Charge& charge, int64_t now);

  size_t size() const { return index_.size(); }
  uint64_t evictions() const { return evictions_; }  // identities forgotten while still counting

 private:
  struct Node {
    std::string key;
    std::vector<int64_t> windows;  // lengths the logs were kept for
    std::vector<WindowLog> logs;
    int64_t busy_until = 0;  // when the last entry leaves
  };

  Node& Touch(std::string_view key, int64_t now);
  void DropLast(int64_t now);

  size_t max_identities_;
  std::list<Node> order_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Node>::iterator> index_;
  uint64_t evictions_ = 0;
};

// The resolution at which the log of a window stays small: exact up to 1,024 units, else a 1,024th
// of the window.
WindowSpec SpecOf(const RateWindow& window);

}  // namespace satchel::rules
