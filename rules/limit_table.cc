#include "rules/limit_table.h"

#include <algorithm>
#include <array>
#include <memory_resource>
#include <utility>

namespace satchel::rules {

size_t WindowCount(const Plan& plan) {
  return std::min(plan.windows.size(), LimitStates::kMaxWindows);
}

size_t StateCount(const Plan& plan, int64_t penalty, bool slots) {
  if (!slots) return WindowCount(plan);
  return WindowCount(plan) + (plan.concurrent != 0 ? 1 : 0) + (penalty > 0 ? 1 : 0);
}

void LimitTable::DropLast(int64_t now) {
  if (order_.back().busy_until_ > now || order_.back().slots_ > 0) ++evictions_;
  index_.erase(order_.back().key_);
  order_.pop_back();
}

LimitTable::Node* LimitTable::Find(const LimitAsk& ask, int64_t now, size_t pinned) {
  const auto found = index_.find(ask.key);
  if (found != index_.end()) {
    order_.splice(order_.begin(), order_, found->second);
  } else {
    const auto idle = [now](const Node& node) {
      return node.busy_until_ <= now && node.slots_ == 0;
    };
    // A new identity pays for clearing away old ones: two, so that the table shrinks again.
    for (int i = 0; i < 2 && order_.size() > pinned && idle(order_.back()); ++i) DropLast(now);
    while (order_.size() > pinned && order_.size() >= max_identities_) DropLast(now);
    order_.emplace_front();
    order_.front().key_ = ask.key;
    index_.emplace(order_.front().key_, order_.begin());
  }
  Reshape(order_.front(), *ask.plan);
  return &order_.front();
}

// After another configuration: a window of the same length goes on, a new one begins empty.
void LimitTable::Reshape(Node& node, const Plan& plan) {
  const size_t count = WindowCount(plan);
  bool same = node.windows_.size() == count;
  for (size_t i = 0; same && i < count; ++i) {
    same = node.windows_[i] == plan.windows[i].window.count();
  }
  if (same) return;
  std::vector<WindowLog> logs(count);
  std::vector<int64_t> windows(count);
  for (size_t i = 0; i < count; ++i) {
    windows[i] = plan.windows[i].window.count();
    const auto old = std::find(node.windows_.begin(), node.windows_.end(), windows[i]);
    if (old == node.windows_.end()) continue;
    logs[i] = std::move(node.logs_[static_cast<size_t>(old - node.windows_.begin())]);
    *old = -1;
  }
  node.logs_ = std::move(logs);
  node.windows_ = std::move(windows);
}

int64_t LimitTable::Check(std::span<Node* const> nodes, std::span<const LimitAsk> asks,
                          const Charge& charge, int64_t now, std::span<LimitStates> states) {
  // Room on the stack for what most requests ask.
  std::array<std::byte, 1024> room;
  std::pmr::monotonic_buffer_resource memory(room.data(), room.size());
  std::pmr::vector<WindowLog*> logs(&memory);
  std::pmr::vector<WindowSpec> specs(&memory);
  Charge whole = charge;
  // First what stops calls without a log, and who lacks room and is to be punished.
  std::pmr::vector<bool> punished(nodes.size(), false, &memory);
  for (size_t i = 0; i < nodes.size(); ++i) {
    Node& node = *nodes[i];
    const LimitAsk& ask = asks[i];
    const size_t windows = WindowCount(*ask.plan);
    for (size_t w = 0; w < windows; ++w) {
      logs.push_back(&node.logs_[w]);
      specs.push_back(SpecOf(ask.plan->windows[w], ask.max_entries, ask.unit, ask.share));
      if (ask.penalty > 0 && !charge.force &&
          logs.back()->Fits(now, specs.back(), charge.lease) < charge.count) {
        punished[i] = true;
      }
    }
    if (!ask.slots) continue;
    // A clock that went back must not make a penalty longer than it is.
    if (node.penalty_until_ > now + ask.penalty) node.penalty_until_ = 0;
    if (node.penalty_until_ > now) whole.at_most = 0;
    if (ask.plan->concurrent != 0) {
      const auto limit = static_cast<int64_t>(
          std::max<uint64_t>(1, ask.plan->concurrent / std::max<uint64_t>(1, ask.share)));
      whole.at_most = std::min(whole.at_most, std::max<int64_t>(0, limit - node.slots_));
    }
  }
  std::pmr::vector<WindowState> flat(logs.size(), &memory);
  const int64_t granted = CheckWindows(logs, specs, whole, now, flat);

  size_t at = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    Node& node = *nodes[i];
    const LimitAsk& ask = asks[i];
    LimitStates& own = states[i];
    const size_t windows = WindowCount(*ask.plan);
    own.count = windows;
    node.busy_until_ = std::max(now, node.penalty_until_);
    for (size_t w = 0; w < windows; ++w, ++at) {
      own.states[w] = flat[at];
      if (!logs[at]->empty()) {
        node.busy_until_ = std::max(node.busy_until_, logs[at]->last_time() + specs[at].window);
      }
    }
    if (!ask.slots) continue;
    if (ask.plan->concurrent != 0) {
      const auto limit = static_cast<int64_t>(
          std::max<uint64_t>(1, ask.plan->concurrent / std::max<uint64_t>(1, ask.share)));
      const bool lacks = limit - node.slots_ < charge.count;
      node.slots_ += granted;
      own.states[own.count++] = {limit - node.slots_, 0, lacks ? LimitStates::kSlotWait : 0};
    }
    if (ask.penalty > 0) {
      if (punished[i] && node.penalty_until_ <= now) node.penalty_until_ = now + ask.penalty;
      node.busy_until_ = std::max(node.busy_until_, node.penalty_until_);
      own.states[own.count++] = {0, 0, std::max<int64_t>(0, node.penalty_until_ - now)};
    }
  }
  return granted;
}

void LimitTable::GiveBack(std::string_view key, int64_t slots) {
  const auto found = index_.find(key);
  if (found == index_.end()) return;
  found->second->slots_ = std::max<int64_t>(0, found->second->slots_ - slots);
}

bool LimitTable::Forget(std::string_view key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return false;
  const auto node = found->second;
  // Its slots are still in use.
  const int64_t slots = node->slots_;
  if (slots > 0) {
    node->logs_.assign(node->windows_.size(), WindowLog());
    node->penalty_until_ = 0;
    node->busy_until_ = 0;
    return true;
  }
  index_.erase(found);
  order_.erase(node);
  return true;
}

}  // namespace satchel::rules
