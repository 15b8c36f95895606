#include "proxy/rate_limiter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "proxy/redis/lua/sliding_window.lua.h"

namespace satchel::proxy {
namespace {

using rules::WindowState;

constexpr size_t kMaxWindows = rules::LimitTable::kMaxWindows;

const redis::Script& SlidingWindow() {
  static const redis::Script script(redis::lua::kSlidingWindow);
  return script;
}

int64_t NowUs() { return net::EventLoop::ReadClockNs() / 1000; }

size_t WindowCount(const rules::Plan& plan) { return std::min(plan.windows.size(), kMaxWindows); }

LimitVerdict MakeVerdict(const LimitCheck& check, bool allowed, LimitVerdict::Source source,
                         std::span<const WindowState> states) {
  LimitVerdict verdict;
  verdict.allowed = allowed;
  verdict.source = source;
  verdict.policy = check.policy;
  verdict.window_count = static_cast<uint8_t>(states.size());
  int64_t longest = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    const rules::RateWindow& window = check.plan->windows[i];
    const WindowState& state = states[i];
    verdict.window_storage[i] = {
        .name = window.name,
        .limit = window.limit,
        .window_us = window.window.count(),
        .remaining = std::max<int64_t>(0, state.remaining),
        .reset_us = std::max<int64_t>(0, state.reset),
        .wait_us = allowed ? 0 : state.wait,
    };
    if (allowed || longest < 0) continue;
    if (state.wait < 0 || state.wait > longest) {
      longest = state.wait;  // -1, never, is the longest of all
      verdict.violated = static_cast<int8_t>(i);
    }
  }
  return verdict;
}

}  // namespace

struct RateLimiter::Waiter {
  Done done;  // empty: answered or cancelled
};

struct RateLimiter::Batch {
  LimitCheck check;
  std::vector<std::shared_ptr<Waiter>> waiters;
  int64_t sent_us = 0;
};

size_t RateLimiter::HashTarget::operator()(const Target& target) const {
  // The id is a piece of a SHA-256: any part of it is as good as a hash of the whole.
  uint64_t bits;
  std::memcpy(&bits, target.id.data(), sizeof bits);
  const auto plan = reinterpret_cast<uintptr_t>(target.plan);
  return (bits ^ plan ^ static_cast<uint64_t>(target.cost)) * 0x9e3779b97f4a7c15u;
}

RateLimiter::RateLimiter(net::EventLoop& loop, redis::Commander* client, LocalLimiter& local,
                         Options options)
    : loop_(loop), client_(client), local_(local), options_(std::move(options)) {
  if (client_ != nullptr) client_->AddScript(SlidingWindow());
}

RateLimiter::~RateLimiter() = default;

std::string RateLimiter::KeyOf(const LimitCheck& check, const rules::RateWindow& window) const {
  std::string key = options_.prefix;
  key += ":rl:{";
  key.append(check.id.data(), check.id.size());
  key += "}:";
  key += check.policy->name;
  key += ':';
  key += window.name;
  key += ':';
  key += std::to_string(window.window.count());
  return key;
}

const LimitVerdict& RateLimiter::Count(const LimitVerdict& verdict) {
  counters_.checks.Add();
  (verdict.allowed ? counters_.allowed : counters_.refused).Add();
  return verdict;
}

std::optional<LimitVerdict> RateLimiter::TryLocal(const LimitCheck& check) {
  if (client_ == nullptr) return Count(DecideLocally(check));
  if (generation_ != client_->generation()) {
    // Another server, or the same one emptied: its refusals mean nothing any more.
    generation_ = client_->generation();
    ForgetRefusals();
  }
  if (std::optional<LimitVerdict> known = Remembered(check)) {
    counters_.from_memory.Add();
    return Count(*known);
  }
  // The id is the hash tag of all its keys.
  if (!client_->available({check.id.data(), check.id.size()})) return Count(FallBack(check));
  return std::nullopt;
}

