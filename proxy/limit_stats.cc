#include "proxy/limit_stats.h"

#include <algorithm>
#include <cstring>

namespace satchel::proxy {
namespace {

bool IsNear(const LimitVerdict& verdict) {
  return std::any_of(verdict.windows().begin(), verdict.windows().end(),
                     [](const WindowVerdict& window) {
                       const auto limit = static_cast<double>(window.limit);
                       return static_cast<double>(window.remaining) * 100 <
                              limit * (100 - LimitStats::kNearPercent);
                     });
}

}  // namespace

LimitStats::Series& LimitStats::For(const LimitCheck& check) {
  const std::string_view plan =
      check.plan->name.empty() ? std::string_view("inline") : check.plan->name;
  const std::lock_guard lock(mutex_);
  for (Series& series : series_) {
    if (series.policy == check.policy->name && series.plan == plan) return series;
  }
  if (series_.size() > kMaxSeries) return series_.back();
  Series& series = series_.emplace_back();
  const bool last = series_.size() > kMaxSeries;
  series.policy = last ? std::string_view("other") : std::string_view(check.policy->name);
  series.plan = last ? std::string_view("other") : plan;
  return series;
}

void LimitStats::Count(Series& series, const LimitCheck& check, const LimitVerdict& verdict,
                       int64_t now_ms) {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  if (verdict.allowed) {
    series.allowed.fetch_add(1, kRelaxed);
    series.units.fetch_add(static_cast<uint64_t>(check.cost), kRelaxed);
    if (IsNear(verdict)) series.near_limit.fetch_add(1, kRelaxed);
  } else {
    (verdict.Refuses() ? series.refused : series.shadow).fetch_add(1, kRelaxed);
  }
  Seen(check, !verdict.allowed, now_ms);
}

// The frequent ones by the algorithm "Space-Saving" (Metwally et al.): who is new takes the place
// of the smallest count and inherits it.
void LimitStats::Seen(const LimitCheck& check, bool refused, int64_t now_ms) {
  Shard& shard = shards_[static_cast<unsigned char>(check.id[0]) % kShards];
  const std::lock_guard lock(shard.mutex);
  if (now_ms - shard.halved_ms >= kHalfLifeMs) {
    shard.halved_ms = now_ms;
    for (uint64_t& checks : shard.checks) checks /= 2;
    for (Identity& place : shard.places) place.refused /= 2;
  }
  uint64_t head;
  std::memcpy(&head, check.id.data(), sizeof head);
  for (size_t i = 0; i < shard.used; ++i) {
    if (shard.heads[i] != head) continue;
    Identity& place = shard.places[i];
    if (place.id != check.id || place.policy != check.policy->name) continue;
    ++shard.checks[i];
    place.refused += refused ? 1 : 0;
    return;
  }
  const size_t place =
      shard.used < kPlaces
          ? shard.used++
          : static_cast<size_t>(std::min_element(shard.checks.begin(), shard.checks.end()) -
                                shard.checks.begin());
  shard.heads[place] = head;
  ++shard.checks[place];
  shard.places[place].id = check.id;
  shard.places[place].policy = check.policy->name;
  shard.places[place].refused = refused ? 1 : 0;
}

std::vector<const LimitStats::Series*> LimitStats::All() const {
  std::vector<const Series*> all;
  const std::lock_guard lock(mutex_);
  for (const Series& series : series_) all.push_back(&series);
  return all;
}

std::vector<LimitStats::Identity> LimitStats::Top(size_t most) const {
  std::vector<Identity> all;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    for (size_t i = 0; i < shard.used; ++i) {
      all.push_back(shard.places[i]);
      all.back().checks = shard.checks[i];
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Identity& a, const Identity& b) { return a.checks > b.checks; });
  if (all.size() > most) all.resize(most);
  return all;
}

}  // namespace satchel::proxy
