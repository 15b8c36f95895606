// What an exchange puts into the store on its answer's way to the client: a copy of an answer of
// its own, and what a HEAD tells of a stored GET.
#include <algorithm>
#include <utility>

#include "cache/parts.h"
#include "cache/storability.h"
#include "cache/validation.h"
#include "cache/variants.h"
#include "proxy/exchange.h"
#include "proxy/purge_targets.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

using cache::Method;
using cache::Reason;

}  // namespace

// An answer on its way to one client that may be stored all the same: a GET that went alone because
// earlier answers were not shareable, or a POST whose answer says that it is the resource's
// representation (RFC 9110 9.3.3).
void Exchange::BeginTee(const cache::ResponseHead& head, const http1::Framing& framing) {
  const bool read = head_.ReadsLikeGet();
  if (read && (!has_key_ || !decision_.may_store)) return;
  // An error never takes the place of an answer, whatever lifetime it has (RFC 9111 4.3.3).
  if (read && head.status >= 500 && stored_ && stored_->facts().status < 500) return;
  if (!rule_->cache.enabled || (!read && head_.method != Method::kPost)) return;
  const cache::Time now = worker_.WallNow();
  const cache::StoreVerdict verdict =
      cache::MayStore(head_, head, cache::TimeFromUnixMillis(fetch_->sent_wall_ms()), now,
                      worker_.Random(), rule_->cache);
  if (!verdict.store) return;
  cache::RequestHead as_get = head_;
  if (!read) {
    as_get.method = Method::kGet;
    as_get.method_text = "GET";
    key_.Build(as_get, rule_->key);
  }
  cache::StoredResponse::Parts parts;
  parts.purge_sequence = asked_sequence_;
  cache::TagSet tags;
  CollectTags(snapshot_->rules, *rule_, as_get, head.fields, tags);
  parts.tags = tags.Take();
  parts.key = key_.text();
  parts.vary = cache::ParseVary(head.fields);
  parts.vary_values = cache::VaryValues(parts.vary, as_get, rule_->cache);
  parts.facts = verdict.facts;
  parts.reason = head.reason;
  parts.fields = cache::StoredFields(head, now, rule_->cache, &parts.facts);
  std::optional<uint64_t> length;
  if (framing.kind == http1::BodyKind::kLength) length = framing.length;
  if (framing.kind == http1::BodyKind::kNone) length = 0;
  if (verdict.facts.partial) {
    if (!rule_->cache.keep_parts) return;
    length = cache::DescribePart(head, parts);
    if (!length) return;
  }
  if (parts.facts.partial) {
    tee_ = worker_.store().LeadPart(key_, head_, rule_->cache);
  } else {
    if (verdict.shareable) worker_.store().ForgetUncacheable(key_);
    tee_ = worker_.store().TryLead(key_, as_get, rule_->cache);
  }
  if (!tee_) return;
  tee_.MarkAskedAt(asked_sequence_);
  if (!tee_.Publish(cache::StoredResponse::Make(std::move(parts)), length)) {
    tee_.Release(Reason::kPurged);
    return;
  }
  tee_left_ = length;
  tee_answers_others_ = head.fields.Has(cache::FieldId::kNoVarySearch);
  cache_status_.stored = true;
}

void Exchange::UpdateFromHead(const cache::ResponseHead& head) {
  if (stored_) stored_ = worker_.store().purges().Check(stored_);
  // A 304 speaks of what the client has.
  if ((!stored_ && !part_) || head.status >= 500 || head.status == 304) return;
  // A HEAD that agrees with what is stored of GET freshens it, one that does not ends it (4.3.5),
  // and so does one that says that nothing of this may be kept. A part knows the length of its
  // whole.
  const cache::StoredPtr& held = stored_ ? stored_ : part_;
  const uint16_t status = stored_ ? stored_->facts().status : 200;
  const uint64_t length = stored_ ? stored_->body().size() : part_->complete_length();
  if (head.status == status && cache::HeadConfirms(held->Fields(), length, head.fields)) {
    const cache::UpdateResult update =
        cache::UpdateStored(head_, held->Fields(), held->facts(), head,
                            cache::TimeFromUnixMillis(fetch_->sent_wall_ms()), worker_.WallNow(),
                            worker_.Random(), rule_->cache);
    if (update.verdict.store && stored_) Freshen(update, head.fields);
    if (update.verdict.store || update.verdict.reason == Reason::kRequestNoStore) return;
  }
  worker_.store().Invalidate(key_);
  if (worker_.remote() != nullptr) worker_.remote()->Remove(key_, [](bool) {});
}

void Exchange::Freshen(const cache::UpdateResult& update, const cache::HeaderMap& said) {
  cache::RequestHead as_get = head_;
  as_get.method = Method::kGet;
  as_get.method_text = "GET";
  cache::FillPermit permit = worker_.store().TryLead(key_, as_get, rule_->cache);
  if (!permit) return;  // somebody is fetching the whole
  permit.MarkAskedAt(asked_sequence_);
  cache::TagSet tags;
  CollectTags(snapshot_->rules, *rule_, as_get, said, tags);
  const cache::StoredPtr updated =
      WithUpdate(*stored_, update, head_, rule_->cache,
                 {.more_tags = tags.ids(), .purge_sequence = asked_sequence_});
  if (updated->vary() != stored_->vary()) worker_.store().Drop(key_, *stored_);
  if (!permit.CompleteWith(updated, true)) {
    permit.Release(Reason::kPurged);
    return;
  }
  if (worker_.remote() != nullptr) {
    worker_.remote()->Renew(stored_, updated, rule_->cache, nullptr);
  }
}

// A tee has readers too when somebody asked for the same while it grew.
void Exchange::FeedTee(std::string_view data) {
  constexpr uint64_t kBacklogHigh = 1024 * 1024;
  constexpr uint64_t kBacklogLow = 256 * 1024;
  if (!tee_) return;
  tee_.Append(data);
  if (tee_left_) *tee_left_ -= std::min<uint64_t>(*tee_left_, data.size());
  if (!tee_.is_pass()) {
    // Whole: it is stored before its last bytes leave, for who has them may ask again at once.
    if (tee_left_ == 0) FinishTee();
    return;
  }
  cache_status_.stored = false;
  if (!tee_.has_readers()) {
    Add(worker_.metrics().bounds, Bound::kMaxObject);
    tee_.Release(Reason::kTooLarge);
    if (lingering_) {
      fetch_->Cancel();
      lingering_.reset();
    }
    return;
  }
  if (tee_.Backlog() < kBacklogHigh) return;
  fetch_->Pause();
  tee_.NotifyBelow(kBacklogLow, [weak = weak_from_this(), loop = &worker_.loop()] {
    loop->Post([weak] {
      const auto self = weak.lock();
      if (self && self->fetch_ && (!self->client_ || self->client_->unsent() == 0)) {
        self->fetch_->Resume();
      }
    });
  });
}

void Exchange::FinishTee() {
  cache::StoredPtr stored = tee_.Finish();
  tee_ = {};
  if (stored && tee_answers_others_) {
    worker_.LearnEquivalents(*stored, rule_->cache, asked_sequence_);
  }
  if (stored && part_) {
    stored = worker_.store().Grow(key_, head_, rule_->cache, *part_, stored);
  }
  // A part goes to the shared tier only where that has nothing, not even the whole, under the key.
  const bool share = stored && (!stored->facts().partial || (asked_remote_ && !from_remote_));
  if (share && worker_.remote() != nullptr) worker_.remote()->Put(stored, rule_->cache, nullptr);
}

}  // namespace satchel::proxy
