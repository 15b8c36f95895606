#include "proxy/client_connection.h"

#include <algorithm>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

// Pipelined input kept while an exchange is under way; beyond it reading pauses.
constexpr size_t kMaxInput = 64 * 1024;
constexpr int64_t kLingerMs = 2000;
// A client that has shut its sending side may still read; one that has gone looks the same until
// something is written to it.
constexpr int64_t kHalfClosedMs = 1000;
constexpr int kReadsPerTurn = 4;

}  // namespace

ClientConnection::ClientConnection(Worker& worker, std::shared_ptr<const rules::Listener> listener,
                                   net::Stream stream, const net::Address& peer)
    : worker_(worker),
      listener_(std::move(listener)),
      stream_(std::move(stream)),
      deadline_(
          worker.loop(), [](void* self) { static_cast<ClientConnection*>(self)->OnDeadline(); },
          this) {
  info_.peer_ip = peer.IpText();
  info_.tls = stream_.ssl() != nullptr;
  if (!listener_->trusted_proxies.empty()) {
    const auto ip = rules::ParseIp(info_.peer_ip);
    info_.peer_trusted =
        ip && std::any_of(listener_->trusted_proxies.begin(), listener_->trusted_proxies.end(),
                          [&](const rules::IpPrefix& prefix) { return prefix.Contains(*ip); });
  }
}

ClientConnection::~ClientConnection() { Close(); }

void ClientConnection::Start() {
  watch_.Start(
      worker_.loop(), stream_.fd(), 0,
      [](int, short what, void* self) {
        const auto keep = static_cast<ClientConnection*>(self)->shared_from_this();
        keep->OnEvent(what);
      },
      this);
  deadline_.SetAfter(listener_->header_timeout.count());
  if (stream_.ssl() != nullptr) {
    state_ = State::kHandshaking;
    watch_.Watch(EV_READ);
    return;
  }
  // The request is usually there already, and a connection that ends with its answer then need
  // not be watched at all.
  ReadInput();
  UpdateWatch();
}

void ClientConnection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  watch_.Stop();
  deadline_.Clear();
  outbox_.Clear();
  stream_.Close();
  if (limited_hit_) worker_.limited_hits().Return(std::move(limited_hit_));
  if (exchange_) std::exchange(exchange_, nullptr)->OnClientGone();
  worker_.Release(this);
}

void ClientConnection::OnGone() { Close(); }

void ClientConnection::Abort() {
  if (state_ == State::kClosed) return;
  stream_.ResetOnClose();
  Close();
}

void ClientConnection::OnDrain() {
  keep_alive_ = false;
  if (state_ == State::kReading && !input_) Close();
}

void ClientConnection::UpdateWatch() {
  if (state_ == State::kClosed || state_ == State::kHandshaking) return;
  short what = 0;
  const bool body_wanted = !body_paused_;
  if (!eof_ && (state_ != State::kBusy || (body_wanted && input_size() < kMaxInput))) {
    what = EV_READ;
  }
  if (state_ == State::kTunnel && body_paused_) what = 0;
  if (!outbox_.empty()) what = static_cast<short>(what | EV_WRITE);
  watch_.Watch(what);
}

void ClientConnection::ContinueHandshake() {
  switch (stream_.Handshake(/*as_client=*/false)) {
    case net::IoStatus::kOk:
      Add(worker_.metrics().tls_handshakes);
      state_ = State::kReading;
      UpdateWatch();
      ReadInput();
      return;
    case net::IoStatus::kAgain:
      watch_.Watch(stream_.wants_write() ? EV_WRITE : EV_READ);
      return;
    default:
      Add(worker_.metrics().tls_handshake_errors);
      Close();
  }
}

void ClientConnection::OnEvent(short what) {
  if (state_ == State::kHandshaking) {
    ContinueHandshake();
    return;
  }
  if ((what & EV_WRITE) != 0 && !outbox_.empty()) {
    const size_t before = outbox_.size();
    if (outbox_.Flush(stream_) == net::IoStatus::kError) {
      OnGone();
      return;
    }
    if (outbox_.size() < before && !outbox_.empty()) {
      deadline_.SetAfter(listener_->write_timeout.count());
    }
    if (outbox_.empty()) {
      deadline_.Clear();
      UpdateWatch();
      if (response_done_) {
        CompleteResponse();
      } else if (exchange_) {
        exchange_->OnClientWritable();
      }
      if (state_ == State::kClosed) return;
    }
  }
  if ((what & EV_READ) != 0) ReadInput();
}

void ClientConnection::OnDeadline() {
  const auto self = shared_from_this();
  switch (state_) {
    case State::kReading:
      if (!input_) {
        Add(worker_.metrics().bounds, Bound::kKeepAlive);
        Close();
      } else {
        Add(worker_.metrics().bounds, Bound::kHeaderTimeout);
        RefuseRequest({408, "the request head did not arrive in time"}, nullptr);
      }
      return;
    case State::kBusy:
    case State::kTunnel:
      if (!outbox_.empty()) {
        Add(worker_.metrics().bounds, Bound::kWriteStall);
        Abort();
      } else if (eof_) {
        OnGone();
      }
      return;
    default:
      Close();
  }
}

void ClientConnection::ReadInput() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    const std::span<char> scratch = worker_.client_scratch();
    const net::IoResult result = stream_.Read(scratch.data(), scratch.size());
    switch (result.status) {
      case net::IoStatus::kAgain:
        return;
      case net::IoStatus::kEof:
        OnEof();
        return;
      case net::IoStatus::kError:
        OnGone();
        return;
      case net::IoStatus::kOk:
        break;
    }
    Add(worker_.metrics().client_bytes_in, result.bytes);
    if (state_ == State::kLingering) continue;
    bytes_in_ += result.bytes;
    Process({scratch.data(), result.bytes});
    if (state_ == State::kClosed || watch_.watching() == EV_WRITE || watch_.watching() == 0) return;
    if (result.bytes < scratch.size() && !stream_.HasPending()) return;
  }
}