LimitVerdict RateLimiter::FallBack(const LimitCheck& check) {
  counters_.store_down.Add();
  switch (check.policy->store_down) {
    case rules::StoreDown::kOpen:
      return MakeVerdict(check, true, LimitVerdict::Source::kOpen, {});
    case rules::StoreDown::kClosed:
      return MakeVerdict(check, false, LimitVerdict::Source::kClosed, {});
    case rules::StoreDown::kLocalShare:
      break;
  }
  return DecideLocally(check);
}

LimitVerdict RateLimiter::DecideLocally(const LimitCheck& check) {
  key_.assign(check.id.data(), check.id.size());
  key_ += ':';
  key_ += check.policy->name;
  const rules::LimitTable::Verdict verdict =
      local_.Check(key_, *check.plan, {.unit = check.cost, .count = 1}, NowUs());
  return MakeVerdict(check, verdict.granted > 0, LimitVerdict::Source::kLocal,
                     {verdict.states.data(), verdict.windows});
}

std::optional<LimitVerdict> RateLimiter::Remembered(const LimitCheck& check) {
  const auto found = refusals_.find({check.id, check.policy, check.plan, 0});
  if (found == refusals_.end()) return std::nullopt;
  const Refusal& refusal = found->second;
  const int64_t now = NowUs();
  if (now >= refusal.until_us) {
    refusals_.erase(found);
    return std::nullopt;
  }
  if (check.cost < refusal.cost) return std::nullopt;
  std::array<WindowState, kMaxWindows> states;
  const size_t count = std::min(refusal.states.size(), WindowCount(*check.plan));
  for (size_t i = 0; i < count; ++i) {
    states[i] = refusal.states[i];
    const int64_t passed = now - refusal.at_us;
    states[i].reset = std::max<int64_t>(0, states[i].reset - passed);
    if (states[i].wait > 0) states[i].wait = std::max<int64_t>(0, states[i].wait - passed);
  }
  return MakeVerdict(check, false, LimitVerdict::Source::kRefusal, {states.data(), count});
}

void RateLimiter::Remember(const LimitCheck& check, std::span<const WindowState> states,
                           int64_t sent_us) {
  // Slots leave by age alone, so the refusal holds until the last window that lacks room has it
  // again. Counted from when the call was sent, hence never too long.
  int64_t wait = 0;
  for (const WindowState& state : states) {
    wait = std::max(wait, state.wait < 0 ? options_.refusal_cap_us : state.wait);
  }
  if (wait <= 0) return;
  const int64_t until = sent_us + std::min(wait, options_.refusal_cap_us);
  if (refusals_.size() >= options_.max_refusals) MakeRoomForRefusals(sent_us);
  Refusal& refusal = refusals_[{check.id, check.policy, check.plan, 0}];
  refusal.at_us = sent_us;
  refusal.until_us = until;
  refusal.cost = check.cost;
  refusal.states.assign(states.begin(), states.end());
}

void RateLimiter::MakeRoomForRefusals(int64_t now_us) {
  std::erase_if(refusals_, [now_us](const auto& entry) { return entry.second.until_us <= now_us; });
  // Forgetting costs a call, nothing else: half of them, so that this is not done at each one.
  if (refusals_.size() < options_.max_refusals) return;
  bool drop = false;
  std::erase_if(refusals_, [&drop](const auto&) { return drop = !drop; });
}

std::unique_ptr<RateLimiter::Pending> RateLimiter::Check(const LimitCheck& check, Done done) {
  struct Handle final : Pending {
    ~Handle() override { waiter->done = nullptr; }
    std::shared_ptr<Waiter> waiter = std::make_shared<Waiter>();
  };
  auto handle = std::make_unique<Handle>();
  handle->waiter->done = std::move(done);
  std::shared_ptr<Batch>& batch = open_batches_[{check.id, check.policy, check.plan, check.cost}];
  if (batch == nullptr) {
    batch = std::make_shared<Batch>();
    batch->check = check;
  } else {
    counters_.coalesced.Add();
  }
  batch->waiters.push_back(handle->waiter);
  if (!flush_scheduled_) {
    flush_scheduled_ = true;
    loop_.AtTurnEnd([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) SendBatches();
    });
  }
  return handle;
}

