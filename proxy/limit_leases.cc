#include "proxy/limit_leases.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace satchel::proxy {
namespace {

// Others may take as much before they hear of each other, and near the limit a slot that is held
// ahead, and so leaves later, is missed.
constexpr int64_t kPartOfRoom = 8;

}  // namespace

int64_t LimitLeases::LengthFor(std::span<const LimitCheck> group) {
  int64_t length = kLongestUs;
  for (const LimitCheck& check : group) {
    if (!check.policy->lease || check.plan->concurrent != 0) return 0;
    for (const rules::RateWindow& window : check.plan->windows) {
      length = std::min<int64_t>(length, window.window.count() / 100);
    }
  }
  return length;
}

LimitLeases::Lease* LimitLeases::Find(uint64_t hash, std::span<const LimitCheck> group) {
  const auto found = leases_.find(hash);
  if (found == leases_.end()) return nullptr;
  return std::equal(group.begin(), group.end(), found->second.group.begin(),
                    found->second.group.end())
             ? &found->second
             : nullptr;
}

void LimitLeases::Note(Lease& lease, int64_t count, int64_t length_us, int64_t now_us) {
  lease.asked += count;
  const int64_t passed = now_us - lease.seen_us;
  if (passed < length_us / 8) return;
  const double weight = 1 - std::exp(-static_cast<double>(passed) / static_cast<double>(length_us));
  lease.per_us +=
      weight * (static_cast<double>(lease.asked) / static_cast<double>(passed) - lease.per_us);
  lease.asked = 0;
  lease.seen_us = now_us;
}

void LimitLeases::Expire(Lease& lease, int64_t length_us, int64_t now_us) {
  if (lease.slots == 0 || now_us < lease.sent_us + length_us) return;
  lost_ += static_cast<uint64_t>(lease.slots);
  lease.may_be_lost -= static_cast<double>(lease.slots);
  lease.slots = 0;
  lease.on_their_way = false;
}

const std::vector<rules::LimitStates>* LimitLeases::Use(uint64_t hash,
                                                        std::span<const LimitCheck> group,
                                                        int64_t now_us) {
  Lease* const lease = Find(hash, group);
  if (lease == nullptr) return nullptr;
  const int64_t length = LengthFor(group);
  Expire(*lease, length, now_us);
  if (lease->slots == 0 || lease->on_their_way) return nullptr;
  Note(*lease, 1, length, now_us);
  --lease->slots;
  lease->may_be_lost += kMayBeLost;
  for (size_t i = 0; i < group.size(); ++i) {
    for (size_t w = 0; w < lease->states[i].count; ++w) {
      lease->states[i].states[w].remaining -= group[i].cost;
    }
  }
  return &lease->states;
}

int64_t LimitLeases::Ahead(uint64_t hash, std::span<const LimitCheck> group, int64_t count,
                           uint64_t instances, int64_t now_us) {
  const int64_t length = LengthFor(group);
  Lease* lease = Find(hash, group);
  if (lease == nullptr) {
    if (leases_.size() >= kMax) {
      std::erase_if(leases_, [now_us](const auto& entry) {
        return entry.second.seen_us + 10 * kLongestUs < now_us;
      });
      if (leases_.size() >= kMax) return 0;
    }
    lease = &leases_[hash];
    *lease = {};
    lease->group.assign(group.begin(), group.end());
    lease->seen_us = now_us;
    lease->asked = count;
    return 0;  // nothing is known of its rate yet
  }
  Note(*lease, count, length, now_us);
  Expire(*lease, length, now_us);
  if (lease->slots > 0) return 0;
  const auto all = static_cast<int64_t>(std::max<uint64_t>(1, instances));
  for (const LimitCheck& check : group) {
    for (const rules::RateWindow& window : check.plan->windows) {
      const double calls = static_cast<double>(window.limit) / static_cast<double>(check.cost);
      lease->may_be_lost =
          std::min(lease->may_be_lost, kMayBeLostAtOnce * calls / static_cast<double>(all));
    }
  }
  const double wanted =
      std::min(0.5 * lease->per_us * static_cast<double>(length), lease->may_be_lost);
  lease->slots = std::max<int64_t>(
      0, std::min(static_cast<int64_t>(wanted), lease->room / (kPartOfRoom * all)));
  lease->on_their_way = lease->slots > 0;
  lease->sent_us = now_us;
  return lease->slots;
}

void LimitLeases::Store(uint64_t hash, std::span<const LimitCheck> group, int64_t count,
                        int64_t granted, int64_t sent_us,
                        std::span<const rules::LimitStates> states) {
  Lease* const lease = Find(hash, group);
  if (lease == nullptr) return;
  lease->may_be_lost += kMayBeLost * static_cast<double>(std::min(count, granted));
  // Another call may have been sent before, or meanwhile, that took nothing ahead.
  if (lease->on_their_way && sent_us == lease->sent_us) {
    lease->on_their_way = false;
    lease->slots = std::max<int64_t>(0, granted - count);
  }
  const int64_t in_hand = lease->on_their_way ? 0 : lease->slots;
  lease->room = std::numeric_limits<int64_t>::max();
  lease->states.assign(states.begin(), states.end());
  for (size_t i = 0; i < group.size(); ++i) {
    for (size_t w = 0; w < rules::WindowCount(*group[i].plan); ++w) {
      rules::WindowState& state = lease->states[i].states[w];
      lease->room = std::min(lease->room, std::max<int64_t>(0, state.remaining) / group[i].cost);
      state.remaining += in_hand * group[i].cost;  // not used yet
    }
  }
}

}  // namespace satchel::proxy
