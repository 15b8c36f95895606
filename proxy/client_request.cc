// What a connection does with a request: from its head to an exchange, or straight to the answer.

#include "proxy/client_connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cache/early_refresh.h"
#include "proxy/exchange.h"
#include "proxy/responder.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

// Rest of a request body that is read and dropped to keep the connection.
constexpr uint64_t kMaxDiscard = 256 * 1024;

}  // namespace

size_t ClientConnection::ReadHead(std::string_view input) {
  cache::RequestHead& head = worker_.scratch_head();
  head.Clear();
  const http1::HeadLimits limits{listener_->max_header, listener_->max_header,
                                 listener_->max_headers};
  const bool first_bytes = scanned_ == 0;
  const http1::HeadResult parsed = worker_.parser().ParseRequest(input, scanned_, limits, head);
  if (!parsed) {
    Add(worker_.metrics().parse_errors);
    if (parsed.error().status == 414) Add(worker_.metrics().bounds, Bound::kStartLine);
    if (parsed.error().status == 431) Add(worker_.metrics().bounds, Bound::kHeaderBytes);
    RefuseRequest(parsed.error(), nullptr);
    return 0;
  }
  if (*parsed == 0) {
    if (first_bytes) deadline_.SetAfter(listener_->header_timeout.count());
    if (scanned_ == 0) scanned_ = 1;
    return 0;
  }
  scanned_ = 0;
  deadline_.Clear();
  HandleHead(head);
  return state_ == State::kClosed ? 0 : *parsed;
}

size_t ClientConnection::ReadBody(std::string_view input) {
  if (!body_ || body_->done() || body_paused_) return 0;
  const auto step = body_->Next(input);
  if (!step) {
    Add(worker_.metrics().parse_errors);
    if (exchange_) {
      exchange_->OnRequestBroken(step.error());
    } else {
      Close();
    }
    return 0;
  }
  body_bytes_ += step->data.size();
  const bool discarding = state_ == State::kDiscarding;
  const uint64_t limit = discarding ? kMaxDiscard : listener_->max_body;
  if (limit != 0 && body_bytes_ > limit) {
    if (discarding || !exchange_) {
      CloseGracefully();
    } else {
      Add(worker_.metrics().bounds, Bound::kRequestBody);
      exchange_->OnRequestBroken({413, "the request body is too large"});
    }
    return 0;
  }
  const bool done = body_->done();
  if (discarding) {
    if (done) {
      body_.reset();
      CompleteResponse();
    }
    return step->used;
  }
  const auto exchange = exchange_;
  if (exchange && !step->data.empty()) exchange->OnRequestData(step->data);
  if (exchange && done && exchange == exchange_) exchange->OnRequestEnd(body_->trailers());
  return state_ == State::kClosed ? 0 : step->used;
}

void ClientConnection::HandleHead(cache::RequestHead& head) {
  const auto framing = http1::FrameRequest(head);
  if (!framing) {
    Add(worker_.metrics().parse_errors);
    RefuseRequest(framing.error(), &head);
    return;
  }
  if (auto filtered = FilterRequest(head, *framing, info_.tls, worker_.authority_cache());
      !filtered) {
    RefuseRequest(filtered.error(), &head);
    return;
  }
  if (listener_->max_body != 0 && framing->kind == http1::BodyKind::kLength &&
      framing->length > listener_->max_body) {
    Add(worker_.metrics().bounds, Bound::kRequestBody);
    RefuseRequest({413, "the request body is too large"}, &head);
    return;
  }
  const SnapshotPtr& snapshot = worker_.snapshot();
  const rules::MatchResult match = snapshot->rules.Match(head);
  if (match.status == rules::MatchResult::Status::kBadPath) {
    RefuseRequest({400, "invalid percent escape in the path"}, &head);
    return;
  }
  state_ = State::kBusy;
  response_done_ = false;
  keep_alive_ = framing->keep_alive && !worker_.draining() && !eof_;
  body_bytes_ = 0;
  expects_continue_ = head.fields.Has(cache::FieldId::kExpect);
  if (framing->kind != http1::BodyKind::kNone) {
    body_ = std::make_unique<http1::BodyDecoder>();
    body_->Start(*framing);
  }
  bool refresh_early = false;
  if (match.status == rules::MatchResult::Status::kMatched &&
      framing->kind == http1::BodyKind::kNone &&
      TryHit(head, snapshot, *match.rule, refresh_early)) {
    return;
  }
  const auto exchange = Exchange::Create(worker_, shared_from_this(), snapshot, match.rule,
                                         std::move(head), *framing);
  exchange_ = exchange;
  if (refresh_early) exchange->RefreshEarly();
  exchange->Start();
}

