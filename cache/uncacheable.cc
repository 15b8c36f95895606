#include "cache/uncacheable.h"

#include <algorithm>

#include "cache/base/xxh3.h"

namespace satchel::cache {
namespace {

constexpr uint64_t kSecondSeed = 0xA0761D6478BD642Fu;

}  // namespace

UncacheableKeys::UncacheableKeys(size_t capacity, Millis remembered_for)
    : set_count_((capacity + kWays - 1) / kWays), remembered_for_(remembered_for) {}

uint64_t UncacheableKeys::Check(const CacheKey& key) {
  return XXH3_64bits_withSeed(key.text().data(), key.text().size(), HashSeed() ^ kSecondSeed);
}

UncacheableKeys::Mark* UncacheableKeys::Find(const CacheKey& key) {
  if (sets_.empty()) return nullptr;
  const uint64_t check = Check(key);
  for (Mark& mark : sets_[key.hash() % set_count_]) {
    if (mark.expires != 0 && mark.hash == key.hash() && mark.check == check) return &mark;
  }
  return nullptr;
}

void UncacheableKeys::Remember(const CacheKey& key, Time now) {
  if (set_count_ == 0 || remembered_for_ <= Millis(0)) return;
  const int64_t expires = (now + remembered_for_).time_since_epoch().count();
  const std::lock_guard lock(mutex_);
  if (sets_.empty()) sets_.resize(set_count_);
  if (Mark* known = Find(key)) {
    known->expires = expires;
    return;
  }
  Set& set = sets_[key.hash() % set_count_];
  // A free mark has expired long ago.
  Mark& mark = *std::min_element(
      set.begin(), set.end(), [](const Mark& a, const Mark& b) { return a.expires < b.expires; });
  if (mark.expires == 0) used_.fetch_add(1, std::memory_order_relaxed);
  mark = {key.hash(), Check(key), expires};
}

void UncacheableKeys::Forget(const CacheKey& key) {
  if (size() == 0) return;
  const std::lock_guard lock(mutex_);
  if (Mark* known = Find(key)) {
    *known = {};
    used_.fetch_sub(1, std::memory_order_relaxed);
  }
}

bool UncacheableKeys::Contains(const CacheKey& key, Time now) const {
  if (size() == 0) return false;
  const std::lock_guard lock(mutex_);
  const Mark* known = const_cast<UncacheableKeys*>(this)->Find(key);
  return known != nullptr && known->expires > now.time_since_epoch().count();
}

void UncacheableKeys::Clear() {
  const std::lock_guard lock(mutex_);
  sets_ = {};
  used_.store(0, std::memory_order_relaxed);
}

}  // namespace satchel::cache
