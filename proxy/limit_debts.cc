#include "proxy/limit_debts.h"

#include <algorithm>
#include <limits>

#include "proxy/limit_keys.h"

namespace satchel::proxy {
namespace {

constexpr uint32_t kEntries = 256;  // steps of time within a window; counted late

rules::WindowSpec SpecFor(const rules::RateWindow& window, int64_t unit) {
  rules::WindowSpec spec = rules::SpecOf(window, kEntries, unit);
  spec.limit = std::numeric_limits<int64_t>::max() / 2;
  return spec;
}

}  // namespace

void LimitDebts::AddTo(Entry& entry, size_t window, int64_t units, int64_t now_us) {
  const rules::WindowSpec spec = SpecFor(entry.windows[window], units);
  rules::WindowLog* const log = &entry.logs[window];
  rules::WindowState state;
  rules::CheckWindows({&log, 1}, {&spec, 1}, {.count = 1, .force = true}, now_us, {&state, 1});
}

LimitDebts::Entry* LimitDebts::Find(std::string key) {
  const auto found = entries_.find(key);
  if (found != entries_.end()) return &found->second;
  if (entries_.size() >= max_) {
    ++lost_;
    return nullptr;
  }
  count_.store(entries_.size() + 1, std::memory_order_relaxed);
  return &entries_[std::move(key)];
}

void LimitDebts::Add(const LimitCheck& check, int64_t units, int64_t now_us) {
  if (units <= 0) return;
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(LocalKey(check));
  if (entry == nullptr) return;
  if (entry->windows != check.plan->windows) {
    entry->policy = check.policy->name;
    entry->id = check.id;
    entry->max_entries = check.policy->max_entries;
    entry->windows = check.plan->windows;
    entry->logs.assign(entry->windows.size(), rules::WindowLog());
  }
  for (size_t i = 0; i < entry->windows.size(); ++i) AddTo(*entry, i, units, now_us);
}

std::vector<LimitDebts::Debt> LimitDebts::Take(size_t most, int64_t now_us) {
  std::vector<Debt> debts;
  const std::lock_guard lock(mutex_);
  while (!entries_.empty() && debts.size() < most) {
    Entry& entry = entries_.begin()->second;
    Debt debt{entry.policy, entry.id, entry.max_entries, entry.windows, {}};
    bool any = false;
    for (size_t i = 0; i < entry.windows.size(); ++i) {
      const rules::WindowSpec spec = SpecFor(entry.windows[i], 1);
      const int64_t units = spec.limit - entry.logs[i].Fits(now_us, spec, 0);
      debt.units.push_back(units);
      any = any || units > 0;
    }
    entries_.erase(entries_.begin());
    if (any) debts.push_back(std::move(debt));
  }
  count_.store(entries_.size(), std::memory_order_relaxed);
  return debts;
}

void LimitDebts::PutBack(const Debt& debt, int64_t now_us) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(LocalKey({debt.id.data(), debt.id.size()}, debt.policy));
  if (entry == nullptr) return;
  if (entry->windows != debt.windows) {
    entry->policy = debt.policy;
    entry->id = debt.id;
    entry->max_entries = debt.max_entries;
    entry->windows = debt.windows;
    entry->logs.assign(entry->windows.size(), rules::WindowLog());
  }
  for (size_t i = 0; i < debt.units.size(); ++i) {
    if (debt.units[i] > 0) AddTo(*entry, i, debt.units[i], now_us);
  }
}

uint64_t LimitDebts::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

bool LimitDebts::Forget(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const size_t gone = entries_.erase(key);
  count_.store(entries_.size(), std::memory_order_relaxed);
  return gone != 0;
}

}  // namespace satchel::proxy
