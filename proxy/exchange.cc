#include "proxy/exchange.h"

#include <algorithm>
#include <utility>

#include "cache/base/append.h"
#include "cache/early_refresh.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

using cache::Action;
using cache::FieldId;
using cache::FillState;
using cache::Method;
using cache::Reason;

constexpr int kMaxRestarts = 3;

}  // namespace

Exchange::Exchange(Worker& worker, std::shared_ptr<ClientConnection> client, SnapshotPtr snapshot,
                   const rules::Rule* rule, cache::RequestHead&& head,
                   const http1::Framing& framing)
    : worker_(worker),
      client_(std::move(client)),
      snapshot_(std::move(snapshot)),
      rule_(rule),
      shared_head_(std::make_shared<cache::RequestHead>(std::move(head))),
      head_(*shared_head_),
      framing_(framing),
      info_(client_->info()),
      client_ip_(info_.peer_ip),
      wait_timer_([this] { OnFillWaitOver(); }),
      started_(worker.WallNow()),
      started_ns_(net::EventLoop::ReadClockNs()) {
  Add(worker_.metrics().requests_in_flight);
  upload_ended_ = framing_.kind == http1::BodyKind::kNone;
  if (rule_ != nullptr) {
    cache_status_.rule = rule_->shown_name();
    shared_head_->read_by_rule = rule_->ReadsBody(head_.method);
  }
}

Exchange::~Exchange() {
  if (fetch_) fetch_->Cancel();
  Subtract(worker_.metrics().requests_in_flight);
}

void Exchange::Start() {
  const auto self = shared_from_this();
  if (head_.method_text == "PURGE") {
    Purge();
    return;
  }
  if (rule_ == nullptr) {
    outcome_ = Outcome::kRefused;
    SendProblem(404, "no rule matches this request", "no-rule");
    return;
  }
  pool_ = worker_.pool(rule_->upstream_index);
  if (info_.peer_trusted) {
    client_ip_ = EffectiveClient(head_, info_.peer_ip, client_->listener());
  }
  admitted_ = [this] { LookUp(); };
  Admit();
}

bool Exchange::HasBody() const { return head_.method != Method::kHead; }

// What it waited for turned out to be another variant, or something was stored meanwhile. Bounded:
// after that it fetches for itself.
void Exchange::LookUpAgain() {
  if (++restarts_ > kMaxRestarts) {
    GoToOrigin();
  } else {
    LookUp();
  }
}

void Exchange::LookUp() {
  state_ = State::kLookingUp;
  from_remote_ = false;
  part_ = nullptr;
  if (MaxForwards(head_) == 0) {
    SendOptions();
    return;
  }
  const std::string_view upgrade = RequestedUpgrade(head_);
  const bool upgrades = !upgrade.empty() && rule_->AllowsUpgrade(upgrade);
  const bool has_body = framing_.kind != http1::BodyKind::kNone;
  if (!rule_->cache.enabled || !head_.Reads() || upgrades ||
      (has_body && !head_.read_by_rule) || head_.target == "*") {
    decision_.action = Action::kBypass;
    decision_.reason = upgrades                 ? Reason::kUpgrade
                       : !rule_->cache.enabled ? Reason::kRuleBypass
                                               : Reason::kMethod;
    GoToOrigin();
    return;
  }
  if (head_.read_by_rule && !has_key_) {
    CollectBody();
    return;
  }
  if (!head_.read_by_rule) key_.Build(head_, rule_->key);
  has_key_ = true;
  cache::Store::Found found = worker_.store().Lookup(key_, head_, rule_->cache);
  const cache::Time now = worker_.WallNow();
  if (!found.response || !found.response->facts().IsFreshAt(now)) {
    // Another query may have been answered for this one too; it counts while it needs no validation.
    cache::StoredPtr other = worker_.store().LookupEquivalent(key_, head_, rule_->cache);
    if (other && ServesAtOnce(*other)) found = {std::move(other), false};
  }
  ActOn(found);
}