void RateLimiter::SendBatches() {
  flush_scheduled_ = false;
  const std::weak_ptr<int> alive = alive_;
  const int64_t now_us = NowUs();
  for (const auto& [target, batch] : std::exchange(open_batches_, {})) {
    std::erase_if(batch->waiters, [](const auto& waiter) { return !waiter->done; });
    if (batch->waiters.empty()) continue;
    const LimitCheck& check = batch->check;
    const size_t windows = WindowCount(*check.plan);
    redis::ScriptArguments arguments;
    for (size_t i = 0; i < windows; ++i) arguments.Key(KeyOf(check, check.plan->windows[i]));
    arguments.Arg(check.cost).Arg(static_cast<int64_t>(batch->waiters.size())).Arg("0").Arg("0");
    for (size_t i = 0; i < windows; ++i) {
      const rules::WindowSpec spec = rules::SpecOf(check.plan->windows[i]);
      arguments.Arg(spec.limit).Arg(spec.window).Arg(spec.resolution);
    }
    batch->sent_us = now_us;
    const bool sent =
        client_ != nullptr &&
        client_->SendScript(SlidingWindow(), std::move(arguments), options_.deadline_ms,
                            [this, alive, batch](const cache::Result<redis::Reply>& reply) {
                              if (!alive.expired()) OnReply(*batch, reply);
                            });
    if (sent) {
      counters_.calls.Add();
      continue;
    }
    FinishLocally(*batch);
    if (alive.expired()) return;
  }
}

void RateLimiter::FinishLocally(Batch& batch) {
  const std::weak_ptr<int> alive = alive_;
  for (const auto& waiter : std::exchange(batch.waiters, {})) {
    if (!waiter->done) continue;
    const LimitVerdict verdict = Count(FallBack(batch.check));
    std::exchange(waiter->done, nullptr)(verdict);
    if (alive.expired()) return;
  }
}

void RateLimiter::OnReply(Batch& batch, const cache::Result<redis::Reply>& reply) {
  // All cancelled: then nothing keeps the policy and its plan alive either.
  const bool wanted = std::any_of(batch.waiters.begin(), batch.waiters.end(),
                                  [](const auto& waiter) { return waiter->done != nullptr; });
  if (!wanted) return;
  const LimitCheck& check = batch.check;
  const size_t windows = WindowCount(*check.plan);
  if (!reply || reply->items.size() != 2 + 3 * windows ||
      !std::all_of(reply->items.begin(), reply->items.end(),
                   [](const redis::Reply& item) { return item.IsInteger(); })) {
    FinishLocally(batch);
    return;
  }
  const int64_t granted = reply->items[0].integer;
  std::array<WindowState, kMaxWindows> states;
  for (size_t i = 0; i < windows; ++i) {
    const redis::Reply* part = &reply->items[2 + 3 * i];
    states[i] = {part[0].integer, part[1].integer, part[2].integer};
  }
  const std::span<const WindowState> all(states.data(), windows);
  const auto asked = static_cast<int64_t>(batch.waiters.size());
  if (granted < asked) Remember(check, all, batch.sent_us);
  const std::weak_ptr<int> alive = alive_;
  int64_t turn = 0;
  for (const auto& waiter : std::exchange(batch.waiters, {})) {
    const int64_t place = turn++;
    if (!waiter->done) continue;
    std::array<WindowState, kMaxWindows> own = states;
    const bool allowed = place < granted;
    // What remained after this one's share of the call, not after all of it.
    if (allowed) {
      for (size_t i = 0; i < windows; ++i) own[i].remaining += (granted - 1 - place) * check.cost;
    }
    const LimitVerdict verdict =
        Count(MakeVerdict(check, allowed, LimitVerdict::Source::kRedis, {own.data(), windows}));
    std::exchange(waiter->done, nullptr)(verdict);
    if (alive.expired()) return;
  }
}

}  // namespace satchel::proxy
