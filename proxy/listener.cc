#include "proxy/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "proxy/client_connection.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kRetryMs = 50;

}  // namespace

Listener::Listener(Worker& worker, int fd, net::Address bound, rules::Listener config,
                   std::shared_ptr<net::ServerTls> tls)
    : worker_(worker),
      fd_(fd),
      bound_(bound),
      config_(std::make_shared<rules::Listener>(std::move(config))),
      tls_(std::move(tls)),
      retry_([this] { watch_.Watch(EV_READ); }) {
  if (bound_.is_ip()) {
    // Set on the listening socket, each accepted one inherits it.
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
}

Listener::~Listener() {
  watch_.Stop();
  close(fd_);
}

void Listener::Start() {
  watch_.Start(
      worker_.loop(), fd_, EV_READ,
      [](int, short, void* self) { static_cast<Listener*>(self)->OnReadable(); }, this);
}

void Listener::Update(rules::Listener config, std::shared_ptr<net::ServerTls> tls) {
  config_ = std::make_shared<rules::Listener>(std::move(config));
  tls_ = std::move(tls);
}

void Listener::Pause() {
  watch_.Watch(0);
  worker_.loop().SetTimer(retry_, kRetryMs);
}

void Listener::OnReadable() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    if (!worker_.HasRoomFor(*this)) {
      // The rest waits in the kernel's queue until a connection ends.
      Add(worker_.metrics().bounds, Bound::kConnections);
      Pause();
      return;
    }
    sockaddr_storage peer;
    socklen_t size = sizeof peer;
    const int fd = accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      Add(worker_.metrics().accept_errors);
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        Add(worker_.metrics().bounds, Bound::kDescriptors);
      }
      Pause();
      return;
    }
    SSL* ssl = nullptr;
    if (tls_) {
      ssl = tls_->NewSession(fd);
      if (ssl == nullptr) {
        close(fd);
        continue;
      }
    }
    const auto connection = std::make_shared<ClientConnection>(
        worker_, config_, net::Stream(fd, ssl),
        net::Address::From(reinterpret_cast<const sockaddr*>(&peer), size));
    worker_.Adopt(connection);
    connection->Start();
  }
}

}  // namespace satchel::proxy
