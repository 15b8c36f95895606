// The floor `limit`: what one core can do on this kernel when nothing is decided. Bare epoll, one
// recv and one send per request, every answer built before the first connection. No proxy that
// uses sockets gets below it, so CPU per request over its own tells what a proxy adds.
//
//   limit_server PORT OBJECTS [TLS_PORT CERTIFICATE KEY]
//     answers /size/N for the sizes of the comparison, and /object/K for K < OBJECTS
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "tests/bench/wire.h"

namespace satchel::bench {
namespace {

constexpr uint64_t kSizes[] = {100, 1024, 10240, 102400, 1048576};
constexpr int kListener = 0;
constexpr int kTlsListener = 1;

std::string BuildAnswer(uint64_t body_bytes, bool close_after) {
  std::string answer =
      "HTTP/1.1 200 OK\r\nServer: limit\r\nDate: Sat, 01 Jan 2028 00:00:00 GMT\r\n"
      "Content-Type: application/octet-stream\r\nContent-Length: " +
      std::to_string(body_bytes) + "\r\nCache-Control: public, max-age=86400\r\nAge: 1\r\n" +
      (close_after ? "Connection: close\r\n\r\n" : "\r\n");
  answer.append(body_bytes, 'x');
  return answer;
}

struct SslDelete {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

struct Connection {
  int fd = -1;
  std::unique_ptr<SSL, SslDelete> ssl;
  const std::string* answer = nullptr;
  size_t sent = 0;
  bool close_after = false;
  bool wants_write = false;
};

class Limit {
 public:
  Limit(int port, uint64_t objects) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (const uint64_t size : kSizes) {
      by_size_.push_back(BuildAnswer(size, false));
      by_size_close_.push_back(BuildAnswer(size, true));
    }
    objects_.reserve(objects);
    for (uint64_t k = 0; k < objects; ++k) objects_.push_back(BuildAnswer(ObjectSize(k), false));
    listeners_[kListener] = Watch(ListenOn(port));
  }

  void AddTls(int port, const char* certificate, const char* key) {
    context_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(context_, TLS1_3_VERSION);
    if (SSL_CTX_use_certificate_chain_file(context_, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context_, key, SSL_FILETYPE_PEM) != 1) {
      std::fprintf(stderr, "limit_server: cannot use the certificate\n");
      std::exit(1);
    }
    listeners_[kTlsListener] = Watch(ListenOn(port));
  }

  void Run() {
    epoll_event events[256];
    for (;;) {
      const int ready = epoll_wait(epoll_, events, 256, -1);
      if (ready < 0 && errno != EINTR) Die("epoll_wait");
      for (int i = 0; i < ready; ++i) Handle(events[i].data.fd);
    }
  }

 private:
  int Watch(int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    return fd;
  }

  void Handle(int fd) {
    if (fd == listeners_[kListener] || fd == listeners_[kTlsListener]) {
      Accept(fd, fd == listeners_[kTlsListener]);
      return;
    }
    Connection& connection = connections_[static_cast<size_t>(fd)];
    if (connection.fd < 0) return;
    if (connection.wants_write) {
      Send(connection);
    } else if (connection.ssl) {
      ReceiveTls(connection);
    } else {
      char buffer[4096];
      const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got > 0) {
        Answer(connection, {buffer, static_cast<size_t>(got)});
      } else if (got == 0 || errno != EAGAIN) {
        Close(connection);
      }
    }
  }

  void Accept(int listener, bool tls) {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      if (connections_.size() <= static_cast<size_t>(fd)) {
        connections_.resize(static_cast<size_t>(fd) * 2 + 64);
      }
      Connection& connection = connections_[static_cast<size_t>(fd)];
      connection = Connection{};
      connection.fd = fd;
      if (tls) {
        connection.ssl.reset(SSL_new(context_));
        SSL_set_fd(connection.ssl.get(), fd);
        SSL_set_accept_state(connection.ssl.get());
      }
      Watch(fd);
    }
  }

  void Close(Connection& connection) {
    connection.ssl.reset();
    close(connection.fd);
    connection = Connection{};
  }

  void ReceiveTls(Connection& connection) {
    char buffer[4096];
    const int got = SSL_read(connection.ssl.get(), buffer, sizeof buffer);
    if (got > 0) {
      Answer(connection, {buffer, static_cast<size_t>(got)});
    } else if (SSL_get_error(connection.ssl.get(), got) != SSL_ERROR_WANT_READ) {
      Close(connection);
    }
  }

  // The client sends one short request at a time, so a request is one recv; a client that does
  // otherwise is cut off.
  void Answer(Connection& connection, std::string_view head) {
    const Target target = ParseTarget(PathOf(head));
    connection.close_after = WantsClose(head);
    connection.answer = nullptr;
    if (target.is_object && target.object < objects_.size()) {
      connection.answer = &objects_[target.object];
    } else {
      const std::vector<std::string>& answers = connection.close_after ? by_size_close_ : by_size_;
      for (size_t i = 0; i < answers.size(); ++i) {
        if (kSizes[i] == target.body_bytes) connection.answer = &answers[i];
      }
    }
    if (!head.ends_with("\r\n\r\n") || connection.answer == nullptr) {
      Close(connection);
      return;
    }
    connection.sent = 0;
    Send(connection);
  }

  void Send(Connection& connection) {
    while (connection.sent < connection.answer->size()) {
      const char* from = connection.answer->data() + connection.sent;
      const size_t left = connection.answer->size() - connection.sent;
      ssize_t put;
      bool again;
      if (connection.ssl) {
        put = SSL_write(connection.ssl.get(), from, static_cast<int>(left));
        again = put <= 0 &&
                SSL_get_error(connection.ssl.get(), static_cast<int>(put)) == SSL_ERROR_WANT_WRITE;
      } else {
        put = send(connection.fd, from, left, MSG_NOSIGNAL);
        again = put < 0 && errno == EAGAIN;
      }
      if (again) {
        WaitFor(connection, true);
        return;
      }
      if (put <= 0) {
        Close(connection);
        return;
      }
      connection.sent += static_cast<size_t>(put);
    }
    if (connection.close_after) {
      Close(connection);
    } else {
      WaitFor(connection, false);
    }
  }

  void WaitFor(Connection& connection, bool write) {
    if (connection.wants_write == write) return;
    connection.wants_write = write;
    epoll_event event{.events = write ? EPOLLOUT : EPOLLIN, .data = {.fd = connection.fd}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
  }

  int epoll_;
  int listeners_[2] = {-1, -1};
  SSL_CTX* context_ = nullptr;
  std::vector<std::string> by_size_;
  std::vector<std::string> by_size_close_;
  std::vector<std::string> objects_;
  std::vector<Connection> connections_;
};

}  // namespace
}  // namespace satchel::bench

int main(int argc, char** argv) {
  if ((argc != 3 && argc != 6) || std::atoi(argv[1]) <= 0) {
    std::fprintf(stderr, "usage: limit_server PORT OBJECTS [TLS_PORT CERTIFICATE KEY]\n");
    return 2;
  }
  satchel::bench::Limit limit(std::atoi(argv[1]), std::strtoull(argv[2], nullptr, 10));
  if (argc == 6) limit.AddTls(std::atoi(argv[3]), argv[4], argv[5]);
  limit.Run();
}