// The shortest way: a plain GET or HEAD that a fresh stored response answers, with no limit to ask
// and nothing to edit. One lookup, one write, no exchange. `refresh_early`: it would be one, but an
// exchange is to begin a refresh, too.
bool ClientConnection::TryHit(cache::RequestHead& head, const SnapshotPtr& snapshot,
                              const rules::Rule& rule, bool& refresh_early) {
  if (!snapshot->rules.policies().empty() || !rule.cache.enabled || !rule.response_headers.empty() ||
      rule.client_cache_control || !rule.upgrade.empty() || !cache::IsPlainLookup(head)) {
    return false;
  }
  const int64_t start_ns = net::EventLoop::ReadClockNs();
  cache::CacheKey& key = worker_.scratch_key();
  key.Build(head, rule.key);
  const cache::Store::Found found = worker_.store().Lookup(key, head, rule.cache);
  if (!found.response) return false;
  const cache::StoredResponse& stored = *found.response;
  const cache::Time now = worker_.WallNow();
  const cache::Decision decision =
      cache::Decide(head, &stored.facts(), found.other_variants, now, rule.cache);
  if (decision.action != cache::Action::kServe) return false;

  ReplyContext context;
  context.now = now;
  context.cache_status.hit = true;
  const cache::Millis left = stored.facts().lifetime - stored.facts().AgeAt(now);
  if (cache::NearsExpiry(stored.facts(), left, rule.cache) &&
      cache::RefreshesEarly(stored.facts(), left, worker_.Random(), rule.cache)) {
    refresh_early = true;
    return false;
  }
  context.cache_status.ttl = left;
  context.cache_status.key = key.text();
  context.cache_status.tier = "l1";
  context.cache_status.rule = rule.shown_name();
  context.cache_status.reason = decision.reason;
  context.keep_alive = keep_alive_;
  context.client_minor_version = head.minor_version;
  std::string& tail = worker_.scratch_text();
  tail.clear();
  AppendHitTail(tail, stored.facts(), context);

  std::array<iovec, 18> pieces;
  pieces[0] = net::Slice(stored.header_block());
  pieces[1] = net::Slice(tail);
  size_t count = 2;
  const uint64_t body_size = head.method == cache::Method::kHead ? 0 : stored.body().size();
  uint64_t gathered = 0;
  if (body_size > 0) {
    const size_t used = stored.body().Gather(0, body_size, std::span(pieces).subspan(2));
    for (size_t i = 0; i < used; ++i) gathered += pieces[2 + i].iov_len;
    count += used;
    if (gathered < body_size) return false;  // many segments: the exchange streams them
  }
  const uint64_t head_bytes = stored.header_block().size() + tail.size();
  Add(worker_.metrics().l1_hits);

  // What the socket does not take is kept by reference; only the tail is ours to copy.
  const net::IoResult written = stream_.Write({pieces.data(), count});
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
      outbox_.Queue(rest, i == 1 ? nullptr : std::shared_ptr<const void>(found.response));
    }
    deadline_.SetAfter(listener_->write_timeout.count());
  }
  bytes_out_ = total;
  Add(worker_.metrics().client_bytes_out, total);
  const int64_t duration_us = (net::EventLoop::ReadClockNs() - start_ns) / 1000;
  worker_.metrics().CountRequest(Outcome::kHit, decision.reason, stored.facts().status,
                                 static_cast<uint64_t>(duration_us));
  if (worker_.access_log().enabled()) {
    AccessRecord record;
    FillRequestRecord(record, head, info_.peer_ip, *listener_);
    record.time = now;
    record.status = stored.facts().status;
    record.bytes_in = bytes_in_;
    record.bytes_out = total;
    record.duration_us = duration_us;
    record.rule = rule.name;
    record.outcome = Outcome::kHit;
    record.reason = decision.reason;
    record.tier = "l1";
    record.age_s = stored.facts().AgeAt(now).count() / 1000;
    record.key_hash = key.hash();
    std::string client;  // what the record looks at until it is written
    if (info_.peer_trusted) {
      client = EffectiveClient(head, info_.peer_ip, *listener_);
      record.client = client;
    }
    worker_.access_log().Write(record);
  }
  response_done_ = true;
  if (outbox_.empty()) CompleteResponse();
  return true;
}

void ClientConnection::RefuseRequest(const http1::ParseError& error,
                                     const cache::RequestHead* head) {
  keep_alive_ = false;
  ReplyContext context;
  context.now = worker_.WallNow();
  context.keep_alive = false;
  Problem problem;
  problem.status = error.status;
  problem.detail = error.message;
  problem.reason = "bad-request";
  if (error.status == 405) problem.fields = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";
  const std::string reply =
      BuildProblem(problem, context, head != nullptr && head->method == cache::Method::kHead);
  const iovec piece = net::Slice(reply);
  worker_.metrics().CountRequest(Outcome::kRefused, cache::Reason::kNone, error.status, 0);
  if (worker_.access_log().enabled()) {
    static const cache::RequestHead kNoHead;
    AccessRecord record;
    FillRequestRecord(record, head != nullptr ? *head : kNoHead, info_.peer_ip, *listener_);
    record.time = context.now;
    record.status = error.status;
    record.bytes_in = bytes_in_;
    record.bytes_out = reply.size();
    record.outcome = Outcome::kRefused;
    record.error = error.message;
    worker_.access_log().Write(record);
  }
  state_ = State::kBusy;
  body_.reset();
  response_done_ = true;
  if (!Send({&piece, 1}, nullptr)) return;
  if (outbox_.empty()) CloseGracefully();
}

}  // namespace satchel::proxy
