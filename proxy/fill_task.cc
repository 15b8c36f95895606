#include "proxy/fill_task.h"

#include <utility>

#include "cache/fetch_time.h"
#include "cache/parts.h"
#include "cache/range.h"
#include "cache/storability.h"
#include "cache/validation.h"
#include "cache/variants.h"
#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/json_tags.h"
#include "proxy/purge_targets.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

// A pass keeps at most this much that its slowest reader has not taken.
constexpr uint64_t kBacklogHigh = 1024 * 1024;
constexpr uint64_t kBacklogLow = 256 * 1024;

// Of an answer that is cut short less is forgotten: asking for all of it anew costs as much.
constexpr uint64_t kWorthKeeping = 256 * 1024;

}  // namespace

FillTask::FillTask(Worker& worker, Job job) : worker_(worker), job_(std::move(job)) {}

FillTask::~FillTask() {
  if (fetch_) fetch_->Cancel();
}

void FillTask::TellLeader() {
  if (const auto leader = job_.leader.lock()) leader->OnFillProgress();
}

// At the end of the turn: a small answer is complete, and stored, by then, and its leader's client
// gets it in one write.
void FillTask::TellLeaderSoon() {
  if (std::exchange(telling_, true)) return;
  worker_.loop().AtTurnEnd([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->telling_ = false;
    self->TellLeader();
  });
}

void FillTask::Done() {
  if (shared_) shared_->End();
  if (const auto finished = std::exchange(job_.finished, nullptr)) finished(*this);
  worker_.Forget(this);
}

bool FillTask::Complete(cache::StoredPtr response, bool insert, cache::Reason why) {
  return job_.permit.CompleteWith(std::move(response), insert, why);
}

void FillTask::StartFetch() {
  asked_sequence_ = job_.permit.MarkAsked();
  const cache::RequestHead* head = job_.head.get();
  cache::RequestHead validating;
  if (CheckStored()) {
    validating = *head;
    // If-None-Match on a POST asks the origin to refuse it with 412 (RFC 9110 13.1.2): it is read
    // anew.
    const bool may_ask = head->method != cache::Method::kPost;
    conditional_ =
        cache::MakeConditional(validating, may_ask ? job_.stored->Fields() : cache::HeaderMap());
    head = &validating;
  } else if (job_.prefix && !job_.part) {
    validating = *head;
    completing_ =
        cache::MakeCompletion(validating, job_.prefix->Fields(), job_.prefix->partial_range());
    if (completing_) head = &validating;
  } else if (job_.other_variants && !job_.part) {
    named_ = cache::NameableVariants(*head, worker_.store().Variants(job_.key));
    if (!named_.empty()) {
      validating = *head;
      cache::NameVariants(validating, named_);
      conditional_ = true;
      head = &validating;
    }
  }
  FetchRequest request;
  request.method = head->method_text;
  request.idempotent = true;
  http1::Framing framing;
  if (job_.body) framing = {http1::BodyKind::kLength, job_.body->bytes().size()};
  request.head = BuildUpstreamHead(*head, job_.target, *job_.rule, job_.client, framing, false);
  request.whole_body = job_.body ? job_.body->bytes() : std::string_view();
  fetch_ = std::make_shared<Fetch>(worker_, job_.pool, job_.rule->timeouts, std::move(request),
                                   this);
  fetch_started_ns_ = net::EventLoop::ReadClockNs();
  fetch_->Start();
}

// Of this fetch, which is over; the moving average goes with the response.
uint8_t FillTask::NoteFetchTime() {
  const cache::Millis time((net::EventLoop::ReadClockNs() - fetch_started_ns_) / 1'000'000);
  worker_.NoteFetchTime(*job_.rule, time);
  const cache::Millis before =
      job_.stored ? cache::UnpackFetchTime(job_.stored->facts().fetch_time) : cache::Millis(0);
  return cache::PackFetchTime(cache::SmoothFetchTime(before, time));
}

void FillTask::OnInterim(cache::ResponseHead& head) {
  if (const auto leader = job_.leader.lock()) leader->OnLeaderInterim(head);
}

// Fields that a qualified no-cache or private names, or that speak of one exchange, go to the
// client whose request brought them, and to nobody else (RFC 9111 5.2.2.4, 5.2.2.7).
void FillTask::KeepOwnFields(const cache::HeaderMap& received, const cache::HeaderMap& stored) {
  cache::HeaderMap forwarded;
  if (cache::HasHopByHop(received)) {
    forwarded = received;
    cache::RemoveHopByHop(forwarded);
  }
  for (const cache::HeaderMap::Field field : forwarded.empty() ? received : forwarded) {
    switch (field.id) {
      case cache::FieldId::kAge:
      case cache::FieldId::kCacheStatus:
      case cache::FieldId::kContentLength:
      case cache::FieldId::kContentEncoding:
      case cache::FieldId::kContentRange:
        continue;
      case cache::FieldId::kRateLimit:
      case cache::FieldId::kRateLimitPolicy:
      case cache::FieldId::kXRateLimitLimit:
      case cache::FieldId::kXRateLimitRemaining:
      case cache::FieldId::kXRateLimitReset:
        limit_fields_.Add(field.id, field.value);
        continue;
      default:
        if (!stored.Has(field.name)) http1::AppendField(own_fields_, field.name, field.value);
    }
  }
}