// Waits for the whole body of a read that has one: it is part of the key.
void Exchange::CollectBody() {
  const bool too_long =
      framing_.kind == http1::BodyKind::kLength && framing_.length > rule_->key.body_max;
  keyed_body_ = std::make_shared<KeyedBody>(worker_.metrics().keyed_body_bytes,
                                            rule_->key.body_max);
  if (too_long || !keyed_body_->Append(early_body_)) {
    GiveUpKeying();
    return;
  }
  early_body_.clear();
  if (upload_ended_) {
    OnBodyCollected();
    return;
  }
  state_ = State::kCollecting;
  // The body is wanted before anybody knows whether the origin will be asked.
  if (head_.fields.Has(FieldId::kExpect)) {
    cache::ResponseHead go_on;
    go_on.status = 100;
    go_on.reason = cache::ReasonPhrase(100);
    SendInterim(go_on);
    shared_head_->fields.Remove(FieldId::kExpect);
  }
  if (std::exchange(upload_paused_, false) && client_) client_->PauseBody(false);
}

void Exchange::OnBodyCollected() {
  if (!upload_trailers_.empty()) {
    GiveUpKeying();
    return;
  }
  shared_head_->fields.Remove(FieldId::kExpect);
  key_.Build(head_, rule_->key);
  key_.AddBody(head_, keyed_body_->Identify(head_, rule_->key.body_canonical_json));
  has_key_ = true;
  LookUp();
}

// The request goes on as it comes, neither looked up nor stored.
void Exchange::GiveUpKeying() {
  Add(worker_.metrics().bounds, Bound::kKeyedBody);
  early_body_.insert(0, keyed_body_->bytes());
  keyed_body_.reset();
  decision_.action = Action::kBypass;
  decision_.reason = Reason::kBodyNotKeyed;
  GoToOrigin();
}

void Exchange::ActOn(const cache::Store::Found& found) {
  stored_ = found.response;
  other_variants_ = found.other_variants;
  const cache::Time now = worker_.WallNow();
  const bool part_holds = !stored_ || !stored_->facts().partial || stored_->HoldsRangeOf(head_);
  decision_ = cache::Decide(head_, stored_ ? &stored_->facts() : nullptr, other_variants_, now,
                            rule_->cache, part_holds);
  if (!part_holds) part_ = std::exchange(stored_, nullptr);
  switch (decision_.action) {
    case Action::kServe:
    case Action::kServeStaleAndRefresh: {
      const bool fresh = stored_->facts().IsFreshAt(now);
      // Who had to look again has missed once already.
      if (!from_remote_ && restarts_ == 0) Add(worker_.metrics().l1_hits);
      outcome_ = fresh ? Outcome::kHit : Outcome::kStale;
      tier_ = from_remote_ ? "l2" : "l1";
      cache_status_.hit = true;
      const cache::Millis left = stored_->facts().lifetime - stored_->facts().AgeAt(now);
      // An equivalent URI's response is validated by requests for that URI alone.
      const bool early =
          decision_.reason == Reason::kFresh && decision_.may_store && !stored_->facts().partial &&
          stored_->key() == key_.text() &&
          (refresh_early_ || cache::RefreshesEarly(stored_->facts(), left, worker_.Random(),
                                                   rule_->cache));
      if (early || decision_.action == Action::kServeStaleAndRefresh) RefreshInBackground(early);
      SendStored(stored_);
      return;
    }
    case Action::kGatewayTimeout:
      // What the shared tier has is stored too (5.2.1.7).
      if (!asked_remote_ && worker_.remote() != nullptr && worker_.remote()->available()) {
        AskRemote();
        return;
      }
      outcome_ = Outcome::kSynthetic;
      SendProblem(504, "only-if-cached, and nothing suitable is stored", "only-if-cached");
      return;
    case Action::kBypass:
      GoToOrigin();
      return;
    case Action::kRevalidate:
    case Action::kFetch:
      break;
  }
  if (!asked_remote_ && restarts_ == 0) Add(worker_.metrics().l1_misses);
  cache_status_.forward = cache::ForwardFor(decision_.reason);
  // Only a GET for the whole response may lead others; ranges of a growing response are served to
  // followers, so a range joins where somebody fetches the whole.
  if (decision_.reason == Reason::kPreconditions) {
    GoToOrigin();
  } else if (head_.ReadsLikeGet() && decision_.may_store &&
             (!head_.fields.Has(FieldId::kRange) || stored_ || !LeadablePart().empty())) {
    BeginFill();
  } else if (!stored_ && !asked_remote_ && worker_.remote() != nullptr &&
             worker_.remote()->available()) {
    AskRemote();
  } else if (head_.ReadsLikeGet() && decision_.may_store) {
    BeginFill();
  } else {
    GoToOrigin();
  }
}

