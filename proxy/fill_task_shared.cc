// What a fill has to do with the shared tier.

#include <memory>
#include <utility>

#include "cache/early_refresh.h"
#include "cache/fetch_time.h"
#include "cache/reuse.h"
#include "proxy/exchange.h"
#include "proxy/fill_task.h"
#include "proxy/worker.h"

namespace satchel::proxy {

void FillTask::Start() {
  Add(worker_.metrics().fills_led);
  if (worker_.remote() != nullptr) {
    SharedFill::Job job;
    job.key = &job_.key;
    job.head = job_.head.get();
    job.rule = job_.rule;
    job.expected =
        job_.stored ? cache::UnpackFetchTime(job_.stored->facts().fetch_time) : cache::Millis(0);
    if (job.expected == cache::Millis(0)) job.expected = worker_.FetchTime(*job_.rule);
    job.takes_turns = job_.takes_turns && !job_.shared_only;
    job.background = job_.background;
    shared_ = std::make_unique<SharedFill>(
        worker_, job,
        SharedFill::Hooks{
            [this](const cache::StoredPtr& found) { return UseRemote(found); },
            [this](const cache::RemoteStore::Equivalent& found) { return UseEquivalent(found); },
            [this](SharedFill::Go go) { OnTurn(go); }});
    if (shared_->Start()) return;
  }
  OnTurn(SharedFill::Go::kFetch);
}

bool FillTask::UseRemote(const cache::StoredPtr& response) {
  const auto self = shared_from_this();
  const cache::Time now = worker_.WallNow();
  // The one to be refreshed, or hardly a newer one.
  if (job_.early && cache::NearsExpiry(response->facts(),
                                       response->facts().lifetime - response->facts().AgeAt(now),
                                       job_.rule->cache)) {
    return false;
  }
  const bool part_holds = !response->facts().partial || response->HoldsRangeOf(*job_.head);
  const cache::Decision decision =
      cache::Decide(*job_.head, &response->facts(), false, now, job_.rule->cache, part_holds);
  if (decision.action == cache::Action::kServe ||
      (decision.action == cache::Action::kServeStaleAndRefresh && !job_.background)) {
    // Purged while it came: no longer to be used.
    if (!Complete(response, !response->facts().stale_by_purge)) return false;
    from_remote_ = true;
    Tell(redis::FleetLock::News::kStored);  // whoever waits for us finds it too
    TellLeader();
    Done();
    return true;
  }
  if (response->facts().partial) {
    // Never an answer to a full request, nor validated for one; but its rest may be asked for.
    if (!job_.stored && !job_.prefix) job_.prefix = response;
  } else if (!job_.stored || response->facts().received > job_.stored->facts().received) {
    // Too old to serve, but perhaps a better base for a validation than what we have.
    job_.stored = response;
  }
  return false;
}

// It stays another URI's: good to be served while it is fresh, not to be validated for this one.
bool FillTask::UseEquivalent(const cache::RemoteStore::Equivalent& found) {
  const auto self = shared_from_this();
  const cache::ResponseFacts& facts = found.response->facts();
  const cache::Time now = worker_.WallNow();
  if (!facts.IsFreshAt(now) ||
      cache::Decide(*job_.head, &facts, false, now, job_.rule->cache).action !=
          cache::Action::kServe) {
    return false;
  }
  worker_.store().KeepEquivalent(found.response, *job_.head, job_.rule->cache, found.asked);
  if (!Complete(found.response, /*insert=*/false)) return false;
  from_remote_ = true;
  TellLeader();
  Done();
  return true;
}

void FillTask::OnTurn(SharedFill::Go go) {
  const auto self = shared_from_this();
  switch (go) {
    case SharedFill::Go::kFetch:
      if (!job_.shared_only) {
        StartFetch();
        return;
      }
      job_.permit.Fail({cache::ErrorSource::kStore, "the shared tier does not have it", 0});
      Done();
      return;
    case SharedFill::Go::kAlone:
      worker_.store().RememberUncacheable(job_.key, worker_.WallNow());
      job_.permit.Release(cache::Reason::kKnownUncacheable);
      if (const auto leader = job_.leader.lock()) leader->FetchAlone();
      Done();
      return;
    case SharedFill::Go::kGiveUp:
      gave_up_ = true;
      job_.permit.Fail({cache::ErrorSource::kStore, "another instance refreshes it", 0});
      Done();
      return;
  }
}

void FillTask::Tell(redis::FleetLock::News news) {
  if (shared_) shared_->Conclude(news);
}

// Whether it is there is known later, and so is what to tell those who wait.
cache::RemoteStore::Stored FillTask::TellWhenStored() {
  return [turn = shared_ ? shared_->GiveTurn() : nullptr](bool stored) {
    if (!turn) return;
    turn->Conclude(stored ? redis::FleetLock::News::kStored : redis::FleetLock::News::kEach);
  };
}

void FillTask::StoreRemotely(const cache::StoredPtr& response) {
  if (worker_.remote() == nullptr) return;
  worker_.remote()->Put(response, job_.rule->cache, TellWhenStored());
}

void FillTask::RenewRemotely(const cache::StoredPtr& old, const cache::StoredPtr& updated) {
  if (worker_.remote() == nullptr) return;
  worker_.remote()->Renew(old, updated, job_.rule->cache, TellWhenStored());
}

}  // namespace satchel::proxy
