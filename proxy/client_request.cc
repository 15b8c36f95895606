// What a connection does with a request: from its head to an exchange, or straight to the answer.

#include "proxy/client_connection.h"

#include <algorithm>
#include <array>
#include <utility>

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
  size_t scanned = scanned_;
  const http1::HeadResult parsed = worker_.parser().ParseRequest(input, scanned, limits, head);
  scanned_ = static_cast<uint32_t>(std::min<size_t>(scanned, UINT32_MAX));  // less: looked at again
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
  const auto exchange = std::make_shared<Exchange>(worker_, shared_from_this(), snapshot, match.rule,
                                         std::move(head), *framing);
  exchange_ = exchange;
  if (refresh_early) exchange->RefreshEarly();
  exchange->Start();
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
