#include <algorithm>
#include <utility>

#include "cache/storability.h"
#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/purge_targets.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

using cache::FieldId;
using cache::Method;
using cache::Reason;

// Request body kept while the exchange waits for a verdict or a connection.
constexpr size_t kMaxEarlyBody = 256 * 1024;
// Unsent request body beyond which the client is not read.
constexpr size_t kUploadHigh = 256 * 1024;

}  // namespace

void Exchange::GoToOrigin() {
  state_ = State::kFetching;
  wait_timer_.Cancel();
  at_origin_ = true;
  admitted_ = [this] { StartPass(); };
  Admit();
}

void Exchange::StartPass() {
  state_ = State::kFetching;
  asked_sequence_ = worker_.store().purges().head();
  followed_ = false;
  if (decision_.action == cache::Action::kBypass) outcome_ = Outcome::kBypass;
  cache_status_.forward = cache::ForwardFor(decision_.reason);
  const bool upgrade = decision_.reason == Reason::kUpgrade;
  std::string target = head_.target;
  if (!rule_->rewrite.empty()) {
    rules::Captures captures;
    snapshot_->rules.Match(head_, &captures);
    target = rules::RewriteTarget(*rule_, captures, head_);
  }
  FetchRequest request;
  request.method = head_.method_text;
  http1::Framing framing = framing_;
  if (keyed_body_) {
    framing = {http1::BodyKind::kLength, keyed_body_->bytes().size()};
    request.whole_body = keyed_body_->bytes();
    request.idempotent = true;
  } else {
    request.body = framing.kind;
    request.idempotent =
        cache::IsIdempotent(head_.method) && framing.kind == http1::BodyKind::kNone;
  }
  request.upgrade = upgrade;
  request.head = BuildUpstreamHead(head_, target, *rule_, info_, framing, upgrade);
  fetch_ = std::make_shared<Fetch>(worker_, pool_, rule_->timeouts, std::move(request), this);
  fetch_->Start();
  if (!early_body_.empty()) fetch_->SendBody(std::exchange(early_body_, {}));
  if (upload_ended_ && framing_.kind != http1::BodyKind::kNone && !keyed_body_) {
    fetch_->EndBody(upload_trailers_);
  }
  if (upload_paused_ && fetch_->unsent_upload() < kUploadHigh) {
    upload_paused_ = false;
    client_->PauseBody(false);
  }
}

void Exchange::TakeOver(std::shared_ptr<Fetch> fetch, cache::ResponseHead& head,
                        const http1::Framing& framing, Reason not_stored, uint64_t asked_sequence) {
  const auto self = shared_from_this();
  asked_sequence_ = asked_sequence;
  reader_ = {};
  // What the task found in the shared tier; an error is not to take its place.
  if (!stored_ && task_) stored_ = task_->job().stored;
  task_.reset();  // its part is done; what the answer carries goes out with the answer
  state_ = State::kFetching;
  fetch_ = std::move(fetch);
  if (!client_) {
    fetch_->Cancel();
    return;
  }
  fetch_->SetHandler(this);
  decision_.reason = not_stored;
  OnHead(head, framing);
}

void Exchange::FetchAlone() {
  const auto self = shared_from_this();
  reader_ = {};
  task_.reset();
  if (!client_) return;
  decision_.reason = Reason::kKnownUncacheable;
  StartPass();
}

// --- the request body ---

void Exchange::OnRequestData(std::string_view data) {
  const auto self = shared_from_this();
  if (state_ == State::kDone) return;
  if (state_ == State::kCollecting) {
    if (keyed_body_->Append(data)) return;
    early_body_.assign(data);
    GiveUpKeying();
    return;
  }
  if (!fetch_) {
    early_body_.append(data);
    if (early_body_.size() >= kMaxEarlyBody && client_) {
      upload_paused_ = true;
      client_->PauseBody(true);
    }
    return;
  }
  fetch_->SendBody(data);
  if (fetch_->unsent_upload() >= kUploadHigh && client_) {
    upload_paused_ = true;
    client_->PauseBody(true);
  }
}

void Exchange::OnRequestEnd(const cache::HeaderMap& trailers) {
  const auto self = shared_from_this();
  upload_ended_ = true;
  cache::HeaderMap kept = trailers;
  cache::RemoveForbiddenTrailers(kept);
  if (fetch_) {
    fetch_->EndBody(kept);
  } else {
    upload_trailers_ = std::move(kept);
  }
  if (state_ == State::kCollecting) OnBodyCollected();
}

void Exchange::OnUploadDrained() {
  if (!std::exchange(upload_paused_, false) || !client_) return;
  client_->PauseBody(false);
}

// --- the answer ---

