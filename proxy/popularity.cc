#include "proxy/popularity.h"

#include <algorithm>
#include <utility>

namespace satchel::proxy {

void PopularitySampler::Enable(bool on) {
  if (on == enabled_) return;
  enabled_ = on;
  left_ = on ? step_ : 0;
}

uint64_t PopularitySampler::Take(int64_t now_ms) {
  const uint64_t weight = step_;
  ++taken_;
  const int64_t passed = now_ms - second_ms_;
  if (passed >= 1000) {
    // A second in which little was taken: finer again.
    if (taken_ * 1000 < kPerSecond / 2 * static_cast<uint64_t>(passed)) step_ = std::max<uint64_t>(1, step_ / 2);
    second_ms_ = now_ms;
    taken_ = 0;
  } else if (taken_ >= kPerSecond) {
    step_ = std::min(kMaxStep, step_ * 2);
    second_ms_ = now_ms;
    taken_ = 0;
  }
  left_ = step_;
  return weight;
}

void Popularity::Add(const std::string& name, uint64_t count) {
  const std::lock_guard lock(mutex_);
  if (const auto known = counts_.find(name); known != counts_.end()) {
    known->second += count;
    return;
  }
  if (counts_.size() >= kMaxNames) {
    std::vector<uint64_t> all;
    all.reserve(counts_.size());
    for (const auto& [text, value] : counts_) all.push_back(value);
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::ranges::nth_element(all, middle);
    // Many may be equal: exactly half goes, whichever of them.
    size_t to_go = counts_.size() / 2;
    for (const bool equals : {false, true}) {
      for (auto at = counts_.begin(); at != counts_.end() && to_go > 0;) {
        const bool goes = equals ? at->second == *middle : at->second < *middle;
        if (goes) {
          at = counts_.erase(at);
          --to_go;
          ++forgotten_;
        } else {
          ++at;
        }
      }
    }
  }
  counts_.emplace(name, count);
}

std::vector<Popularity::Count> Popularity::Take(size_t most) {
  const std::lock_guard lock(mutex_);
  std::vector<Count> all;
  all.reserve(counts_.size());
  for (const auto& [name, count] : counts_) all.push_back({name, count});
  const size_t taken = std::min(most, all.size());
  std::ranges::partial_sort(all, all.begin() + static_cast<std::ptrdiff_t>(taken),
                            [](const Count& a, const Count& b) {
                              return a.count != b.count ? a.count > b.count : a.name < b.name;
                            });
  all.resize(taken);
  for (const Count& one : all) counts_.erase(one.name);
  return all;
}

size_t Popularity::size() const {
  const std::lock_guard lock(mutex_);
  return counts_.size();
}

uint64_t Popularity::forgotten() const {
  const std::lock_guard lock(mutex_);
  return forgotten_;
}

}  // namespace satchel::proxy
