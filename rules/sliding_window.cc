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
  while (!empty() && front().time <= now - spec.window) ++first_;
  // The clock went back by more than a window: what is left would count for too long.
  if (empty() || entries_.back().time > now + spec.window + lease + spec.resolution) {
    Clear();
  } else if (first_ > entries_.size() / 2) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(first_));
    first_ = 0;
  }
}

void WindowLog::Clear() {
  constexpr size_t kKeep = 32;  // what was busy once need not keep its memory
  first_ = 0;
  entries_.clear();
  if (entries_.capacity() > kKeep) entries_ = {};
}

int64_t WindowLog::used() const {
  if (empty()) return 0;
  return entries_.back().total - (front().total - front().cost);
}

void WindowLog::Add(int64_t cost, int64_t now, const WindowSpec& spec, int64_t lease) {
  int64_t time = now + lease;
  if (spec.resolution > 1) time = RoundUp(time, spec.resolution);
  int64_t total = empty() ? 0 : entries_.back().total;
  if (!empty()) {
    const Entry last = entries_.back();
    const bool same_bucket = spec.resolution > 1 && time <= last.time;
    if (same_bucket) time = last.time;
    if (time <= last.time && !same_bucket) time = last.time + 1;  // times strictly increase
    if (same_bucket || entries() >= kMaxEntries) {
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
  if (!empty()) state.reset = front().time + spec.window - now;
  const int64_t need = spec.unit - state.remaining;  // units that must leave first
  if (spec.unit > spec.limit) {
    state.wait = -1;
  } else if (granted < charge.count && need > 0) {
    const int64_t base = front().total - front().cost;
    const auto leaves =
        std::partition_point(entries_.begin() + static_cast<ptrdiff_t>(first_), entries_.end(),
                             [&](const Entry& entry) { return entry.total - base < need; });
    state.wait = (leaves == entries_.end() ? entries_.back() : *leaves).time + spec.window - now;
  }
  return state;
}

int64_t WindowLog::Fits(int64_t now, const WindowSpec& spec, int64_t lease) {
  Prune(now, spec, lease);
  return FloorDiv(spec.limit - used(), spec.unit);
}

int64_t CheckWindows(std::span<WindowLog* const> logs, std::span<const WindowSpec> specs,
                     const Charge& charge, int64_t now, std::span<WindowState> states) {
  int64_t granted = std::min(charge.count, charge.at_most);
  for (size_t i = 0; i < logs.size(); ++i) {
    const int64_t fits = logs[i]->Fits(now, specs[i], charge.lease);
    if (!charge.force) granted = std::min(granted, fits);
  }
  granted = std::max<int64_t>(granted, 0);
  for (size_t i = 0; i < logs.size(); ++i) {
    if (granted > 0) logs[i]->Add(granted * specs[i].unit, now, specs[i], charge.lease);
    states[i] = logs[i]->StateOf(specs[i], charge, granted, now);
  }
  return granted;
}

WindowSpec SpecOf(const RateWindow& window, uint32_t max_entries, int64_t unit, uint64_t share) {
  WindowSpec spec;
  uint64_t limit = window.limit;
  if (share > 1 && limit > 0) limit = std::max<uint64_t>(1, limit / share);
  spec.limit = static_cast<int64_t>(limit);
  spec.window = window.window.count();
  spec.unit = std::max<int64_t>(unit, 1);
  if (window.limit > max_entries) {
    spec.resolution = std::max<int64_t>(1, (spec.window + max_entries - 1) / max_entries);
  }
  return spec;
}

}  // namespace satchel::rules