void Exchange::OnInterim(cache::ResponseHead& head) {
  const auto self = shared_from_this();
  SendInterim(head);
}

void Exchange::OnHead(cache::ResponseHead& head, const http1::Framing& framing) {
  const auto self = shared_from_this();
  upstream_status_ = head.status;
  cache_status_.forward_status = head.status;
  if (has_key_ && head_.method == Method::kHead) UpdateFromHead(head);
  if (head.status >= 500 && FallBackOnStale(/*reached=*/true, head.status)) {
    fetch_->Cancel();
    return;
  }
  InvalidateThenSend(head, framing);
}

// What is stored may stand in for an answer that did not come, or was an error (RFC 9111 4.2.4,
// RFC 5861 4).
bool Exchange::FallBackOnStale(bool reached, uint16_t status) {
  if (stored_) stored_ = worker_.store().purges().Check(stored_);
  if (!stored_ || !has_key_) return false;
  const Reason reason = cache::MayServeOnError(head_, stored_->facts(), worker_.WallNow(), reached,
                                               status, rule_->cache);
  if (reason == Reason::kNone) return false;
  decision_.reason = reason;
  outcome_ = Outcome::kStale;
  tier_ = from_remote_ ? "l2" : "l1";
  SendStored(stored_);
  return true;
}

void Exchange::InvalidateThenSend(cache::ResponseHead& head, const http1::Framing& framing) {
  PurgeOrder order;
  OwnPurges own_purges = PurgedBy(snapshot_->rules, *rule_, head_, head);
  order.records = std::move(own_purges.records);
  if (order.records.empty()) {
    SendPassedHead(head, framing);
    return;
  }
  // The URL's own responses need not wait for somebody to meet them, and what was learned of them
  // may not hold any more.
  const cache::RequestHead get = GetOf({head_.scheme, head_.authority, head_.target});
  const rules::MatchResult match = snapshot_->rules.Match(get);
  if (match.status == rules::MatchResult::Status::kMatched) {
    cache::CacheKey key;
    key.Build(get, match.rule->key);
    worker_.store().Invalidate(key);
    if (worker_.remote() != nullptr) worker_.remote()->Remove(key, nullptr);
    for (const std::string& equivalent : worker_.store().EquivalentKeys(key)) {
      order.records.push_back(cache::PurgeRecord::Url(cache::UrlOfKey(equivalent), false));
    }
  }
  purging_since_ = worker_.store().purges().head();
  unpurged_ = StandsSince(asked_sequence_);
  PurgeAnswer answer;
  if (worker_.purger().PurgeHere(order, &answer)) {
    OwnPurge(answer);
    worker_.purger().Refresh(std::move(own_purges.refresh), answer.sequence);
    SendPassedHead(head, framing);
    return;
  }
  // The client must not hear of its change before nobody can read what was there before.
  passed_head_ = head;
  passed_framing_ = framing;
  fetch_->Pause();
  worker_.purger().PurgeFrom(worker_.loop(), std::move(order),
                             [weak = weak_from_this(), purger = &worker_.purger(),
                              refresh = std::move(own_purges.refresh)](const PurgeAnswer& done) {
                               purger->Refresh(refresh, done.sequence);
                               if (const auto self = weak.lock()) self->OnPurged(done);
                             });
}

// Whether no purge since then concerns what a GET of this URI would be answered with, whatever its
// tags.
bool Exchange::StandsSince(uint64_t sequence) const {
  const cache::Purges& purges = worker_.store().purges();
  if (sequence == purges.head()) return true;
  cache::CacheKey key;
  key.Build(GetOf({head_.scheme, head_.authority, head_.target}), rule_->key);
  const cache::TagId tags[] = {cache::kAnyTag};
  return purges.Judge({key.text(), tags, rule_->cache.rule}, sequence).fate == cache::Fate::kValid;
}

// What this exchange purged itself does not concern its own answer, unless somebody else purged
// something just before it.
void Exchange::OwnPurge(const PurgeAnswer& answer) {
  if (unpurged_ && answer.before == purging_since_) asked_sequence_ = answer.sequence;
}

void Exchange::OnPurged(const PurgeAnswer& answer) {
  const auto self = shared_from_this();
  if (!client_) return;
  OwnPurge(answer);
  SendPassedHead(passed_head_, passed_framing_);
  if (fetch_) fetch_->Resume();
}

