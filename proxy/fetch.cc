#include "proxy/fetch.h"

#include <utility>

#include "proxy/http1/serializer.h"
#include "proxy/net/tls.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

constexpr int kMaxInterim = 16;
constexpr http1::HeadLimits kResponseLimits{64 * 1024, 16 * 1024, 256};

// How much one turn reads from one origin before others get theirs.
constexpr int kReadsPerTurn = 4;

}  // namespace

Fetch::Fetch(Worker& worker, std::shared_ptr<UpstreamPool> pool, const rules::Timeouts& timeouts,
             FetchRequest request, FetchHandler* handler)
    : worker_(worker),
      pool_(std::move(pool)),
      timeouts_(timeouts),
      request_(std::move(request)),
      handler_(handler) {
  upload_done_ = request_.body == http1::BodyKind::kNone;
  total_.OnFire([this] {
    const auto self = shared_from_this();
    Fail(UpstreamError::kTotalTimeout, 504, "the exchange took longer than allowed");
  });
}

Fetch::~Fetch() { Cancel(); }

void Fetch::Start() {
  Add(worker_.metrics().upstream_requests);
  if (timeouts_.total.count() > 0) worker_.loop().SetTimer(total_, timeouts_.total.count());
  // What a turn asks of upstreams leaves back to back, as the answers did that made room for it:
  // the peer is woken once for several requests rather than for each.
  worker_.loop().AtTurnEnd([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self && self->state_ == State::kNew) self->TryServer();
  });
}

void Fetch::Cancel() {
  handler_ = nullptr;
  resolving_.reset();
  total_.Cancel();
  DropConnection();
  state_ = State::kDone;
}

void Fetch::DropConnection() {
  if (connection_) {
    connection_->SetOwner(nullptr);
    connection_->ClearDeadline();
    connection_->PauseReading(true);
    worker_.loop().DeleteLater(std::move(connection_));
  }
  if (server_) {
    server_->CountInFlight(-1);
    server_.reset();
  }
}

void Fetch::FailLater(UpstreamError kind, uint16_t status, std::string message) {
  worker_.loop().AtTurnEnd(
      [weak = weak_from_this(), kind, status, message = std::move(message)]() mutable {
        if (const auto self = weak.lock()) self->Fail(kind, status, std::move(message));
      });
}

void Fetch::Fail(UpstreamError kind, uint16_t status, std::string message) {
  if (state_ == State::kDone) return;
  const bool head_received = state_ == State::kBody;
  state_ = State::kDone;
  total_.Cancel();
  DropConnection();
  Add(worker_.metrics().upstream_errors, kind);
  if (handler_ != nullptr) {
    std::exchange(handler_, nullptr)
        ->OnFetchError({kind, status, head_received, std::move(message)});
  }
}

void Fetch::TryServer() {
  ++attempts_;
  server_ = pool_->Pick(tried_);
  if (!server_) {
    FailLater(UpstreamError::kNoServer, 503, "no server of this upstream can be reached");
    return;
  }
  server_->CountInFlight(+1);
  tried_.push_back(server_.get());
  // Behind a kept connection that proved dead the others are suspect too.
  while (!retried_dead_) {
    auto idle = server_->TakeIdle();
    if (!idle) break;
    // Bytes that nobody asked for would be taken for our answer. A connection that its server has
    // closed meanwhile costs a retry, which not every request may have: worth a system call.
    if (!idle->IsSilent(/*now=*/!request_.idempotent)) {
      worker_.loop().DeleteLater(std::move(idle));
      continue;
    }
    connection_ = std::move(idle);
    connection_->SetOwner(this);
    server_text_ = connection_->address_text();
    SendHead();
    return;
  }
  state_ = State::kConnecting;
  const rules::Endpoint& endpoint = server_->endpoint();
  if (endpoint.kind == rules::Endpoint::Kind::kUnix) {
    resolving_ = worker_.resolver().Resolve(
        "unix:" + endpoint.path, 0, [this](auto addresses) { OnResolved(std::move(addresses)); });
  } else if (endpoint.kind == rules::Endpoint::Kind::kIp) {
    auto address = net::Address::FromIp(endpoint.host, endpoint.port);
    if (!address) {
      FailLater(UpstreamError::kResolve, 502, address.error().message);
      return;
    }
    addresses_ = {*address};
    next_address_ = 0;
    TryAddress();
  } else {
    resolving_ = worker_.resolver().Resolve(
        endpoint.host, endpoint.port, [this](auto addresses) { OnResolved(std::move(addresses)); });
  }
}