// The answer is this request's own: followers fetch for themselves.
void FillTask::HandOver(cache::ResponseHead& head, const http1::Framing& framing,
                        cache::Reason why) {
  job_.permit.Release(why);
  if (const auto leader = job_.leader.lock()) {
    leader->TakeOver(std::exchange(fetch_, nullptr), head, framing, why, asked_sequence_);
  } else {
    fetch_->Cancel();
  }
  Done();
}

// False: purged since the origin was asked.
bool FillTask::Publish(const cache::ResponseHead& head, const cache::StoreVerdict& verdict,
                       std::optional<uint64_t> length) {
  cache::StoredResponse::Parts parts;
  parts.key = job_.key.text();
  parts.vary = cache::ParseVary(head.fields);
  parts.vary_values = cache::VaryValues(parts.vary, *job_.head, job_.rule->cache);
  parts.facts = verdict.facts;
  parts.reason = head.reason;
  parts.fields = cache::StoredFields(head, worker_.WallNow(), job_.rule->cache, &parts.facts);
  const size_t added = head.fields.Has(cache::FieldId::kDate) ? 0 : 1;
  if (parts.fields.size() != head.fields.size() + added) KeepOwnFields(head.fields, parts.fields);
  parts.purge_sequence = asked_sequence_;
  if (verdict.facts.partial) {
    length = cache::DescribePart(head, parts);
    if (!length) return false;
  }
  cache::TagSet tags;
  CollectTags(job_.snapshot->rules, *job_.rule, *job_.head, head.fields, tags);
  if (HasJsonTags(head)) {
    // Its own tags are known at its end. Until then every tag may be one.
    json_tags_ = tags;
    tags.AddId(cache::kAnyTag);
  }
  parts.tags = tags.Take();
  cache::StoredPtr made = cache::StoredResponse::Make(std::move(parts));
  if (!job_.permit.Publish(made, length)) {
    own_fields_.clear();
    return false;
  }
  head_ = std::move(made);
  length_ = length;
  answers_others_ = head.fields.Has(cache::FieldId::kNoVarySearch);
  stored_answer_ = true;
  published_ = true;
  TellLeaderSoon();
  return true;
}

void FillTask::OnHead(cache::ResponseHead& head, const http1::Framing& framing) {
  const auto self = shared_from_this();
  if (shared_) shared_->Progress();
  upstream_status_ = head.status;
  inner_status_ = head.fields.Joined(cache::FieldId::kCacheStatus).value_or("");
  const cache::Time now = worker_.WallNow();
  if (conditional_ && head.status == 304) {
    if (SelectNamed(head) && cache::NotModifiedSelects(job_.stored->Fields(), head.fields)) {
      OnNotModified(head);
      return;
    }
    // It speaks of something we do not have: ask again, without conditions.
    FetchWhole();
    return;
  }
  if (completing_ && (head.status == 206 || head.status == 412 || head.status == 416)) {
    if (!CompleteFromPrefix(head)) FetchWhole();
    return;
  }
  const bool server_error = head.status >= 500;
  if (server_error && FallBackOnStale(true, head.status)) {
    TellLeader();
    return;
  }
  const cache::StoreVerdict verdict =
      cache::MayStore(*job_.head, head, cache::TimeFromUnixMillis(fetch_->sent_wall_ms()), now,
                      worker_.Random(), job_.rule->cache);
  verdict_reason_ = verdict.reason;
  // A part that nobody asked for here is its request's alone.
  if (!verdict.store || (verdict.facts.partial && !job_.part) || (server_error && job_.stored)) {
    // A full answer to a validation replaces the old response even if it can't be kept itself.
    if (job_.stored && !server_error) DropStored();
    // What can't be kept of one range says nothing of the others.
    const bool of_range = job_.part && (head.status == 206 || head.status == 416);
    if (!server_error && head.status != 304 && !of_range) {
      worker_.store().RememberUncacheable(job_.key, now);
      Tell(redis::FleetLock::News::kUncacheable);
    } else {
      Tell(redis::FleetLock::News::kEach);
    }
    // An error that could be stored, were there nothing that it must leave in place (4.3.3).
    const bool left_in_place = server_error && job_.stored && verdict.store;
    HandOver(head, framing, left_in_place ? cache::Reason::kExpired : verdict.reason);
    return;
  }
  std::optional<uint64_t> length;
  if (framing.kind == http1::BodyKind::kLength) length = framing.length;
  if (framing.kind == http1::BodyKind::kNone) length = 0;
  if (!Publish(head, verdict, length)) HandOver(head, framing, cache::Reason::kPurged);
}

void FillTask::OnData(std::string_view data) {
  const auto self = shared_from_this();
  if (!published_) return;  // the body of an answer that we replaced by a stored one
  if (shared_) shared_->Progress();
  job_.permit.Append(data);
  TellLeaderSoon();
  CheckBacklog();
}

