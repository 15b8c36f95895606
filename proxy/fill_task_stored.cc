// What a fill does with what is stored already: it is validated, completed, served for an answer
// that did not come, or ended.

#include <array>
#include <utility>

#include "cache/range.h"
#include "cache/reuse.h"
#include "cache/storability.h"
#include "cache/variants.h"
#include "proxy/fill_task.h"
#include "proxy/purge_targets.h"
#include "proxy/worker.h"

namespace satchel::proxy {

bool FillTask::CheckStored() {
  if (job_.prefix) job_.prefix = worker_.store().purges().Check(job_.prefix);
  if (job_.stored) job_.stored = worker_.store().purges().Check(job_.stored);
  return job_.stored != nullptr;
}

bool FillTask::FallBackOnStale(bool reached, uint16_t status) {
  if (published_ || !CheckStored()) return false;
  stale_reason_ = cache::MayServeOnError(*job_.head, job_.stored->facts(), worker_.WallNow(),
                                         reached, status, job_.rule->cache);
  if (stale_reason_ == cache::Reason::kNone) return false;
  return Complete(job_.stored, false, stale_reason_);
}

// Which of several variants a 304 is about. False: of none that is still there.
bool FillTask::SelectNamed(const cache::ResponseHead& head) {
  if (named_.empty()) return true;
  const cache::StoredPtr found = cache::VariantNamedBy(head.fields, named_);
  if (found) job_.stored = worker_.store().purges().Check(found);
  return job_.stored != nullptr;
}

void FillTask::OnNotModified(const cache::ResponseHead& head) {
  const cache::Time now = worker_.WallNow();
  cache::UpdateResult update = cache::UpdateStored(
      *job_.head, job_.stored->Fields(), job_.stored->facts(), head,
      cache::TimeFromUnixMillis(fetch_->sent_wall_ms()), now, worker_.Random(), job_.rule->cache);
  verdict_reason_ = update.verdict.reason;
  revalidated_ = true;
  stored_answer_ = update.verdict.store;
  cache::ResponseFacts& facts = update.verdict.facts;
  facts.fetch_time = NoteFetchTime();
  if (!update.verdict.store) {
    // It answers this request and no other.
    facts.lifetime = cache::Millis(0);
    if (update.verdict.reason != cache::Reason::kRequestNoStore) DropStored();
  }
  cache::TagSet tags;
  CollectTags(job_.snapshot->rules, *job_.rule, *job_.head, head.fields, tags);
  const cache::StoredResponse::Update with{.more_tags = tags.ids(),
                                           .purge_sequence = asked_sequence_};
  const cache::StoredPtr old = job_.stored;
  const cache::StoredPtr updated =
      WithUpdate(*old, update, *job_.head, job_.rule->cache, with, !named_.empty());
  // First: who has this answer, and asks another worker next, finds what it says of others done.
  const cache::StoredPtr other =
      update.verdict.store ? KeepConfirmed(*old, *updated, update, with) : nullptr;
  if (!Complete(updated, update.verdict.store)) {
    // What the origin confirmed was purged meanwhile.
    revalidated_ = stored_answer_ = false;
    FetchWhole();
    return;
  }
  KeepOwnFields(head.fields, update.fields);
  if (update.verdict.store && update.fields.Has(cache::FieldId::kNoVarySearch)) {
    worker_.LearnEquivalents(*updated, job_.rule->cache, asked_sequence_);
  }
  TellLeader();
  if (!update.verdict.store) {
    Tell(redis::FleetLock::News::kEach);
    return;
  }
  RenewRemotely(old, updated);
  if (other && worker_.remote() != nullptr) {
    worker_.remote()->Put(other, job_.rule->cache, nullptr);
  }
}

// What a 304 says beyond the response that it makes for this request. Returns what it renewed for
// those who have selected that so far (4.3.4).
cache::StoredPtr FillTask::KeepConfirmed(const cache::StoredResponse& old,
                                         const cache::StoredResponse& updated,
                                         const cache::UpdateResult& update,
                                         const cache::StoredResponse::Update& with) {
  if (updated.vary() != old.vary()) {
    worker_.store().Drop(job_.key, old);
    return nullptr;
  }
  if (named_.empty()) return nullptr;
  cache::StoredPtr same =
      cache::StoredResponse::WithFields(old, update.fields, update.verdict.facts, with);
  cache::FillPermit permit = worker_.store().LeadPart(job_.key, *job_.head, job_.rule->cache);
  return permit && permit.CompleteWith(same, true) ? same : nullptr;
}

// Nothing that is stored is of use: asks again, without conditions and for all of it.
void FillTask::FetchWhole() {
  conditional_ = completing_ = job_.other_variants = false;
  named_.clear();
  job_.stored = nullptr;
  job_.prefix = nullptr;
  fetch_->Cancel();
  StartFetch();
}

// The rest of a stored prefix, under its strong validator: the two are one response (9111 3.4).
bool FillTask::CompleteFromPrefix(const cache::ResponseHead& head) {
  const cache::StoredResponse& prefix = *job_.prefix;
  const cache::HeaderMap stored = prefix.Fields();
  if (!cache::CompletesPrefix(stored, prefix.partial_range(), prefix.complete_length(), head)) {
    return false;
  }
  const cache::ResponseHead whole = cache::CompletedHead(stored, prefix.complete_length(), head);
  const cache::StoreVerdict verdict =
      cache::MayStore(*job_.head, whole, cache::TimeFromUnixMillis(fetch_->sent_wall_ms()),
                      worker_.WallNow(), worker_.Random(), job_.rule->cache);
  if (!verdict.store) return false;
  verdict_reason_ = verdict.reason;
  if (!Publish(whole, verdict, prefix.complete_length())) return false;
  std::array<iovec, 16> pieces;
  for (uint64_t at = 0; at < prefix.body().size();) {
    const size_t count = prefix.body().Gather(at, prefix.body().size() - at, pieces);
    for (size_t i = 0; i < count; ++i) {
      job_.permit.Append({static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len});
      at += pieces[i].iov_len;
    }
  }
  CheckBacklog();
  return true;
}

// What the origin says now ends what it said before, in either tier.
void FillTask::DropStored() {
  worker_.store().Invalidate(job_.key);
  if (worker_.remote() != nullptr) worker_.remote()->Remove(job_.key, nullptr);
}

}  // namespace satchel::proxy