void Fetch::OnResolved(cache::Result<std::vector<net::Address>> addresses) {
  const auto self = shared_from_this();
  const auto finished = std::move(resolving_);
  if (!addresses) {
    AttemptFailed(UpstreamError::kResolve, 502, addresses.error().message);
    return;
  }
  addresses_ = std::move(*addresses);
  next_address_ = 0;
  TryAddress();
}

void Fetch::TryAddress() {
  const net::Address address = addresses_[next_address_++];
  server_text_ = address.ToString();
  SSL* ssl = nullptr;
  if (pool_->tls()) {
    ssl = pool_->tls()->NewSession(server_->endpoint().host);
    if (ssl == nullptr) {
      FailLater(UpstreamError::kTls, 502, "cannot start TLS to the upstream");
      return;
    }
  }
  connection_ = std::make_unique<UpstreamConnection>(worker_.loop(), server_);
  connection_->SetOwner(this);
  Add(worker_.metrics().upstream_connects);
  if (!connection_->Connect(address, ssl)) {
    worker_.loop().AtTurnEnd([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->OnBroken();
    });
    return;
  }
  connection_->SetDeadline(timeouts_.connect.count());
}

void Fetch::OnConnected() {
  const auto self = shared_from_this();
  server_->OnConnected();
  SendHead();
}

void Fetch::SendHead() {
  state_ = State::kWaitingHead;
  connection_->CountUse();
  sent_ns_ = net::EventLoop::ReadClockNs();
  sent_wall_ms_ = worker_.WallNow().time_since_epoch().count();
  connection_->SetDeadline(timeouts_.first_byte.count());
  const iovec pieces[] = {net::Slice(request_.head), net::Slice("\r\n"),
                          net::Slice(request_.whole_body), net::Slice(early_upload_)};
  Add(worker_.metrics().upstream_bytes_out,
      request_.head.size() + 2 + request_.whole_body.size() + early_upload_.size());
  if (!connection_->Send(pieces, nullptr)) {
    worker_.loop().AtTurnEnd([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->OnBroken();
    });
    return;
  }
  if (!early_upload_.empty()) {
    early_upload_.clear();
    if (handler_ != nullptr && connection_->unsent() == 0) {
      worker_.loop().AtTurnEnd([weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self && self->connection_ && self->connection_->unsent() == 0) self->OnDrained();
      });
    }
  }
}

size_t Fetch::unsent_upload() const {
  if (state_ == State::kDone) return 0;
  return early_upload_.size() + (connection_ ? connection_->unsent() : 0);
}

void Fetch::SendBody(std::string_view data) {
  if (state_ == State::kDone || data.empty()) return;
  upload_started_ = true;
  char buffer[24];
  iovec pieces[2];
  size_t count = 0;
  if (request_.body == http1::BodyKind::kChunked) {
    pieces[count++] =
        net::Slice(http1::ChunkPrefix(buffer, data.size(), std::exchange(first_chunk_, false)));
  }
  pieces[count++] = net::Slice(data);
  if (state_ == State::kNew || state_ == State::kConnecting) {
    for (size_t i = 0; i < count; ++i) {
      early_upload_.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
    }
    return;
  }
  Add(worker_.metrics().upstream_bytes_out, data.size());
  // A write that fails is not the end: the answer may be waiting to be read.
  connection_->Send({pieces, count}, nullptr);
}

void Fetch::EndBody(const cache::HeaderMap& trailers) {
  if (state_ == State::kDone) return;
  upload_done_ = true;
  if (request_.body != http1::BodyKind::kChunked) return;
  std::string tail = first_chunk_ ? "0\r\n" : "\r\n0\r\n";
  http1::AppendFields(tail, trailers);
  tail.append("\r\n");
  if (state_ == State::kNew || state_ == State::kConnecting) {
    early_upload_.append(tail);
    return;
  }
  const iovec piece = net::Slice(tail);
  connection_->Send({&piece, 1}, nullptr);
}

void Fetch::Pause() {
  paused_ = true;
  if (connection_ && state_ == State::kBody) {
    connection_->PauseReading(true);
    connection_->ClearDeadline();
  }
}

