// Requests that lead no fetch ask the shared tier themselves; and what another URI's response has
// to do with them.

#include <utility>

#include "cache/reuse.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace satchel::proxy {

using cache::Action;
using cache::Reason;

// What leads no fetch of the whole may still be answered by what the shared tier has of it: a
// range, or a HEAD.
void Exchange::AskRemote() {
  asked_remote_ = true;
  remote_pending_ = worker_.remote()->Lookup(
      key_, head_, rule_->cache,
      [this](cache::Result<cache::StoredPtr> found) { OnRemote(std::move(found)); });
}

void Exchange::OnRemote(cache::Result<cache::StoredPtr> found) {
  const auto self = shared_from_this();
  const auto finished = std::move(remote_pending_);
  worker_.SyncRedisMetrics();
  if (!client_) return;
  cache::Store::Found selected{nullptr, other_variants_};
  if (found && *found) {
    selected = {std::move(*found), false};
    from_remote_ = true;
    if (auto permit = worker_.store().TryLead(key_, head_, rule_->cache, Prior())) {
      if (!permit.CompleteWith(selected.response, true)) {
        permit.Release(Reason::kPurged);
        selected = {nullptr, other_variants_};
        from_remote_ = false;
      }
    }
  } else if (found && AskRemoteForEquivalent()) {
    return;
  }
  ActOn(selected);
}

// Nothing of this URI, but perhaps of one that answers for it too (No-Vary-Search).
bool Exchange::AskRemoteForEquivalent() {
  remote_pending_ = worker_.remote()->LookupEquivalent(
      key_, head_, rule_->cache, worker_.store().VarianceOf(key_),
      [this](const cache::RemoteStore::Equivalent& found) {
        const auto self = shared_from_this();
        const auto finished = std::move(remote_pending_);
        worker_.SyncRedisMetrics();
        if (!client_) return;
        if (!found.response) {
          ActOn({nullptr, other_variants_});
          return;
        }
        worker_.store().KeepEquivalent(found.response, head_, rule_->cache, found.asked);
        from_remote_ = ServesAtOnce(*found.response);
        ActOn({from_remote_ ? found.response : nullptr, other_variants_});
      });
  return remote_pending_ != nullptr;
}

bool Exchange::ServesAtOnce(const cache::StoredResponse& response) const {
  const cache::Time now = worker_.WallNow();
  return response.facts().IsFreshAt(now) &&
         cache::Decide(head_, &response.facts(), false, now, rule_->cache).action == Action::kServe;
}

// The fetch for an equivalent URI brought nothing for this one.
void Exchange::LeaveEquivalent() {
  reader_ = {};
  wait_timer_.Cancel();
  of_equivalent_ = follow_equivalents_ = false;
  followed_ = false;
  LookUp();
}

}  // namespace satchel::proxy