// What it found, so that it looks again if that is not what is stored now.
cache::PriorLookup Exchange::Prior() const {
  if (restarts_ >= kMaxRestarts) return {};
  return {.seen = part_ ? &part_ : &stored_};
}

void Exchange::BeginFill() {
  of_equivalent_ = false;
  const auto wake = [weak = weak_from_this(), loop = &worker_.loop()] {
    loop->Post([weak] {
      if (const auto self = weak.lock()) self->OnFillProgress();
    });
  };
  const bool range = head_.fields.Has(FieldId::kRange);
  if (!rule_->cache.coalesce || !decision_.may_collapse || (range && !stored_)) {
    if (rule_->cache.coalesce && decision_.may_follow) {
      auto begun = worker_.store().Follow(key_, head_, rule_->cache, wake, Prior());
      if (begun.role != cache::Store::Role::kAlone) {
        BeginOrFollow(std::move(begun));
        return;
      }
    }
    if (const std::string part = LeadablePart(); !part.empty()) {
      BeginOrFollow(worker_.store().BeginFill(key_, head_, rule_->cache, worker_.WallNow(), wake,
                                              part, Prior()));
      return;
    }
    cache::FillPermit permit;
    if (!range || stored_) permit = worker_.store().TryLead(key_, head_, rule_->cache, Prior());
    if (permit) {
      Lead(std::move(permit));
    } else {
      GoToOrigin();
    }
    return;
  }
  if (!stored_ && follow_equivalents_) {
    auto begun = worker_.store().FollowEquivalent(key_, head_, rule_->cache, wake);
    if (begun.role == cache::Store::Role::kFollower) {
      of_equivalent_ = true;
      Follow(std::move(begun.reader));
      return;
    }
  }
  BeginOrFollow(worker_.store().BeginFill(key_, head_, rule_->cache, worker_.WallNow(), wake, {},
                                          Prior()));
}

// The one range that is asked for, in a form to compare with others', if a fetch of just this may be
// shared and kept. Empty if not.
std::string Exchange::LeadablePart() const {
  static const cache::FieldSet kConditions(FieldId::kIfNoneMatch, FieldId::kIfModifiedSince);
  const cache::HeaderMap& fields = head_.fields;
  if (stored_ || fields.Count(FieldId::kRange) != 1 || fields.HasAny(kConditions) ||
      !rule_->cache.keep_parts || !rule_->cache.coalesce || !decision_.may_follow) {
    return {};
  }
  std::string part(*fields.First(FieldId::kRange));
  if (part.find(',') != std::string::npos) return {};
  if (const auto condition = fields.Joined(FieldId::kIfRange)) {
    cache::AppendAll(part, {"\n", *condition});
  }
  return part;
}

void Exchange::BeginOrFollow(cache::Store::Begun begun) {
  switch (begun.role) {
    case cache::Store::Role::kLeader:
      Lead(std::move(begun.permit));
      return;
    case cache::Store::Role::kFollower:
      Follow(std::move(begun.reader));
      return;
    case cache::Store::Role::kAlone:
      if (decision_.reason == Reason::kNoStoredResponse) {
        decision_.reason = Reason::kKnownUncacheable;
      }
      GoToOrigin();
      return;
    case cache::Store::Role::kStored:
      LookUpAgain();
      return;
  }
}

void Exchange::Follow(cache::FillReader reader) {
  Add(worker_.metrics().fills_followed);
  followed_ = true;
  reader_ = std::move(reader);
  state_ = State::kWaitingForFill;
  if (rule_->cache.coalesce_wait.count() > 0) {
    worker_.loop().SetTimer(wait_timer_, rule_->cache.coalesce_wait.count());
  }
  PumpReader();
}