void Fetch::Resume() {
  if (!std::exchange(paused_, false) || !connection_) return;
  connection_->PauseReading(false);
  connection_->SetDeadline(timeouts_.idle.count());
  if (!holding_ && !connection_->HasPending()) return;
  worker_.loop().AtTurnEnd([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->paused_ || !self->connection_) return;
    if (std::exchange(self->holding_, false)) {
      const std::string held = std::exchange(self->held_, {});
      if (!self->Consume(held) || self->paused_) return;
    }
    if (self->connection_->HasPending()) self->OnReadable();
  });
}

void Fetch::AttemptFailed(UpstreamError kind, uint16_t status, std::string message) {
  const bool was_connecting = state_ == State::kConnecting;
  const bool reused = connection_ && connection_->reused();
  const auto server = server_;
  if (was_connecting) server->OnConnectFailed(worker_.loop().now_ms());
  DropConnection();
  const bool replayable = !upload_started_ || was_connecting;
  // A server that closed a kept connection in the moment of our request did nothing with it.
  if (!was_connecting && reused && request_.idempotent && replayable && !retried_dead_ &&
      kind == UpstreamError::kReset) {
    retried_dead_ = true;
    tried_.clear();
    Add(worker_.metrics().upstream_retries);
    TryServer();
    return;
  }
  const bool more = attempts_ <= static_cast<int>(pool_->config().retry_attempts) &&
                    tried_.size() < pool_->servers().size();
  if (was_connecting && more) {
    Add(worker_.metrics().upstream_errors, kind);
    Add(worker_.metrics().upstream_retries);
    TryServer();
    return;
  }
  Fail(kind, status, std::move(message));
}

void Fetch::OnBroken() {
  if (state_ == State::kDone) return;
  const auto self = shared_from_this();
  if (state_ == State::kConnecting && next_address_ < addresses_.size()) {
    connection_->SetOwner(nullptr);
    worker_.loop().DeleteLater(std::move(connection_));
    TryAddress();
    return;
  }
  if (state_ == State::kConnecting) {
    const std::string tls = connection_->handshake_error();
    if (tls.empty()) {
      AttemptFailed(UpstreamError::kConnect, 502, "cannot connect to " + server_text_);
    } else {
      AttemptFailed(UpstreamError::kTls, 502, "no TLS with " + server_text_ + ": " + tls);
    }
  } else {
    AttemptFailed(UpstreamError::kReset, 502, "connection to " + server_text_ + " broke");
  }
}

void Fetch::OnDeadline() {
  const auto self = shared_from_this();
  switch (state_) {
    case State::kConnecting:
      if (next_address_ < addresses_.size()) {
        OnBroken();
        return;
      }
      AttemptFailed(UpstreamError::kConnectTimeout, 504,
                    "connect to " + server_text_ + " timed out");
      return;
    case State::kWaitingHead:
      Fail(UpstreamError::kFirstByteTimeout, 504, server_text_ + " sent no answer in time");
      return;
    case State::kBody:
      Fail(UpstreamError::kIdleTimeout, 504, server_text_ + " stopped sending");
      return;
    default:
      return;
  }
}

void Fetch::OnDrained() {
  const auto self = shared_from_this();
  if (handler_ != nullptr && !upload_done_) handler_->OnUploadDrained();
}

void Fetch::OnReadable() {
  const auto self = shared_from_this();
  for (int reads = 0; reads < kReadsPerTurn && connection_ && !paused_; ++reads) {
    std::span<char> scratch = worker_.upstream_scratch();
    const net::IoResult result = connection_->Read(scratch.data(), scratch.size());
    switch (result.status) {
      case net::IoStatus::kAgain:
        return;
      case net::IoStatus::kEof:
        if (state_ == State::kBody && decoder_.EndOfInput()) {
          Finish(false);
        } else if (any_byte_) {
          Fail(UpstreamError::kReset, 502, server_text_ + " closed before the answer was complete");
        } else {
          AttemptFailed(UpstreamError::kReset, 502, server_text_ + " closed without an answer");
        }
        return;
      case net::IoStatus::kError:
        if (any_byte_) {
          Fail(UpstreamError::kReset, 502, "connection to " + server_text_ + " was reset");
        } else {
          AttemptFailed(UpstreamError::kReset, 502, "connection to " + server_text_ + " was reset");
        }
        return;
      case net::IoStatus::kOk:
        break;
    }
    any_byte_ = true;
    Add(worker_.metrics().upstream_bytes_in, result.bytes);
    if (!Consume({scratch.data(), result.bytes})) return;
    // A short read has emptied the socket.
    if (result.bytes < scratch.size() && !(connection_ && connection_->HasPending())) return;
  }
}

