// The shortest ways: fresh stored responses, sent without an exchange.

#include <algorithm>
#include <array>
#include <utility>

#include "cache/early_refresh.h"
#include "proxy/client_connection.h"
#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/limit_admission.h"
#include "proxy/limit_fields.h"
#include "proxy/responder.h"
#include "proxy/worker.h"

namespace satchel::proxy {

// What is sent, and what the log says of it. Looks at what its maker keeps.
struct HitToSend {
  const cache::RequestHead& head;
  const rules::Rule& rule;
  const cache::StoredPtr& stored;
  cache::Reason reason;
  std::string_view key_text;
  uint64_t key_hash;
  int64_t started_ns;
  const LimitRequest* limits = nullptr;  // null: none were asked
  std::string_view client_ip = {};       // empty: the peer's
};

namespace {

constexpr size_t kMostPieces = 16;  // of a body that goes out in one call

// Whether the whole body goes out in one call: else the exchange streams it.
bool FitsOneCall(const cache::StoredResponse& stored) {
  std::array<iovec, kMostPieces> pieces;
  const uint64_t size = stored.body().size();
  uint64_t gathered = 0;
  const size_t used = size > 0 ? stored.body().Gather(0, size, pieces) : 0;
  for (size_t i = 0; i < used; ++i) gathered += pieces[i].iov_len;
  return gathered == size;
}

}  // namespace

// A plain GET or HEAD that a fresh stored response answers, with nothing to edit: one lookup, one
// write. Where limits apply the limiter is asked as well, and the answer waits for it.
// `refresh_early`: it would be one, but an exchange is to begin a refresh, too.
bool ClientConnection::TryHit(cache::RequestHead& head, const SnapshotPtr& snapshot,
                              const rules::Rule& rule, bool& refresh_early) {
  if (!rule.cache.enabled || !rule.response_headers.empty() || rule.client_cache_control ||
      !rule.upgrade.empty() || !cache::IsPlainLookup(head)) {
    return false;
  }
  const int64_t start_ns = net::EventLoop::ReadClockNs();
  cache::CacheKey& key = worker_.scratch_key();
  key.Build(head, rule.key);
  const cache::Store::Found found = worker_.store().Lookup(key, head, rule.cache);
  if (!found.response) return false;
  const cache::StoredResponse& stored = *found.response;
  stored.body().Prefetch();  // while the head is written
  const cache::Time now = worker_.WallNow();
  const cache::Decision decision =
      cache::Decide(head, &stored.facts(), found.other_variants, now, rule.cache);
  if (decision.action != cache::Action::kServe) return false;
  const cache::Millis left = stored.facts().lifetime - stored.facts().AgeAt(now);
  if (cache::NearsExpiry(stored.facts(), left, rule.cache) &&
      cache::RefreshesEarly(stored.facts(), left, worker_.Random(), rule.cache)) {
    refresh_early = true;
    return false;
  }
  if (snapshot->rules.policies().empty()) {
    return SendHit({head, rule, found.response, decision.reason, key.text(), key.hash(), start_ns});
  }
  if (!FitsOneCall(stored)) return false;
  std::unique_ptr<LimitedHit> hit = worker_.limited_hits().Take();
  hit->client_ip =
      info_.peer_trusted ? EffectiveClient(head, info_.peer_ip, *listener_) : info_.peer_ip;
  const Admission admission =
      PrepareLimits(*snapshot, rule, head, hit->client_ip, /*at_origin=*/false,
                    worker_.limits().kill_switch, hit->limits);
  switch (admission.outcome) {
    case Admission::Outcome::kFree: {
      const bool sent =
          SendHit({head, rule, found.response, decision.reason, key.text(), key.hash(), start_ns});
      worker_.limited_hits().Return(std::move(hit));
      return sent;
    }
    case Admission::Outcome::kUnauthorized:
    case Admission::Outcome::kForbidden:
      worker_.limited_hits().Return(std::move(hit));
      return false;  // the exchange says so
    case Admission::Outcome::kAsk:
      break;
  }
  hit->snapshot = snapshot;
  hit->rule = &rule;
  hit->stored = found.response;
  hit->reason = decision.reason;
  hit->key_text = key.text();
  hit->key_hash = key.hash();
  hit->started_ns = start_ns;
  std::swap(hit->head, head);
  AskLimits(std::move(hit), head);
  return true;
}

void ClientConnection::AskLimits(std::unique_ptr<LimitedHit> hit, cache::RequestHead& head) {
  limited_hit_ = std::move(hit);
  head.Clear();
  if (limited_hit_->limits.Begin(worker_.limiter(), [this] {
        const auto self = shared_from_this();
        OnLimitsTold();
        if (!in_process_) UpdateWatch();
      })) {
    OnLimitsTold();
  }
}

void ClientConnection::OnLimitsTold() {
  std::unique_ptr<LimitedHit> hit = std::move(limited_hit_);
  WorkerMetrics& metrics = worker_.metrics();
  metrics.limit_duration.Observe(
      static_cast<uint64_t>((net::EventLoop::ReadClockNs() - hit->started_ns) / 1000));
  for (const LimitVerdict& verdict : hit->limits.verdicts()) {
    Add(metrics.limits, OutcomeOf(verdict));
  }
  if (hit->limits.refusal() != nullptr) {
    RefuseLimited(*hit);
  } else {
    SendHit({hit->head, *hit->rule, hit->stored, hit->reason, hit->key_text, hit->key_hash,
             hit->started_ns, &hit->limits, hit->client_ip});
  }
  worker_.limited_hits().Return(std::move(hit));
}

bool ClientConnection::SendHit(const HitToSend& hit) {
  const cache::StoredResponse& stored = *hit.stored;
  const cache::Time now = worker_.WallNow();
  ReplyContext context;
  context.now = now;
  context.cache_status.hit = true;
  context.cache_status.ttl = stored.facts().lifetime - stored.facts().AgeAt(now);
  context.cache_status.key = hit.key_text;
  context.cache_status.tier = "l1";
  context.cache_status.rule = hit.rule.shown_name();
  context.cache_status.reason = hit.reason;
  context.keep_alive = keep_alive_;
  context.client_minor_version = hit.head.minor_version;
  std::string& tail = worker_.scratch_text();
  tail.clear();
  if (hit.limits != nullptr) AppendLimitFields(hit.limits->verdicts(), now, tail);
  AppendHitTail(tail, stored.facts(), context);

  std::array<iovec, kMostPieces + 2> pieces;
  pieces[0] = net::Slice(stored.header_block());
  pieces[1] = net::Slice(tail);
  size_t count = 2;
  const uint64_t body_size = hit.head.method == cache::Method::kHead ? 0 : stored.body().size();
  uint64_t gathered = 0;
  if (body_size > 0) {
    const size_t used = stored.body().Gather(0, body_size, std::span(pieces).subspan(2));
    for (size_t i = 0; i < used; ++i) gathered += pieces[2 + i].iov_len;
    count += used;
    if (gathered < body_size) return false;  // many segments: the exchange streams them
  }
  const uint64_t head_bytes = stored.header_block().size() + tail.size();
  Add(worker_.metrics().l1_hits);
  if (worker_.PopularityDue()) worker_.NotePopular(&hit.rule, hit.head, &stored);

  // What the socket does not take is kept by reference; only the tail is ours to copy.
  net::FilePlace file;
  if (cache::BodyFile::IsWorthOne(body_size)) file = FileOf(hit.stored, 0);
  const net::IoResult written =
      stream_.Write({pieces.data(), count}, /*last=*/!keep_alive_, file);
  if (written.status == net::IoStatus::kError) {
    OnGone();
    return true;
  }
  const uint64_t total = head_bytes + body_size;
  if (written.bytes < total) {
    size_t skip = written.bytes;
    for (size_t i = 0; i < count; ++i) {
      const size_t n = std::min(skip, pieces[i].iov_len);
      skip -= n;
      if (n == pieces[i].iov_len) continue;
      const iovec rest{static_cast<char*>(pieces[i].iov_base) + n, pieces[i].iov_len - n};
      outbox_.Queue(rest, i == 1 ? nullptr : std::shared_ptr<const void>(hit.stored),
                    i > 1 ? file.Behind(n) : net::FilePlace());
    }
    deadline_.SetAfter(listener_->write_timeout.count());
  }
  bytes_out_ = total;
  Add(worker_.metrics().client_bytes_out, total);
  LogHit(hit, now, total);
  response_done_ = true;
  if (outbox_.empty()) CompleteResponse();
  return true;
}

net::FilePlace ClientConnection::FileOf(const cache::StoredPtr& stored, uint64_t offset) {
  const cache::Body& body = stored->body();
  if (stream_.ssl() != nullptr) return {};
  if (body.file() >= 0) return {body.file(), offset};
  if (cache::BodyFile::IsWorthOne(body.size()) && worker_.Random() < cache::BodyFile::kShare) {
    worker_.store().LayInFile(stored);
  }
  return {};
}

void ClientConnection::LogHit(const HitToSend& hit, cache::Time now, uint64_t bytes) {
  const cache::ResponseFacts& facts = hit.stored->facts();
  const int64_t duration_us = (net::EventLoop::ReadClockNs() - hit.started_ns) / 1000;
  worker_.metrics().CountRequest(Outcome::kHit, hit.reason, facts.status,
                                 static_cast<uint64_t>(duration_us));
  if (!worker_.access_log().enabled()) return;
  AccessRecord record;
  FillRequestRecord(record, hit.head, info_.peer_ip, *listener_);
  record.time = now;
  record.status = facts.status;
  record.bytes_in = bytes_in_;
  record.bytes_out = bytes;
  record.duration_us = duration_us;
  record.rule = hit.rule.name;
  record.outcome = Outcome::kHit;
  record.reason = hit.reason;
  record.tier = "l1";
  record.age_s = facts.AgeAt(now).count() / 1000;
  record.key_hash = hit.key_hash;
  if (hit.limits != nullptr && !hit.limits->verdicts().empty()) {
    const LimitVerdict& verdict = hit.limits->verdicts().back();
    record.limit_policy = verdict.policy->name;
    record.limit = OutcomeOf(verdict);
    record.limit_identity = hit.limits->checks()[hit.limits->verdicts().size() - 1].id_text();
  }
  std::string client;  // what the record looks at until it is written
  if (!hit.client_ip.empty()) {
    record.client = hit.client_ip;
  } else if (info_.peer_trusted) {
    client = EffectiveClient(hit.head, info_.peer_ip, *listener_);
    record.client = client;
  }
  worker_.access_log().Write(record);
}

void ClientConnection::RefuseLimited(LimitedHit& hit) {
  const LimitVerdict& verdict = *hit.limits.refusal();
  const LimitAnswer answer = RefusalOf(verdict, worker_.Random());
  ReplyContext context;
  context.now = worker_.WallNow();
  context.keep_alive = keep_alive_;
  context.client_minor_version = hit.head.minor_version;
  std::string fields;
  AppendLimitFields(hit.limits.verdicts(), context.now, fields);
  context.extra_fields = fields;
  Problem problem;
  problem.status = answer.status;
  problem.body = answer.body;
  http1::AppendField(problem.fields, "Retry-After", answer.retry_after);
  const std::string reply = BuildProblem(problem, context, hit.head.method == cache::Method::kHead);
  const int64_t duration_us = (net::EventLoop::ReadClockNs() - hit.started_ns) / 1000;
  worker_.metrics().CountRequest(Outcome::kLimited, cache::Reason::kNone, answer.status,
                                 static_cast<uint64_t>(duration_us));
  if (worker_.access_log().enabled()) {
    AccessRecord record;
    FillRequestRecord(record, hit.head, hit.client_ip, *listener_);
    record.time = context.now;
    record.status = answer.status;
    record.bytes_in = bytes_in_;
    record.bytes_out = reply.size();
    record.duration_us = duration_us;
    record.rule = hit.rule->name;
    record.outcome = Outcome::kLimited;
    record.limit_policy = verdict.policy->name;
    record.limit = OutcomeOf(verdict);
    for (const LimitCheck& check : hit.limits.checks()) {
      if (check.policy == verdict.policy) record.limit_identity = check.id_text();
    }
    worker_.access_log().Write(record);
  }
  response_done_ = true;
  const iovec piece = net::Slice(reply);
  if (!Send({&piece, 1}, nullptr)) return;
  if (outbox_.empty()) CompleteResponse();
}

}  // namespace satchel::proxy
