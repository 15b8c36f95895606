#include <algorithm>
#include <array>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/worker.h"

namespace satchel::proxy {

ReplyContext Exchange::Context() const {
  ReplyContext context;
  context.now = worker_.WallNow();
  context.cache_status = cache_status_;
  if (has_key_) context.cache_status.key = key_.text();
  context.keep_alive = client_->keep_alive();
  context.client_minor_version = head_.minor_version;
  context.rule = rule_;
  context.extra_fields = limit_fields_;
  context.random = worker_.Random();
  if (task_ && !followed_) {
    context.inner_status = task_->inner_status();
    context.own_fields = task_->own_fields();
  }
  return context;
}

void Exchange::SendStored(cache::StoredPtr response) {
  state_ = State::kSending;
  wait_timer_.Cancel();
  sending_ = std::move(response);
  const cache::Time now = worker_.WallNow();
  const cache::ResponseFacts& facts = sending_->facts();
  cache_status_.ttl = facts.lifetime - facts.AgeAt(now);
  cache_status_.tier = tier_;
  cache_status_.reason = decision_.reason;
  age_s_ = facts.AgeAt(now).count() / 1000;
  Reply reply = BuildStoredReply(head_, *sending_, sending_->body().size(), Context());
  status_ = reply.status;
  multipart_ = std::move(reply.multipart);
  body_at_ = reply.body_first;
  body_end_ = multipart_ ? body_at_
                         : reply.body_first + reply.body_length.value_or(sending_->body().size());
  head_sent_ = true;
  std::array<iovec, kPieces> pieces;
  pieces[0] = net::Slice(reply.head);
  size_t count = 1;
  // Small bodies leave with the head in one call; the rest follows as the socket takes it.
  const uint64_t size = *body_end_ - body_at_;
  net::FilePlace file;
  if (size > 0 && size <= kPumpBytes) {
    file = client_->FileOf(sending_, body_at_);
    const size_t used = sending_->body().Gather(body_at_, size, std::span(pieces).subspan(1));
    for (size_t i = 1; i <= used; ++i) body_at_ += pieces[i].iov_len;
    count += used;
  }
  // The head is this call's, the body the response's: what is left of the head must be copied.
  auto hold =
      std::make_shared<std::pair<std::string, cache::StoredPtr>>(std::move(reply.head), sending_);
  pieces[0] = net::Slice(hold->first);
  if (!client_->Send({pieces.data(), count}, hold, file)) return;
  PumpStored();
}

void Exchange::PumpStored() {
  const auto parts_left = [this] { return multipart_ && next_part_ <= multipart_->parts(); };
  while (client_ && client_->unsent() == 0 && (body_at_ < *body_end_ || parts_left())) {
    if (body_at_ == *body_end_) {
      if (!BeginPart()) return;
      continue;
    }
    std::array<iovec, kPieces> pieces;
    const uint64_t size = std::min(*body_end_ - body_at_, kPumpBytes);
    const size_t used = sending_->body().Gather(body_at_, size, pieces);
    if (used == 0) {
      Cut("the stored body is shorter than its length");
      return;
    }
    const net::FilePlace file = client_->FileOf(sending_, body_at_);
    for (size_t i = 0; i < used; ++i) body_at_ += pieces[i].iov_len;
    if (!client_->Send({pieces.data(), used}, sending_, file)) return;
  }
  if (client_ && body_at_ == *body_end_ && !parts_left()) Finish();
}

// The range before is sent: the lines before the next one go, or those that end the body. False:
// the client is gone.
bool Exchange::BeginPart() {
  const iovec lead = net::Slice(multipart_->lead(next_part_));
  if (next_part_ < multipart_->parts()) {
    const cache::ByteRange& range = multipart_->range(next_part_);
    body_at_ = range.first;
    body_end_ = range.last + 1;
  }
  ++next_part_;
  return client_->Send({&lead, 1}, shared_from_this());
}

void Exchange::OnClientWritable() {
  const auto self = shared_from_this();
  if (tunnel_) {
    tunnel_->OnClientWritable();
  } else if (sending_) {
    PumpStored();
  } else if (reader_) {
    PumpReader();
  } else if (fetch_) {
    fetch_->Resume();
  }
}

void Exchange::SendInterim(const cache::ResponseHead& head) {
  // HTTP/1.0 knows no interim responses (RFC 9110 15.2).
  if (!client_ || head_sent_ || head_.minor_version == 0) return;
  cache::HeaderMap fields = head.fields;
  cache::RemoveHopByHop(fields);
  // No 1xx has a body, whatever its origin says (RFC 9110 8.6, 15.2).
  fields.Remove(cache::FieldId::kContentLength);
  std::string text;
  http1::AppendStatusLine(text, head.status, head.reason);
  http1::AppendFields(text, fields);
  text.append("\r\n");
  const iovec piece = net::Slice(text);
  client_->Send({&piece, 1}, nullptr);
}

// As the last that the request was to reach.
void Exchange::SendOptions() {
  if (!client_) return;
  state_ = State::kSending;
  outcome_ = Outcome::kSynthetic;
  cache::ResponseHead head;
  head.status = 200;
  head.reason = cache::ReasonPhrase(200);
  head.fields.Add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  const Reply reply = BuildPassedReply(head, /*has_body=*/true, 0, Context());
  status_ = reply.status;
  head_sent_ = true;
  const iovec piece = net::Slice(reply.head);
  if (client_->Send({&piece, 1}, nullptr)) Finish();
}

void Exchange::SendProblem(uint16_t status, std::string_view detail, std::string_view reason,
                           Problem problem) {
  if (!client_) return;
  state_ = State::kSending;
  wait_timer_.Cancel();
  status_ = status;
  if (error_.empty() && status >= 500) error_ = detail;
  cache_status_.stored = false;
  cache_status_.tier = {};
  cache_status_.reason = decision_.reason;
  problem.status = status;
  problem.detail = detail;
  problem.reason = reason;
  const std::string reply = BuildProblem(problem, Context(), !HasBody());
  head_sent_ = true;
  const iovec piece = net::Slice(reply);
  if (!client_->Send({&piece, 1}, nullptr)) return;
  Finish();
}

void Exchange::Finish() {
  if (state_ == State::kDone || !client_) return;
  state_ = State::kDone;
  const auto client = client_;
  client->EndResponse();
}

void Exchange::OnResponseSent() {
  state_ = State::kDone;
  limits_.ReleaseSlots();
  if (!logged_) Log();
  reader_ = {};
  task_.reset();
  if (fetch_) fetch_->Cancel();
  client_.reset();
}

void Exchange::Cut(std::string why) {
  if (!client_) return;
  error_ = std::move(why);
  outcome_ = Outcome::kError;
  Log();
  state_ = State::kDone;
  const auto client = client_;
  client->Abort();
}

void Exchange::Log() {
  logged_ = true;
  const int64_t duration_us = (net::EventLoop::ReadClockNs() - started_ns_) / 1000;
  worker_.metrics().CountRequest(outcome_, decision_.reason, status_,
                                 static_cast<uint64_t>(duration_us));
  if (worker_.PopularityDue()) {
    cache::StoredPtr answer;
    if (has_key_ && rule_ != nullptr) {
      answer = worker_.store().Lookup(key_, head_, rule_->cache).response;
    }
    worker_.NotePopular(rule_, head_, answer.get());
  }
  if (!worker_.access_log().enabled() || !client_) return;
  AccessRecord record;
  FillRequestRecord(record, head_, client_ip_, client_->listener());
  record.time = started_;
  record.status = status_;
  record.bytes_in = client_->bytes_in();
  record.bytes_out = client_->bytes_out();
  record.duration_us = duration_us;
  if (rule_ != nullptr) record.rule = rule_->name;
  record.outcome = outcome_;
  record.reason = decision_.reason;
  record.tier = tier_;
  record.age_s = age_s_;
  if (has_key_) record.key_hash = key_.hash();
  const Fetch* fetch = fetch_ ? fetch_.get() : task_ ? task_->fetch() : nullptr;
  if (fetch != nullptr) {
    record.upstream = fetch->pool().config().name;
    record.upstream_address = fetch->server_text();
    record.upstream_us = fetch->first_byte_us();
    record.upstream_attempts = fetch->attempts();
    record.upstream_status = upstream_status_;
  }
  record.limit_policy = limit_policy_;
  record.limit = limit_outcome_;
  for (const LimitCheck& check : limits_.checks()) {
    if (check.policy->name == limit_policy_) record.limit_identity = check.id_text();
  }
  record.error = error_;
  worker_.access_log().Write(record);
}

}  // namespace satchel::proxy
