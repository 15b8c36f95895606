#include "proxy/upstream_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "proxy/upstream_pool.h"

namespace satchel::proxy {

UpstreamConnection::UpstreamConnection(net::EventLoop& loop, std::shared_ptr<UpstreamServer> server)
    : loop_(loop), server_(std::move(server)), 
      deadline_(
          loop, [](void* self) { static_cast<UpstreamConnection*>(self)->OnTimer(); }, this) {
  server_->CountOpen(+1);
}

UpstreamConnection::~UpstreamConnection() {
  watch_.Stop();
  server_->CountOpen(-1);
}

bool UpstreamConnection::Connect(const net::Address& address, SSL* ssl) {
  address_text_ = address.ToString();
  const int fd = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  stream_ = net::Stream(fd, ssl);
  if (fd < 0 || (ssl != nullptr && SSL_set_fd(ssl, fd) != 1)) return false;
  if (address.is_ip()) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (connect(fd, address.raw(), address.size) != 0 && errno != EINPROGRESS) return false;
  state_ = State::kConnecting;
  watch_.Start(
      loop_, fd, EV_WRITE,
      [](int, short what, void* self) { static_cast<UpstreamConnection*>(self)->OnEvent(what); },
      this);
  return true;
}

void UpstreamConnection::SetOwner(Owner* owner) {
  owner_ = owner;
  if (owner == nullptr) idle_since_turn_ = loop_.turns();
  if (paused_) PauseReading(false);
}

void UpstreamConnection::SetDeadline(int64_t ms) {
  if (ms <= 0) {
    deadline_.Clear();
  } else {
    deadline_.SetAfter(ms);
  }
}

void UpstreamConnection::OnTimer() {
  if (owner_ != nullptr) {
    owner_->OnDeadline();
  } else {
    server_->DropIdle(this);
  }
}

void UpstreamConnection::Break() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  watch_.Stop();
  outbox_.Clear();
}

void UpstreamConnection::UpdateWatch() {
  if (state_ != State::kOpen) return;
  short what = paused_ ? 0 : EV_READ;
  if (!outbox_.empty()) what = static_cast<short>(what | EV_WRITE);
  watch_.Watch(what);
}

void UpstreamConnection::PauseReading(bool paused) {
  paused_ = paused;
  UpdateWatch();
}

void UpstreamConnection::ContinueHandshake() {
  switch (stream_.Handshake(/*as_client=*/true)) {
    case net::IoStatus::kOk:
      state_ = State::kOpen;
      UpdateWatch();
      if (owner_ != nullptr) owner_->OnConnected();
      return;
    case net::IoStatus::kAgain:
      watch_.Watch(stream_.wants_write() ? EV_WRITE : EV_READ);
      return;
    default:
      handshake_error_ = stream_.HandshakeError();
      Break();
      if (owner_ != nullptr) owner_->OnBroken();
  }
}

void UpstreamConnection::OnEvent(short what) {
  if (state_ == State::kConnecting) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      Break();
      if (owner_ != nullptr) owner_->OnBroken();
      return;
    }
    if (stream_.ssl() != nullptr) {
      state_ = State::kHandshaking;
      ContinueHandshake();
      return;
    }
    state_ = State::kOpen;
    UpdateWatch();
    if (owner_ != nullptr) owner_->OnConnected();
    return;
  }
  if (state_ == State::kHandshaking) {
    ContinueHandshake();
    return;
  }
  if ((what & EV_WRITE) != 0 && !outbox_.empty()) {
    const net::IoStatus status = outbox_.Flush(stream_);
    if (status == net::IoStatus::kError) {
      // The answer may have been sent before the connection broke: a server that refuses a large
      // body early does just that. Reading tells.
      outbox_.Clear();
    }
    UpdateWatch();
    if (outbox_.empty() && owner_ != nullptr) {
      owner_->OnDrained();
      return;  // what is readable is reported again
    }
  }
  if ((what & EV_READ) != 0) {
    if (owner_ != nullptr) {
      owner_->OnReadable();
    } else {
      server_->DropIdle(this);
    }
  }
}

bool UpstreamConnection::Send(std::span<const iovec> pieces, std::shared_ptr<const void> hold) {
  if (state_ != State::kOpen) return false;
  switch (outbox_.Send(stream_, pieces, std::move(hold))) {
    case net::IoStatus::kOk:
      return true;
    case net::IoStatus::kAgain:
      UpdateWatch();
      return true;
    default:
      return false;
  }
}

bool UpstreamConnection::IsSilent(bool now) const {
  if (watch_.due()) return false;
  if (!now && WasPolledIdle()) return true;
  char byte;
  const ssize_t n = recv(stream_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace satchel::proxy
