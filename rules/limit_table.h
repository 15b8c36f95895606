#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rules/rate_limit.h"
#include "rules/sliding_window.h"

namespace satchel::rules {

// What one policy asks for one identity.
struct LimitAsk {
  std::string_view key;  // names identity and policy
  const Plan* plan = nullptr;
  int64_t unit = 1;
  uint32_t max_entries = WindowLog::kMaxEntries;
  int64_t penalty = 0;  // microseconds; 0: none
  uint64_t share = 1;   // limits are divided by this
  bool slots = true;    // false: windows alone, for charges after the fact
};

// How all that limits stands: the plan's windows in their order, then concurrency if the plan
// limits it, then the penalty if there is one.
struct LimitStates {
  static constexpr size_t kMaxWindows = 8;
  static constexpr size_t kMax = kMaxWindows + 2;
  static constexpr int64_t kSlotWait = 1'000'000;  // nobody knows when a slot is given back

  size_t count = 0;
  std::array<WindowState, kMax> states;
};

// The windows of a plan that count, and how many states there are with concurrency and penalty.
size_t WindowCount(const Plan& plan);
size_t StateCount(const Plan& plan, int64_t penalty, bool slots);

// The state of many identities, bounded: the least recently used identity is forgotten when
// `max_identities` is passed, or once nothing of it counts any more. Not thread-safe; one table per
// shard of the identity.
class LimitTable {
 public:
  static constexpr size_t kMaxWindows = LimitStates::kMaxWindows;

  explicit LimitTable(size_t max_identities) : max_identities_(max_identities) {}

  class Node {
   private:
    friend class LimitTable;
    std::string key_;
    std::vector<int64_t> windows_;  // lengths the logs were kept for
    std::vector<WindowLog> logs_;
    int64_t penalty_until_ = 0;
    int64_t slots_ = 0;       // in use
    int64_t busy_until_ = 0;  // when nothing counts any more
  };

  // The node of that identity, made if need be. Valid until the table has been asked for
  // another `pinned` + 1 keys; pass how many nodes found before are still in use.
  Node* Find(const LimitAsk& ask, int64_t now, size_t pinned = 0);

  // One check of all: granted as many calls as fit everywhere, or none recorded. nodes, asks and
  // states have equal sizes; the nodes may be of several tables. `now` is in microseconds; a step
  // back is tolerated (never admits too much).
  static int64_t Check(std::span<Node* const> nodes, std::span<const LimitAsk> asks,
                       const Charge& charge, int64_t now, std::span<LimitStates> states);

  void GiveBack(std::string_view key, int64_t slots);
  // True if there was anything.
  bool Forget(std::string_view key);

  size_t size() const { return index_.size(); }
  uint64_t evictions() const { return evictions_; }  // identities forgotten while still counting

 private:
  void DropLast(int64_t now);
  static void Reshape(Node& node, const Plan& plan);

  size_t max_identities_;
  std::list<Node> order_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Node>::iterator> index_;
  uint64_t evictions_ = 0;
};

}  // namespace satchel::rules
