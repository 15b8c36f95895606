// The limiter's conversation with Redis.

#include <algorithm>
#include <utility>

#include "proxy/limit_batch.h"
#include "proxy/limit_keys.h"
#include "proxy/rate_limiter.h"

namespace satchel::proxy {
namespace {

constexpr size_t kDebtsInATurn = 200;
constexpr int64_t kDebtDeadlineMs = 1000;

int64_t NowUs() { return net::EventLoop::ReadClockNs() / 1000; }

std::string MemberOf(const std::string& token, int64_t place) {
  return token + ":" + std::to_string(place + 1);
}

}  // namespace

redis::ScriptArguments RateLimiter::Arguments(const std::string& prefix,
                                              std::span<const LimitCheck> checks, int64_t count,
                                              int64_t lease_us, std::string_view token) {
  redis::ScriptArguments arguments;
  arguments.Reserve(64 + 192 * checks.size());
  for (const LimitCheck& check : checks) {
    for (const std::string& key : AllLimitKeys(prefix, check)) arguments.Key(key);
  }
  arguments.Arg(count).Arg(lease_us).Arg("0").Arg(token);
  for (const LimitCheck& check : checks) {
    const auto windows = static_cast<int64_t>(rules::WindowCount(*check.plan));
    for (int64_t i = 0; i < windows; ++i) {
      const rules::WindowSpec spec = rules::SpecOf(check.plan->windows[static_cast<size_t>(i)],
                                                   check.policy->max_entries, check.cost);
      arguments.Arg(spec.unit).Arg(spec.limit).Arg(spec.window).Arg(spec.resolution);
    }
    if (check.plan->concurrent != 0) {
      arguments.Arg("1").Arg(int64_t{check.plan->concurrent}).Arg(LimitSlots::kHoldUs).Arg("0");
    }
    if (check.policy->penalty.count() > 0) {
      // Concurrency stands between the windows and the penalty, and is no reason for one.
      arguments.Arg(windows).Arg(int64_t{check.policy->penalty.count()}).Arg("0");
      arguments.Arg(check.plan->concurrent != 0 ? "1" : "0");
    }
  }
  return arguments;
}

bool RateLimiter::ReadReply(const redis::Reply& reply, std::span<const LimitCheck> checks,
                            int64_t* granted, std::vector<rules::LimitStates>* states) {
  size_t gates = 0;
  for (const LimitCheck& check : checks) {
    gates += rules::StateCount(*check.plan, check.policy->penalty.count(), true);
  }
  if (reply.items.size() != 2 + 3 * gates ||
      !std::all_of(reply.items.begin(), reply.items.end(),
                   [](const redis::Reply& item) { return item.IsInteger(); })) {
    return false;
  }
  *granted = reply.items[0].integer;
  states->resize(checks.size());
  const redis::Reply* part = reply.items.data() + 2;
  for (size_t i = 0; i < checks.size(); ++i) {
    rules::LimitStates& own = (*states)[i];
    own.count = rules::StateCount(*checks[i].plan, checks[i].policy->penalty.count(), true);
    for (size_t w = 0; w < own.count; ++w, part += 3) {
      own.states[w] = {part[0].integer, part[1].integer, part[2].integer};
    }
  }
  return true;
}

void RateLimiter::SendBatches() {
  const std::weak_ptr<int> alive = alive_;
  const int64_t now_us = NowUs();
  // What answers at once may ask again: that is another map, and both keep their memory.
  auto batches = std::exchange(open_batches_, std::move(spare_batches_));
  for (auto& [hash, batch] : batches) {
    if (batch == nullptr || batch->first == nullptr) continue;
    for (LimitRequest* request = batch->first; request != nullptr; request = request->after_) {
      request->place_ = batch->count++;
    }
    const int64_t lease = LimitLeases::LengthFor(batch->checks);
    if (lease > 0) {
      batch->ahead = leases_.Ahead(hash, batch->checks, batch->count,
                                   shared_.instances.load(std::memory_order_relaxed), now_us);
    }
    for (const LimitCheck& check : batch->checks) {
      if (check.plan->concurrent == 0) continue;
      batch->slot_keys.push_back(SlotsKey(options_.prefix, check));
    }
    if (!batch->slot_keys.empty()) {
      batch->token = options_.token + "-" + std::to_string(next_token_++);
    }
    batch->sent_us = now_us;
    const bool sent = client_->SendScript(
        Script(),
        Arguments(options_.prefix, batch->checks, batch->count + batch->ahead,
                  batch->ahead > 0 ? lease : 0, batch->token),
        options_.deadline_ms, [this, alive, batch](const cache::Result<redis::Reply>& reply) {
          if (!alive.expired()) OnReply(*batch, reply);
        });
    if (sent) {
      counters_.calls.Add();
      continue;
    }
    FinishWithoutReply(*batch, false);
    if (alive.expired()) return;
  }
  batches.clear();
  spare_batches_ = std::move(batches);
}

// Places that were granted and whose requests have gone: their slots have no holder.
void RateLimiter::RemoveUnheld(const Batch& batch, int64_t granted) {
  if (batch.token.empty()) return;
  std::vector<bool> held(static_cast<size_t>(batch.count), false);
  for (const LimitRequest* request = batch.first; request != nullptr; request = request->after_) {
    held[static_cast<size_t>(request->place_)] = true;
  }
  for (int64_t place = 0; place < std::min(granted, batch.count); ++place) {
    if (held[static_cast<size_t>(place)]) continue;
    for (const std::string& key : batch.slot_keys) {
      slots_.Remove(key, MemberOf(batch.token, place));
    }
  }
}

// Redis did not decide. A call whose deadline passed may still be carried out: what it charges
// then is not owed a second time, and slots that it takes have no holder.
void RateLimiter::FinishWithoutReply(Batch& batch, bool perhaps_done) {
  const std::weak_ptr<int> alive = alive_;
  if (perhaps_done && !batch.token.empty()) {
    for (const std::string& key : batch.slot_keys) {
      for (int64_t place = 0; place < batch.count; ++place) {
        slots_.Remove(key, MemberOf(batch.token, place));
      }
    }
  }
  while (batch.first != nullptr) {
    LimitRequest& request = *batch.first;
    batch.Remove(request);
    const auto hold = std::exchange(request.batch_, nullptr);
    FallBack(request, std::span(request.checks_).subspan(request.next_, batch.checks.size()),
             /*owed=*/!perhaps_done);
    request.Answer();
    if (alive.expired()) return;
  }
}

void RateLimiter::OnReply(Batch& batch, const cache::Result<redis::Reply>& reply) {
  if (batch.first == nullptr) {
    // All gone, and with them perhaps policies and plans: only the slots are of interest.
    if (reply && !reply->items.empty()) RemoveUnheld(batch, reply->items[0].integer);
    return;
  }
  int64_t granted = 0;
  std::vector<rules::LimitStates> states;
  if (!reply || !ReadReply(*reply, batch.checks, &granted, &states)) {
    FinishWithoutReply(batch, !reply && redis::IsDeadline(reply.error()));
    return;
  }
  RemoveUnheld(batch, granted);
  Distribute(batch, granted, states);
}

void RateLimiter::Distribute(Batch& batch, int64_t granted,
                             std::vector<rules::LimitStates>& states) {
  const std::span<const LimitCheck> checks = batch.checks;
  // Who was forgotten while this was on its way may have begun anew after it.
  const bool fresh = batch.sent_us > forgotten_us_;
  if (granted < batch.count && fresh) {
    for (size_t i = 0; i < checks.size(); ++i) refusals_.Add(checks[i], states[i], batch.sent_us);
  }
  if (granted > 0) WriteDown(checks, granted);
  if (LimitLeases::LengthFor(checks) > 0) {
    leases_.Store(batch.hash, checks, batch.count, granted, batch.sent_us, states);
    counters_.lease_lost.Set(leases_.lost());
  }
  const std::weak_ptr<int> alive = alive_;
  std::vector<rules::LimitStates> own;
  while (batch.first != nullptr) {
    LimitRequest& request = *batch.first;
    batch.Remove(request);
    const auto hold = std::exchange(request.batch_, nullptr);
    const int64_t place = request.place_;
    const bool allowed = place < granted;
    own = states;
    // What remained after this one's share of the call, not after all of it.
    for (size_t i = 0; allowed && i < checks.size(); ++i) {
      const size_t windows = rules::WindowCount(*checks[i].plan);
      for (size_t w = 0; w < windows; ++w) {
        own[i].states[w].remaining += (granted - 1 - place) * checks[i].cost;
      }
      if (checks[i].plan->concurrent == 0) continue;
      own[i].states[windows].remaining += granted - 1 - place;
      LimitRequest::Slot slot{SlotsKey(options_.prefix, checks[i]), MemberOf(batch.token, place)};
      slots_.Hold(slot.key, slot.member);
      request.slots_.push_back(std::move(slot));
    }
    Conclude(request, checks, allowed, LimitVerdict::Source::kRedis, own);
    request.Answer();
    if (alive.expired()) return;
  }
}

void RateLimiter::ForceCharge(std::span<const std::string> keys,
                              std::span<const rules::WindowSpec> specs,
                              redis::Commander::Done done) {
  redis::ScriptArguments arguments;
  for (const std::string& key : keys) arguments.Key(key);
  arguments.Arg("1").Arg("0").Arg("1").Arg("");
  for (const rules::WindowSpec& spec : specs) {
    arguments.Arg(spec.unit).Arg(spec.limit).Arg(spec.window).Arg(spec.resolution);
  }
  if (client_->SendScript(Script(), std::move(arguments), kDebtDeadlineMs, done)) return;
  if (done) done(cache::Fail(cache::ErrorSource::kInternal, "not sent"));
}

void RateLimiter::ChargeAfter(const LimitCheck& check, int64_t units) {
  if (units <= 0 || check.plan->windows.empty()) return;
  LimitCheck more = check;
  more.cost = units;
  if (client_ == nullptr || check.policy->store_down == rules::StoreDown::kLocalShare) {
    const std::string key = LocalKey(more);
    rules::LimitAsk ask{.key = key,
                        .plan = more.plan,
                        .unit = units,
                        .max_entries = more.policy->max_entries,
                        .slots = false};
    rules::LimitStates states;
    shared_.local.Check({&ask, 1}, {.count = 1, .force = true}, NowUs(), {&states, 1});
  }
  if (client_ == nullptr) return;
  if (!client_->available(more.id_text())) {
    shared_.debts.Add(more, units, NowUs());
    return;
  }
  std::vector<std::string> keys;
  std::vector<rules::WindowSpec> specs;
  for (size_t i = 0; i < rules::WindowCount(*more.plan); ++i) {
    keys.push_back(LimitKey(options_.prefix, more, more.plan->windows[i]));
    specs.push_back(rules::SpecOf(more.plan->windows[i], more.policy->max_entries, units));
  }
  ForceCharge(keys, specs, {});
  // Slots taken ahead were taken before this was known.
  leases_.Clear();
}

void RateLimiter::PayDebts() {
  if (client_ == nullptr || shared_.debts.empty() || !client_->available({})) return;
  const std::weak_ptr<int> alive = alive_;
  for (const LimitDebts::Debt& debt : shared_.debts.Take(kDebtsInATurn, NowUs())) {
    std::vector<std::string> keys;
    std::vector<rules::WindowSpec> specs;
    int64_t most = 0;
    for (size_t i = 0; i < debt.windows.size(); ++i) {
      if (debt.units[i] <= 0) continue;
      const std::string name = ":" + debt.policy + ":" + debt.windows[i].name + ":" +
                               std::to_string(debt.windows[i].window.count());
      keys.push_back(options_.prefix + ":rl:{" + std::string(debt.id.data(), debt.id.size()) + "}" +
                     name);
      specs.push_back(rules::SpecOf(debt.windows[i], debt.max_entries, debt.units[i]));
      most = std::max(most, debt.units[i]);
    }
    ForceCharge(keys, specs, [this, alive, debt, most](const cache::Result<redis::Reply>& reply) {
      if (alive.expired()) return;
      if (reply) {
        counters_.debts_paid.Add(static_cast<uint64_t>(most));
      } else if (!redis::IsDeadline(reply.error())) {
        // It did not reach Redis; after a deadline it still may.
        shared_.debts.PutBack(debt, NowUs());
      }
    });
  }
}

}  // namespace satchel::proxy