std::shared_ptr<FillTask> Exchange::MakeTask(cache::FillPermit permit, bool background,
                                             bool early) {
  FillTask::Job job;
  job.snapshot = snapshot_;
  job.rule = rule_;
  job.pool = pool_;
  job.head = shared_head_;
  job.target = head_.target;
  if (!rule_->rewrite.empty()) {
    rules::Captures captures;
    snapshot_->rules.Match(head_, &captures);
    job.target = rules::RewriteTarget(*rule_, captures, head_);
  }
  job.key = key_;
  job.body = keyed_body_;
  job.client = info_;
  job.stored = stored_;
  job.other_variants = other_variants_;
  job.part = permit.is_part();
  job.prefix = part_;
  // A range that takes over a fetch of the whole goes on with that.
  const bool heir = !stored_ && !job.part && head_.fields.Has(FieldId::kRange);
  job.permit = std::move(permit);
  job.background = background;
  job.early = early;
  // A part is not what others of the fleet wait for.
  job.takes_turns =
      rule_->cache.coalesce && !job.part && (background || decision_.may_collapse);
  if (!background) job.leader = weak_from_this();
  if (background || heir) {
    // It is nobody's own request: range and conditions are the stored response's.
    auto head = std::make_shared<cache::RequestHead>(head_);
    head->fields.Remove(FieldId::kRange);
    head->fields.Remove(FieldId::kIfRange);
    head->fields.Remove(FieldId::kIfNoneMatch);
    head->fields.Remove(FieldId::kIfModifiedSince);
    if (head->method == Method::kHead) {
      head->method = Method::kGet;
      head->method_text = "GET";
    }
    job.head = std::move(head);
  }
  return std::make_shared<FillTask>(worker_, std::move(job));
}

void Exchange::RefreshInBackground(bool early) {
  cache::FillPermit permit = worker_.store().TryLead(key_, head_, rule_->cache, {.seen = &stored_});
  if (!permit) return;
  Add(worker_.metrics().refreshes);
  if (early) Add(worker_.metrics().early_refreshes);
  const auto task = MakeTask(std::move(permit), /*background=*/true, early);
  worker_.Keep(task);
  task->Start();
}

void Exchange::Lead(cache::FillPermit permit) {
  state_ = State::kWaitingForFill;
  followed_ = false;
  reader_ = permit.NewReader(nullptr);
  task_ = MakeTask(std::move(permit), /*background=*/false);
  at_origin_ = true;
  // Kept by the worker from its start on; refused or left before that, it goes, and its permit
  // passes to a follower.
  admitted_ = [this] {
    worker_.Keep(task_);
    task_->Start();
  };
  Admit();
}

void Exchange::OnFillWaitOver() {
  if (state_ != State::kWaitingForFill || !followed_) return;
  const auto self = shared_from_this();
  Add(worker_.metrics().bounds, Bound::kFillWait);
  reader_ = {};
  GoToOrigin();
}

void Exchange::OnFillProgress() {
  const auto self = shared_from_this();
  if (reader_) PumpReader();
}

void Exchange::OnClientGone() {
  const auto self = shared_from_this();
  if (!logged_) {
    if (state_ != State::kTunnelling) outcome_ = Outcome::kAborted;
    Log();
  }
  client_.reset();
  const bool read_by_others = tee_ && tee_.has_readers() && fetch_;
  if (read_by_others) {
    lingering_ = self;
    fetch_->Resume();
  } else {
    tee_ = {};
  }
  if (state_ == State::kDone) return;
  state_ = State::kDone;
  if (fetch_ && !read_by_others) fetch_->Cancel();
  tunnel_.reset();
  limits_.Reset();
  remote_pending_.reset();
  wait_timer_.Cancel();
  reader_ = {};
  if (task_) std::exchange(task_, nullptr)->OnLeaderGone();
}

void Exchange::OnRequestBroken(const http1::ParseError& error) {
  const auto self = shared_from_this();
  if (!client_) return;
  if (fetch_) fetch_->Cancel();
  client_->ForbidKeepAlive();
  if (head_sent_) {
    Cut(std::string(error.message));
    return;
  }
  outcome_ = Outcome::kRefused;
  SendProblem(error.status, error.message, error.status == 413 ? "body-too-large" : "bad-request");
}

void FillRequestRecord(AccessRecord& record, const cache::RequestHead& head,
                       std::string_view client_ip, const rules::Listener& listener) {
  record.client = client_ip;
  record.listener = listener.name;
  record.method = head.method_text;
  record.scheme = head.scheme;
  record.host = head.authority;
  record.target = head.target;
  record.protocol = head.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
  if (head.fields.Has(FieldId::kUserAgent)) {
    record.user_agent = *head.fields.First(FieldId::kUserAgent);
  }
}

}  // namespace satchel::proxy