// Returns false when the fetch has ended or passed its connection on.
bool Fetch::Consume(std::string_view input) {
  while (state_ == State::kWaitingHead) {
    if (!ConsumeHead(input)) return false;
    if (state_ == State::kWaitingHead && input.empty()) return true;
  }
  if (state_ != State::kBody) return false;
  connection_->SetDeadline(timeouts_.idle.count());
  while (!paused_ && !decoder_.done() && !input.empty()) {
    const auto step = decoder_.Next(input);
    if (!step) {
      Fail(UpstreamError::kProtocol, 502, server_text_ + ": " + std::string(step.error().message));
      return false;
    }
    input.remove_prefix(step->used);
    if (!step->data.empty() && handler_ != nullptr) handler_->OnData(step->data);
    if (state_ != State::kBody) return false;  // the handler cancelled
  }
  if (paused_) {
    holding_ = true;
    held_.assign(input);
    return true;
  }
  if (!decoder_.done()) return true;
  // Bytes behind a complete answer belong to nobody: the next request must not find them.
  Finish(input.empty() && framing_.keep_alive);
  return false;
}

bool Fetch::ConsumeHead(std::string_view& input) {
  std::string_view text = input;
  if (!input_.empty()) {
    input_.append(input);
    text = input_;
  }
  const auto parsed = worker_.parser().ParseResponse(text, scanned_, kResponseLimits, head_);
  if (!parsed) {
    Fail(UpstreamError::kProtocol, 502, server_text_ + ": " + std::string(parsed.error().message));
    return false;
  }
  if (*parsed == 0) {
    if (input_.empty()) input_.assign(input);
    input = {};
    return true;
  }
  // What follows the head always lies in the newest input.
  input = input.substr(input.size() - (text.size() - *parsed));
  input_.clear();
  scanned_ = 0;
  if (head_.status == 101) {
    if (!request_.upgrade) {
      Fail(UpstreamError::kProtocol, 502, server_text_ + " switched protocols unasked");
      return false;
    }
    connection_->SetOwner(nullptr);
    connection_->ClearDeadline();
    state_ = State::kDone;
    total_.Cancel();
    server_->CountInFlight(-1);
    server_.reset();
    if (handler_ != nullptr) {
      std::exchange(handler_, nullptr)->OnUpgraded(head_, std::move(connection_), input);
    }
    return false;
  }
  if (head_.status < 200) {
    if (++interim_ > kMaxInterim) {
      Add(worker_.metrics().bounds, Bound::kInterim);
      Fail(UpstreamError::kProtocol, 502, server_text_ + " sent too many interim responses");
      return false;
    }
    if (handler_ != nullptr) handler_->OnInterim(head_);
    head_.Clear();
    return state_ == State::kWaitingHead;
  }
  const auto framing = http1::FrameResponse(request_.method, head_);
  if (!framing) {
    Fail(UpstreamError::kProtocol, 502, server_text_ + ": " + std::string(framing.error().message));
    return false;
  }
  framing_ = *framing;
  first_byte_us_ = (net::EventLoop::ReadClockNs() - sent_ns_) / 1000;
  worker_.metrics().upstream_first_byte.Observe(static_cast<uint64_t>(first_byte_us_));
  Add(worker_.metrics().upstream_status_classes[head_.status / 100 < 6 ? head_.status / 100 : 0]);
  decoder_.Start(framing_);
  state_ = State::kBody;
  if (handler_ != nullptr) handler_->OnHead(head_, framing_);
  return state_ == State::kBody;
}

void Fetch::Finish(bool reusable) {
  state_ = State::kDone;
  total_.Cancel();
  // With part of the request unsent the connection can't be used again.
  if (reusable && upload_done_ && connection_->unsent() == 0) {
    server_->CountInFlight(-1);
    server_->PutIdle(std::move(connection_));
    server_.reset();
  } else {
    DropConnection();
  }
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->OnEnd(decoder_.trailers());
}

}  // namespace satchel::proxy