void ClientConnection::OnEof() {
  eof_ = true;
  switch (state_) {
    case State::kBusy:
      // Without the rest of its body a request can't be completed.
      if (body_ && !body_->done()) {
        OnGone();
        return;
      }
      keep_alive_ = false;
      UpdateWatch();
      if (outbox_.empty()) deadline_.SetAfter(kHalfClosedMs);
      return;
    case State::kTunnel:
      UpdateWatch();
      exchange_->OnClientEof();
      return;
    default:
      Close();
  }
}

void ClientConnection::Process(std::string_view input) {
  std::string joined;
  if (input_) {
    joined = std::move(*input_);
    input_.reset();
    joined.append(input);
    input = joined;
  }
  in_process_ = true;
  while (!input.empty()) {
    const size_t used = Step(input);
    if (used == 0) break;
    input.remove_prefix(used);
  }
  in_process_ = false;
  if (state_ == State::kClosing) {
    if (input.empty()) {
      Close();
    } else {
      CloseGracefully();
    }
  }
  if (state_ == State::kClosed || state_ == State::kLingering) return;
  if (!input.empty()) {
    input_ = std::make_unique<std::string>(input);
    if (input_->size() >= kMaxInput) Add(worker_.metrics().bounds, Bound::kPipeline);
  }
  UpdateWatch();
}

size_t ClientConnection::Step(std::string_view input) {
  switch (state_) {
    case State::kReading:
      return ReadHead(input);
    case State::kBusy:
    case State::kDiscarding:
      return ReadBody(input);
    case State::kTunnel:
      exchange_->OnTunnelData(input);
      return input.size();
    default:
      return 0;
  }
}

bool ClientConnection::Send(std::span<const iovec> pieces, std::shared_ptr<const void> hold,
                            net::FilePlace file) {
  if (state_ == State::kClosed) return false;
  size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  bytes_out_ += size;
  Add(worker_.metrics().client_bytes_out, size);
  const bool was_empty = outbox_.empty();
  switch (outbox_.Send(stream_, pieces, std::move(hold), file)) {
    case net::IoStatus::kOk:
      return true;
    case net::IoStatus::kAgain:
      if (was_empty) deadline_.SetAfter(listener_->write_timeout.count());
      UpdateWatch();
      return true;
    default:
      // The caller is on the stack: it hears of it by the result and by OnClientGone later.
      worker_.loop().AtTurnEnd([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->OnGone();
      });
      return false;
  }
}

void ClientConnection::EndResponse() {
  if (state_ == State::kClosed) return;
  response_done_ = true;
  if (outbox_.empty()) CompleteResponse();
}

void ClientConnection::CompleteResponse() {
  if (exchange_) exchange_->OnResponseSent();
  exchange_.reset();
  bytes_in_ = 0;
  bytes_out_ = 0;
  const bool body_read = !body_ || body_->done();
  if (!keep_alive_ && body_read && !input_) {
    if (in_process_) {
      state_ = State::kClosing;  // Process() sees whether input is left
    } else {
      Close();
    }
    return;
  }
  if (!keep_alive_ || (expects_continue_ && body_ && body_bytes_ == 0 && !body_->done())) {
    CloseGracefully();
    return;
  }
  body_paused_ = false;
  if (body_ && !body_->done()) {
    // Its client may not know yet that the answer is there: read the rest, within a bound.
    state_ = State::kDiscarding;
    body_bytes_ = 0;
    deadline_.SetAfter(listener_->header_timeout.count());
  } else {
    body_.reset();
    state_ = State::kReading;
    response_done_ = false;
    scanned_ = 0;
    deadline_.SetAfter(listener_->keepalive.count());
  }
  if (in_process_) return;
  UpdateWatch();
  if (input_ || stream_.HasPending()) ContinueInput();
  if (eof_ && !input_) Close();
}

void ClientConnection::ContinueInput() {
  worker_.loop().AtTurnEnd([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->state_ == State::kClosed || self->in_process_) return;
    if (self->input_) self->Process({});
    if (self->state_ == State::kClosed) return;
    if (self->stream_.HasPending()) {
      self->ReadInput();
    } else if (self->eof_ && self->state_ == State::kReading) {
      self->Close();
    }
  });
}

void ClientConnection::CloseGracefully() {
  if (state_ == State::kClosed) return;
  if (exchange_) {
    exchange_->OnResponseSent();
    exchange_.reset();
  }
  if (eof_) {
    Close();
    return;
  }
  // A close with unread input would become a reset, which can destroy the answer on its way.
  state_ = State::kLingering;
  input_.reset();
  stream_.ShutdownWrite();
  watch_.Watch(EV_READ);
  deadline_.SetAfter(kLingerMs);
}

void ClientConnection::PauseBody(bool paused) {
  if (body_paused_ == paused || state_ == State::kClosed) return;
  body_paused_ = paused;
  if (paused) Add(worker_.metrics().bounds, Bound::kUpstreamBuffer);
  if (in_process_) return;
  UpdateWatch();
  if (!paused) ContinueInput();
}

void ClientConnection::BecomeTunnel() {
  state_ = State::kTunnel;
  keep_alive_ = false;
  deadline_.Clear();
  if (in_process_) return;
  UpdateWatch();
  if (input_) ContinueInput();
}

void ClientConnection::ShutdownWrite() {
  if (state_ != State::kClosed) stream_.ShutdownWrite();
}

}  // namespace satchel::proxy