void FillTask::CheckBacklog() {
  if (!job_.permit || !job_.permit.is_pass()) return;
  stored_answer_ = false;
  Tell(redis::FleetLock::News::kEach);  // too large for memory: nobody needs to wait for the end
  if (!job_.permit.has_readers()) {
    Add(worker_.metrics().bounds, Bound::kMaxObject);
    fetch_->Cancel();
    job_.permit.Fail({cache::ErrorSource::kClient, "nobody reads it any more", 0});
    Done();
    return;
  }
  if (paused_ || job_.permit.Backlog() < kBacklogHigh) return;
  paused_ = true;
  Add(worker_.metrics().bounds, Bound::kClientBuffer);
  fetch_->Pause();
  // Readers may live on other workers: the message comes through the mailbox.
  job_.permit.NotifyBelow(kBacklogLow, [weak = weak_from_this(), loop = &worker_.loop()] {
    loop->Post([weak] {
      const auto self = weak.lock();
      if (!self || !self->fetch_) return;
      self->paused_ = false;
      self->fetch_->Resume();
      self->CheckBacklog();
    });
  });
}

bool FillTask::HasJsonTags(const cache::ResponseHead& head) const {
  return !job_.rule->tags_from_json.empty() && head.status == 200 &&
         !head.fields.Has(cache::FieldId::kContentEncoding) &&
         IsJsonType(head.fields.First(cache::FieldId::kContentType).value_or(std::string_view()));
}

cache::StoredPtr FillTask::FinishTagged(std::string trailers, uint8_t fetch_time) {
  if (!json_tags_) return job_.permit.Finish(std::move(trailers), nullptr, fetch_time);
  const std::string body = job_.permit.CopyBody(kMaxTaggedBody);
  // Too long to be looked through: what it holds nobody knows, so that any tag purges it.
  if (body.empty()) return job_.permit.Finish(std::move(trailers), nullptr, fetch_time);
  AddJsonTags(body, job_.rule->tags_from_json, *json_tags_);
  return job_.permit.Finish(std::move(trailers), &json_tags_->ids(), fetch_time);
}

void FillTask::OnEnd(cache::HeaderMap& trailers) {
  const auto self = shared_from_this();
  if (published_ && job_.permit) {
    const uint8_t fetch_time = NoteFetchTime();
    const bool pass = job_.permit.is_pass();
    std::string lines;
    if (!trailers.empty()) {
      cache::RemoveForbiddenTrailers(trailers);
      http1::AppendFields(lines, trailers);
    }
    // The answer to a validation ends what was to be validated, also where it is selected by other
    // fields and so does not take its place (RFC 9111 4.3.3); before anybody has the end of it.
    if (job_.stored && !pass &&
        (head_->vary() != job_.stored->vary() ||
         head_->vary_values() != job_.stored->vary_values())) {
      worker_.store().Drop(job_.key, *job_.stored);
    }
    cache::StoredPtr stored = FinishTagged(std::move(lines), fetch_time);
    stored_answer_ = stored != nullptr;
    if (stored && answers_others_) {
      worker_.LearnEquivalents(*stored, job_.rule->cache, asked_sequence_);
    }
    if (pass) Add(worker_.metrics().bounds, Bound::kMaxObject);
    if (stored && job_.part && job_.prefix) {
      stored = worker_.store().Grow(job_.key, *job_.head, job_.rule->cache, *job_.prefix, stored);
    }
    if (!stored) {
      Tell(redis::FleetLock::News::kFailed);
    } else if (stored->facts().partial && !(shared_ && shared_->found_nothing())) {
      // A part goes to the shared tier only where that has nothing, not even the whole.
      Tell(redis::FleetLock::News::kEach);
    } else {
      StoreRemotely(stored);
    }
    TellLeader();
  }
  Done();
}

// What came of a long answer before its connection was lost, if the rest can be asked for later.
cache::StoredPtr FillTask::BeginningOf(const FetchError& error) const {
  const bool lost = error.kind == UpstreamError::kReset ||
                    error.kind == UpstreamError::kIdleTimeout ||
                    error.kind == UpstreamError::kTotalTimeout;
  if (!lost || !published_ || !length_ || !job_.rule->cache.keep_parts || job_.stored ||
      job_.permit.is_pass()) {
    return nullptr;
  }
  cache::Body body = job_.permit.Committed();
  if (body.size() < kWorthKeeping) return nullptr;
  return cache::PrefixOf(*head_, std::move(body), *length_);
}

void FillTask::OnFetchError(const FetchError& error) {
  const auto self = shared_from_this();
  if (job_.permit) {
    if (!FallBackOnStale(error.head_received, error.status)) {
      Add(worker_.metrics().fills_failed);
      error_ = error.message;
      job_.permit.FailKeeping(BeginningOf(error),
                              {cache::ErrorSource::kUpstream, error.message, error.status});
    }
    TellLeader();
  }
  Done();
}

void FillTask::OnLeaderGone() {
  const auto self = shared_from_this();
  if (published_ && job_.permit && job_.permit.is_pass()) CheckBacklog();
}

}  // namespace satchel::proxy
