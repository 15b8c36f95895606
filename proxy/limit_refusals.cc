#include "proxy/limit_refusals.h"

#include <algorithm>
#include <cstring>

namespace satchel::proxy {

size_t LimitRefusals::Hash::operator()(const Target& target) const {
  // The id is a piece of a SHA-256: any part of it is as good as a hash of the whole.
  uint64_t bits;
  std::memcpy(&bits, target.id.data(), sizeof bits);
  return (bits ^ reinterpret_cast<uintptr_t>(target.plan)) * 0x9e3779b97f4a7c15u;
}

std::optional<LimitVerdict> LimitRefusals::Find(const LimitCheck& check, int64_t now_us) {
  if (refusals_.empty()) return std::nullopt;
  const auto found = refusals_.find({check.id, check.policy, check.plan});
  if (found == refusals_.end()) return std::nullopt;
  const Refusal& refusal = found->second;
  if (now_us >= refusal.until_us) {
    refusals_.erase(found);
    return std::nullopt;
  }
  if (check.cost < refusal.cost) return std::nullopt;
  rules::LimitStates states = refusal.states;
  const int64_t passed = now_us - refusal.at_us;
  for (size_t i = 0; i < states.count; ++i) {
    rules::WindowState& state = states.states[i];
    state.reset = std::max<int64_t>(0, state.reset - passed);
    if (state.wait > 0) state.wait = std::max<int64_t>(0, state.wait - passed);
  }
  return VerdictOf(check, false, LimitVerdict::Source::kRefusal, states);
}

void LimitRefusals::Add(const LimitCheck& check, const rules::LimitStates& states,
                        int64_t sent_us) {
  // It holds until the last that lacks room has it again.
  const size_t slots =
      check.plan->concurrent != 0 ? rules::WindowCount(*check.plan) : rules::LimitStates::kMax;
  int64_t wait = 0;
  for (size_t i = 0; i < states.count; ++i) {
    if (i == slots) continue;
    const int64_t own = states.states[i].wait;
    wait = std::max(wait, own < 0 ? options_.cap_us : own);
  }
  if (wait <= 0) return;
  if (refusals_.size() >= options_.max) MakeRoom(sent_us);
  Refusal& refusal = refusals_[{check.id, check.policy, check.plan}];
  refusal.at_us = sent_us;
  refusal.until_us = sent_us + std::min(wait, options_.cap_us);
  refusal.cost = check.cost;
  refusal.states = states;
  if (slots < states.count) refusal.states.states[slots].wait = 0;
}

void LimitRefusals::MakeRoom(int64_t now_us) {
  std::erase_if(refusals_, [now_us](const auto& entry) { return entry.second.until_us <= now_us; });
  // Half of them, so that this is not done at each one.
  if (refusals_.size() < options_.max) return;
  bool drop = false;
  std::erase_if(refusals_, [&drop](const auto&) { return drop = !drop; });
}

void LimitRefusals::Forget(std::string_view id) {
  std::erase_if(refusals_, [id](const auto& entry) {
    return std::string_view(entry.first.id.data(), entry.first.id.size()) == id;
  });
}

}  // namespace satchel::proxy
