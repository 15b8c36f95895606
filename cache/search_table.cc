#include "cache/search_table.h"

#include <algorithm>
#include <utility>

#include "cache/base/xxh3.h"
#include "cache/cache_key.h"

namespace satchel::cache {
namespace {

uint64_t HashOf(std::string_view text) {
  return XXH3_64bits_withSeed(text.data(), text.size(), HashSeed());
}

bool Same(const SearchVariance& a, const SearchVariance& b) {
  return a.ignore_order == b.ignore_order && a.ignore_all == b.ignore_all &&
         a.ignored == b.ignored && a.except == b.except;
}

}  // namespace

size_t SearchTable::CostOf(const Pointer& pointer) {
  constexpr size_t kNodes = 128;  // of the map and the queue
  return pointer.key.size() + kNodes;
}

void SearchTable::MakeRoom() {
  while (bytes_ > max_bytes_ && !order_.empty()) {
    const auto oldest = pointers_.find(order_.front());
    order_.pop_front();
    bytes_ -= CostOf(oldest->second);
    pointers_.erase(oldest);
    forgotten_.fetch_add(1, std::memory_order_relaxed);
  }
  while (paths_.size() > kMaxPaths) {
    paths_.erase(path_order_.front());
    path_order_.pop_front();
    forgotten_.fetch_add(1, std::memory_order_relaxed);
  }
}

void SearchTable::Learn(std::string_view key, const SearchVariance& variance, uint64_t asked) {
  if (variance.byte_for_byte() || key.size() > kMaxKey ||
      variance.ignored.size() + variance.except.size() > kMaxNames) {
    return;
  }
  const uint64_t path = HashOf(PathOfKey(key));
  const uint64_t equivalents = HashOf(EquivalentText(key, variance));
  const std::lock_guard lock(mutex_);
  const auto [at, added] = paths_.try_emplace(path);
  if (added) path_order_.push_back(path);
  Variances& known = at->second;
  const auto same = std::find_if(known.begin(), known.end(),
                                 [&](const auto& one) { return Same(*one, variance); });
  if (same != known.end()) {
    std::rotate(known.begin(), same, std::next(same));
  } else {
    known.insert(known.begin(), std::make_shared<const SearchVariance>(variance));
    if (known.size() > kMaxVariances) known.pop_back();
  }
  const auto [pointer, is_new] = pointers_.try_emplace(equivalents);
  if (is_new) {
    order_.push_back(equivalents);
  } else {
    bytes_ -= CostOf(pointer->second);
  }
  pointer->second = {std::string(key), asked};
  bytes_ += CostOf(pointer->second);
  MakeRoom();
  size_.store(pointers_.size(), std::memory_order_relaxed);
}

std::vector<SearchTable::Pointer> SearchTable::Find(std::string_view key) const {
  std::vector<Pointer> out;
  if (empty()) return out;
  const uint64_t path = HashOf(PathOfKey(key));
  Variances known;
  {
    const std::lock_guard lock(mutex_);
    const auto found = paths_.find(path);
    if (found == paths_.end()) return out;
    known = found->second;
  }
  for (const auto& variance : known) {
    const uint64_t equivalents = HashOf(EquivalentText(key, *variance));
    const std::lock_guard lock(mutex_);
    const auto pointer = pointers_.find(equivalents);
    if (pointer != pointers_.end() && pointer->second.key != key) out.push_back(pointer->second);
  }
  return out;
}

std::shared_ptr<const SearchVariance> SearchTable::VarianceOf(std::string_view key) const {
  if (empty()) return nullptr;
  const uint64_t path = HashOf(PathOfKey(key));
  const std::lock_guard lock(mutex_);
  const auto found = paths_.find(path);
  return found == paths_.end() ? nullptr : found->second.front();
}

std::string SearchTable::Announce(std::string_view key, std::string_view replaces) {
  const std::shared_ptr<const SearchVariance> variance = VarianceOf(key);
  if (variance == nullptr || key.size() > kMaxKey) return {};
  const uint64_t equivalents = HashOf(EquivalentText(key, *variance));
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = announced_.try_emplace(equivalents, key);
  if (is_new) {
    announced_order_.push_back(equivalents);
    if (announced_order_.size() > kMaxAnnounced) {
      announced_.erase(announced_order_.front());
      announced_order_.pop_front();
    }
    return {};
  }
  if (at->second != key && at->second != replaces) return at->second;
  at->second = key;
  return {};
}

void SearchTable::Clear() {
  const std::lock_guard lock(mutex_);
  paths_.clear();
  path_order_.clear();
  pointers_.clear();
  order_.clear();
  announced_.clear();
  announced_order_.clear();
  bytes_ = 0;
  size_.store(0, std::memory_order_relaxed);
}

}  // namespace satchel::cache