void Exchange::SendPassedHead(cache::ResponseHead& head, const http1::Framing& framing) {
  if (!client_) return;
  state_ = State::kSending;
  BeginTee(head, framing);
  SettleLimits(head.fields);
  const bool no_content = head.status == 204 || head.status == 304;
  pass_body_ = HasBody() && !no_content;
  std::optional<uint64_t> length;
  if (framing.kind == http1::BodyKind::kLength) length = framing.length;
  if (framing.kind == http1::BodyKind::kNone) length = 0;
  cache_status_.reason = decision_.reason;
  if (pass_body_ && !length && head_.minor_version == 0) client_->ForbidKeepAlive();
  const Reply reply = BuildPassedReply(head, pass_body_, length, Context());
  status_ = reply.status;
  chunked_ = reply.chunked;
  head_sent_ = true;
  if (pass_body_ && length && *length > 0) {
    // The body's first piece is usually here already: one write for both.
    pending_head_ = std::move(reply.head);
    worker_.loop().AtTurnEnd([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->FlushHead();
    });
    return;
  }
  const iovec piece = net::Slice(reply.head);
  client_->Send({&piece, 1}, nullptr);
}

void Exchange::FlushHead() {
  if (!client_ || pending_head_.empty()) return;
  const std::string head = std::exchange(pending_head_, {});
  const iovec piece = net::Slice(head);
  client_->Send({&piece, 1}, nullptr);
}

void Exchange::OnData(std::string_view data) {
  const auto self = shared_from_this();
  FeedTee(data);
  if (!client_ || !pass_body_) return;
  char prefix[24];
  iovec pieces[3];
  size_t count = 0;
  const std::string head = std::exchange(pending_head_, {});
  if (!head.empty()) pieces[count++] = net::Slice(head);
  if (chunked_) {
    pieces[count++] =
        net::Slice(http1::ChunkPrefix(prefix, data.size(), std::exchange(first_chunk_, false)));
  }
  pieces[count++] = net::Slice(data);
  if (!client_->Send({pieces, count}, nullptr)) {
    fetch_->Cancel();
    return;
  }
  if (client_->unsent() > 0) {
    Add(worker_.metrics().bounds, Bound::kClientBuffer);
    fetch_->Pause();
  }
}

void Exchange::OnEnd(cache::HeaderMap& trailers) {
  const auto self = shared_from_this();
  lingering_.reset();
  if (tee_) FinishTee();
  if (!client_) return;
  FlushHead();
  if (chunked_ && pass_body_ && client_) {
    std::string last = first_chunk_ ? "0\r\n" : "\r\n0\r\n";
    cache::RemoveForbiddenTrailers(trailers);
    http1::AppendFields(last, trailers);
    last.append("\r\n");
    const iovec piece = net::Slice(last);
    client_->Send({&piece, 1}, nullptr);
  }
  Finish();
}

void Exchange::OnFetchError(const FetchError& error) {
  const auto self = shared_from_this();
  tee_ = {};
  lingering_.reset();
  if (!client_) return;
  error_ = error.message;
  if (head_sent_) {
    FlushHead();
    Cut(error.message);
    return;
  }
  if (!error.head_received && FallBackOnStale(/*reached=*/false, error.status)) return;
  outcome_ = Outcome::kError;
  SendProblem(error.status, error.message, UpstreamErrorWord(error.kind));
}

void Exchange::OnUpgraded(cache::ResponseHead& head, std::unique_ptr<UpstreamConnection> connection,
                          std::string_view early_bytes) {
  const auto self = shared_from_this();
  if (!client_) return;
  state_ = State::kTunnelling;
  status_ = 101;
  upstream_status_ = 101;
  const std::string protocol(head.fields.First(FieldId::kUpgrade).value_or(""));
  cache::RemoveHopByHop(head.fields);
  std::string text;
  http1::AppendStatusLine(text, 101, head.reason);
  http1::AppendFields(text, head.fields);
  http1::AppendField(text, "Connection", "upgrade");
  http1::AppendField(text, "Upgrade", protocol);
  text.append("\r\n");
  head_sent_ = true;
  const iovec piece = net::Slice(text);
  if (!client_->Send({&piece, 1}, nullptr)) return;
  tunnel_ = std::make_unique<Tunnel>(worker_, client_, std::move(connection),
                                     rule_->timeouts.idle.count(), [weak = weak_from_this()] {
                                       const auto exchange = weak.lock();
                                       if (!exchange || !exchange->client_) return;
                                       exchange->Log();
                                       exchange->state_ = State::kDone;
                                       const auto client = exchange->client_;
                                       client->Close();
                                     });
  tunnel_->Start(early_bytes);
}

void Exchange::OnTunnelData(std::string_view data) {
  const auto self = shared_from_this();
  if (tunnel_) tunnel_->OnClientData(data);
}

void Exchange::OnClientEof() {
  const auto self = shared_from_this();
  if (tunnel_) tunnel_->OnClientEof();
}

}  // namespace satchel::proxy
