#include "proxy/rate_limiter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "proxy/limit_batch.h"
#include "proxy/limit_keys.h"
#include "proxy/redis/lua/sliding_window.lua.h"

namespace satchel::proxy {
namespace {

int64_t NowUs() { return net::EventLoop::ReadClockNs() / 1000; }

uint64_t HashOf(std::span<const LimitCheck> group) {
  uint64_t hash = 0;
  for (const LimitCheck& check : group) {
    // The id is a piece of a SHA-256: any part of it is as good as a hash of the whole.
    uint64_t bits;
    std::memcpy(&bits, check.id.data(), sizeof bits);
    bits ^= reinterpret_cast<uintptr_t>(check.plan) ^ static_cast<uint64_t>(check.cost);
    hash = (hash ^ bits) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

rules::LimitAsk AskOf(const LimitCheck& check, std::string_view key, uint64_t share) {
  return {.key = key,
          .plan = check.plan,
          .unit = check.cost,
          .max_entries = check.policy->max_entries,
          .penalty = check.policy->penalty.count(),
          .share = share};
}

}  // namespace

RateLimiter::RateLimiter(net::EventLoop& loop, redis::Commander* client, SharedLimits& shared,
                         Options options)
    : loop_(loop),
      client_(client),
      shared_(shared),
      options_(std::move(options)),
      refusals_(options_.refusals),
      slots_(loop, client) {
  if (client_ != nullptr) client_->AddScript(Script());
}

RateLimiter::~RateLimiter() = default;

const redis::Script& RateLimiter::Script() {
  static const redis::Script script(redis::lua::kSlidingWindow);
  return script;
}

size_t RateLimiter::GroupEnd(std::span<const LimitCheck> checks, size_t begin) const {
  const bool split = client_ != nullptr && client_->clustered();
  size_t end = begin + 1;
  while (end < checks.size() && end - begin < LocalLimiter::kMaxAsks &&
         checks[end].policy->mode == checks[begin].policy->mode &&
         (!split || checks[end].id == checks[begin].id)) {
    ++end;
  }
  return end;
}

bool RateLimiter::DecideNow(LimitRequest& request, std::span<const LimitCheck> group) {
  if (client_ == nullptr) {
    DecideInProcess(request, group, LimitVerdict::Source::kLocal, 1);
    return true;
  }
  if (generation_ != client_->generation()) {
    // Another server, or the same one emptied: its refusals mean nothing any more.
    generation_ = client_->generation();
    refusals_.Clear();
  }
  const int64_t now = NowUs();
  // Slots in hand first: they are charged, whoever is refused meanwhile.
  if (LimitLeases::LengthFor(group) > 0) {
    if (const auto* states = leases_.Use(HashOf(group), group, now)) {
      counters_.from_lease.Add();
      Conclude(request, group, true, LimitVerdict::Source::kLease, *states);
      return true;
    }
  }
  for (const LimitCheck& check : group) {
    if (const auto known = refusals_.Find(check, now)) {
      counters_.from_memory.Add();
      Count(check, *known);
      request.verdicts_.push_back(*known);
      return true;
    }
  }
  // The id is the hash tag of all keys of a check.
  if (!client_->available(group.front().id_text())) {
    FallBack(request, group, /*owed=*/true);
    return true;
  }
  if (!shared_.debts.empty()) PayDebts();
  return false;
}

void RateLimiter::FallBack(LimitRequest& request, std::span<const LimitCheck> group,
                           bool owed) {
  const auto by = [](rules::StoreDown what) {
    return [what](const LimitCheck& check) { return check.policy->store_down == what; };
  };
  counters_.store_down.Add();
  // One that is closed refuses before anything is charged.
  const auto closed = std::find_if(group.begin(), group.end(), by(rules::StoreDown::kClosed));
  if (closed != group.end()) {
    Conclude(request, {closed, 1}, false, LimitVerdict::Source::kClosed, {});
    return;
  }
  std::vector<LimitCheck> counted;
  std::copy_if(group.begin(), group.end(), std::back_inserter(counted),
               by(rules::StoreDown::kLocalShare));
  if (!counted.empty()) {
    const uint64_t share = shared_.instances.load(std::memory_order_relaxed);
    if (!DecideInProcess(request, counted, LimitVerdict::Source::kShare, share)) return;
    for (size_t i = 0; owed && i < counted.size(); ++i) {
      shared_.debts.Add(counted[i], counted[i].cost, NowUs());
    }
  }
  for (const LimitCheck& check : group) {
    if (check.policy->store_down != rules::StoreDown::kOpen) continue;
    Conclude(request, {&check, 1}, true, LimitVerdict::Source::kOpen, {});
  }
}

bool RateLimiter::DecideInProcess(LimitRequest& request, std::span<const LimitCheck> group,
                                  LimitVerdict::Source source, uint64_t share) {
  std::vector<std::string> keys;
  std::vector<rules::LimitAsk> asks;
  keys.reserve(group.size());
  for (const LimitCheck& check : group) {
    keys.push_back(LocalKey(check));
    asks.push_back(AskOf(check, keys.back(), share));
  }
  scratch_.resize(group.size());
  const bool granted = shared_.local.Check(asks, {}, NowUs(), scratch_) > 0;
  if (granted) {
    for (size_t i = 0; i < group.size(); ++i) {
      if (group[i].plan->concurrent == 0) continue;
      request.slots_.push_back({std::move(keys[i]), {}});
    }
  }
  Conclude(request, group, granted, source, scratch_);
  return granted;
}

// What Redis let through is written down here too: should it go away, this instance's share of
// the window is already used as far as it is.
void RateLimiter::WriteDown(std::span<const LimitCheck> group, int64_t calls) {
  for (const LimitCheck& check : group) {
    if (check.policy->store_down != rules::StoreDown::kLocalShare) continue;
    const std::string key = LocalKey(check);
    rules::LimitAsk ask = AskOf(check, key, 1);
    ask.slots = false;
    rules::LimitStates states;
    shared_.local.Check({&ask, 1}, {.count = calls, .force = true}, NowUs(), {&states, 1});
  }
}

void RateLimiter::Conclude(LimitRequest& request, std::span<const LimitCheck> group, bool granted,
                           LimitVerdict::Source source,
                           std::span<const rules::LimitStates> states) {
  for (size_t i = 0; i < group.size(); ++i) {
    LimitVerdict verdict =
        VerdictOf(group[i], granted, source, states.empty() ? rules::LimitStates() : states[i]);
    if (source == LimitVerdict::Source::kClosed) verdict.allowed = false;
    // One that did not stand in the way of a refusal was not charged either: nothing to count.
    if (granted || !verdict.allowed) Count(group[i], verdict);
    request.verdicts_.push_back(verdict);
  }
}

void RateLimiter::Count(const LimitCheck& check, const LimitVerdict& verdict) {
  counters_.checks.Add();
  (verdict.allowed ? counters_.allowed : counters_.refused).Add();
  LimitStats::Series*& series = series_[check.plan];
  if (series == nullptr) series = &shared_.stats.For(check);
  shared_.stats.Count(*series, check, verdict, net::EventLoop::ReadClockMs());
}

void RateLimiter::ForgetConfiguration() {
  refusals_.Clear();
  leases_.Clear();
  series_.clear();
}

void RateLimiter::Forget(std::string_view id) {
  if (id.empty()) {
    refusals_.Clear();
  } else {
    refusals_.Forget(id);
  }
  leases_.Clear();
  forgotten_us_ = NowUs();
}

void RateLimiter::GiveBack(const LimitRequest::Slot& slot) {
  if (slot.member.empty()) {
    shared_.local.GiveBack(slot.key);
  } else {
    slots_.GiveBack(slot.key, slot.member);
  }
}

void RateLimiter::Join(LimitRequest& request, std::span<const LimitCheck> group) {
  const uint64_t hash = HashOf(group);
  uint64_t place = hash;
  std::shared_ptr<Batch>* open = &open_batches_[place];
  // Another question of the same hash keeps its place.
  while (*open != nullptr && !std::equal(group.begin(), group.end(), (*open)->checks.begin(),
                                         (*open)->checks.end())) {
    open = &open_batches_[++place];
  }
  std::shared_ptr<Batch> batch = *open;
  if (batch == nullptr) {
    batch = *open = std::make_shared<Batch>();
    batch->checks.assign(group.begin(), group.end());
    batch->hash = hash;
  } else {
    counters_.coalesced.Add();
  }
  batch->Append(request);
  request.batch_ = std::move(batch);
  if (std::exchange(flush_scheduled_, true)) return;
  loop_.AtTurnEnd([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    flush_scheduled_ = false;
    SendBatches();
  });
}

}  // namespace satchel::proxy
