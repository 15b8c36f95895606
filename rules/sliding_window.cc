#include "rules/sliding_window.h"

#include <algorithm>
#include <utility>

namespace satchel::rules {
namespace {

int64_t FloorDiv(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t RoundUp(int64_t value, int64_t step) { return -FloorDiv(-value, step) * step; }

}  // namespace

void WindowLog::Prune(int64_t now, const WindowSpec& spec, int64_t lease) {
  while (!entries_.empty() && entries_.front().time <= now - spec.window) entries_.pop_front();
  // The clock went back by more than a window: what is left would count for too long.
  if (!entries_.empty() && entries_.back().time > now + spec.window + lease + spec.resolution) {
    entries_.clear();
  }
}

int64_t WindowLog::used() const {
  if (entries_.empty()) return 0;
  return entries_.back().total - (entries_.front().total - entries_.front().cost);
}

void WindowLog::Add(int64_t cost, int64_t now, const WindowSpec& spec, int64_t lease) {
  int64_t time = now + lease;
  if (spec.resolution > 1) time = RoundUp(time, spec.resolution);
  int64_t total = entries_.empty() ? 0 : entries_.back().total;
  if (!entries_.empty()) {
    const Entry last = entries_.back();
    const bool same_bucket = spec.resolution > 1 && time <= last.time;
    if (same_bucket) time = last.time;
    if (time <= last.time && !same_bucket) time = last.time + 1;  // times strictly increase
    if (same_bucket || entries_.size() >= kMaxEntries) {
      cost += last.cost;
      total -= last.cost;
      entries_.pop_back();
    }
  }
  entries_.push_back({time, total + cost, cost});
}

WindowState WindowLog::StateOf(const WindowSpec& spec, const Charge& charge, int64_t granted,
                               int64_t now) const {
  WindowState state;
  state.remaining = spec.limit - used();
  if (!entries_.empty()) state.reset = entries_.front().time + spec.window - now;
  const int64_t need = charge.unit - state.remaining;  // units that must leave first
  if (charge.unit > spec.limit) {
    state.wait = -1;
  } else if (granted < charge.count && need > 0) {
    const int64_t base = entries_.front().total - entries_.front().cost;
    const auto leaves =
        std::partition_point(entries_.begin(), entries_.end(),
                             [&](const Entry& entry) { return entry.total - base < need; });
    state.wait = (leaves == entries_.end() ? entries_.back() : *leaves).time + spec.window - now;
  }
  return state;
}

int64_t CheckWindows(std::span<WindowLog> logs, std::span<const WindowSpec> specs,
                     const Charge& asked, int64_t now, std::span<WindowState> states) {
  Charge charge = asked;
  charge.unit = std::max<int64_t>(charge.unit, 1);
  int64_t granted = charge.count;
  for (size_t i = 0; i < logs.size(); ++i) {
    logs[i].Prune(now, specs[i], charge.lease);
    if (charge.force) continue;
    granted = std::min(granted, FloorDiv(specs[i].limit - logs[i].used(), charge.unit));
  }
  granted = std::max<int64_t>(granted, 0);
  for (size_t i = 0; i < logs.size(); ++i) {
    if (granted > 0) logs[i].Add(granted * charge.unit, now, specs[i], charge.lease);
    states[i] = logs[i].StateOf(specs[i], charge, granted, now);
  }
  return granted;
}

WindowSpec SpecOf(const RateWindow& window) {
  constexpr int64_t kExactUpTo = 1024;
  WindowSpec spec;
  spec.limit = static_cast<int64_t>(window.limit);
  spec.window = window.window.count();
  if (spec.limit > kExactUpTo) spec.resolution = (spec.window + kExactUpTo - 1) / kExactUpTo;
  return spec;
}

void LimitTable::DropLast(int64_t now) {
  if (order_.back().busy_until > now) ++evictions_;
  index_.erase(order_.back().key);
  order_.pop_back();
}

LimitTable::Node& LimitTable::Touch(std::string_view key, int64_t now) {
  const auto found = index_.find(key);
  if (found != index_.end()) {
    order_.splice(order_.begin(), order_, found->second);
    return order_.front();
  }
  // A new identity pays for clearing away old ones: two, so that the table shrinks again.
  for (int i = 0; i < 2 && !order_.empty() && order_.back().busy_until <= now; ++i) DropLast(now);
  while (!order_.empty() && order_.size() >= max_identities_) DropLast(now);
  order_.push_front({std::string(key), {}, {}, 0});
  index_.emplace(order_.front().key, order_.begin());
  return order_.front();
}

LimitTable::Verdict LimitTable::Check(std::string_view key, const Plan& plan, const Charge& charge,
                                      int64_t now) {
  Verdict verdict;
  verdict.windows = std::min(plan.windows.size(), kMaxWindows);
  std::array<WindowSpec, kMaxWindows> specs;
  for (size_t i = 0; i < verdict.windows; ++i) specs[i] = SpecOf(plan.windows[i]);

  Node& node = Touch(key, now);
  bool same = node.windows.size() == verdict.windows;
  for (size_t i = 0; same && i < verdict.windows; ++i) same = node.windows[i] == specs[i].window;
  if (!same) {
    // Another configuration: a window of the same length goes on, a new one begins empty.
    std::vector<WindowLog> logs(verdict.windows);
    std::vector<int64_t> windows(verdict.windows);
    for (size_t i = 0; i < verdict.windows; ++i) {
      windows[i] = specs[i].window;
      const auto old = std::find(node.windows.begin(), node.windows.end(), windows[i]);
      if (old == node.windows.end()) continue;
      logs[i] = std::move(node.logs[static_cast<size_t>(old - node.windows.begin())]);
      *old = -1;
    }
    node.logs = std::move(logs);
    node.windows = std::move(windows);
  }
  verdict.granted = CheckWindows(node.logs, std::span(specs).first(verdict.windows), charge, now,
                                 std::span(verdict.states).first(verdict.windows));
  node.busy_until = now;
  for (size_t i = 0; i < verdict.windows; ++i) {
    if (node.logs[i].empty()) continue;
    node.busy_until =
        std::max(node.busy_until, node.logs[i].entries_.back().time + specs[i].window);
  }
  return verdict;
}

}  // namespace satchel::rules
