// The origin of the comparison: one thread, epoll, keep-alive. It must be faster than every proxy
// before it, so that a miss measures the proxy.
//
//   origin_server PORT
//     /size/N            N bytes, fresh for a day
//     /object/K          object K of the Zipf set, 1 to 4 KiB
//     /delay/MS/size/N   the same after MS milliseconds
//     ?no-store  ?brief  Cache-Control of that answer (brief: max-age=1, stale-while-revalidate)
//     /count             how many requests came, those for /count left out
// Anything after N, and any other query, only makes URLs differ. Bytes from outside: a request
// head past 16 KiB closes the connection.
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <queue>
#include <vector>

#include "tests/bench/wire.h"

namespace satchel::bench {
namespace {

constexpr size_t kLargestHead = 16384;

struct Connection {
  int fd = -1;
  uint32_t serial = 0;  // tells a delayed answer that its connection is gone
  std::string in;
  std::string head;
  size_t body_bytes = 0;
  size_t sent = 0;
  bool busy = false;  // an answer is delayed or not fully sent
  bool close_after = false;
  bool wants_write = false;
};

struct Delayed {
  int64_t due_ns;
  int fd;
  uint32_t serial;
  bool operator>(const Delayed& other) const { return due_ns > other.due_ns; }
};

class Origin {
 public:
  explicit Origin(int port) : listener_(ListenOn(port)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    body_.assign(kLargestBody, 'x');
    epoll_event event{.events = EPOLLIN, .data = {.fd = listener_}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
  }

  void Run() {
    epoll_event events[256];
    for (;;) {
      const int ready = epoll_wait(epoll_, events, 256, WaitMs());
      if (ready < 0 && errno != EINTR) Die("epoll_wait");
      for (int i = 0; i < ready; ++i) {
        if (events[i].data.fd == listener_) {
          Accept();
        } else if (Connection& connection = connections_[static_cast<size_t>(events[i].data.fd)];
                   connection.fd >= 0) {
          if (connection.wants_write) {
            Send(connection);
          } else {
            Receive(connection);
          }
        }
      }
      ReleaseDelayed();
    }
  }

 private:
  int WaitMs() const {
    if (delayed_.empty()) return -1;
    const int64_t left = delayed_.top().due_ns - NowNs();
    return left <= 0 ? 0 : static_cast<int>((left + 999'999) / 1'000'000);
  }

  void ReleaseDelayed() {
    while (!delayed_.empty() && delayed_.top().due_ns <= NowNs()) {
      const Delayed next = delayed_.top();
      delayed_.pop();
      Connection& connection = connections_[static_cast<size_t>(next.fd)];
      if (connection.fd == next.fd && connection.serial == next.serial) Send(connection);
    }
  }

  void Accept() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      if (connections_.size() <= static_cast<size_t>(fd)) {
        connections_.resize(static_cast<size_t>(fd) * 2 + 64);
      }
      Connection& connection = connections_[static_cast<size_t>(fd)];
      connection = Connection{};
      connection.fd = fd;
      connection.serial = ++serial_;
      epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }
  }

  void Close(Connection& connection) {
    close(connection.fd);
    connection = Connection{};
  }

  void Receive(Connection& connection) {
    char buffer[kLargestHead];
    const ssize_t got = recv(connection.fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 || connection.in.size() + static_cast<size_t>(got) > 2 * kLargestHead) {
      Close(connection);
      return;
    }
    connection.in.append(buffer, static_cast<size_t>(got));
    Answer(connection);
  }

  void Answer(Connection& connection) {
    while (connection.fd >= 0 && !connection.busy) {
      const size_t end = connection.in.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (connection.in.size() > kLargestHead) Close(connection);
        return;
      }
      const std::string_view head(connection.in.data(), end + 2);
      const Target target = ParseTarget(PathOf(head));
      connection.close_after = WantsClose(head);
      connection.in.erase(0, end + 4);
      Compose(connection, target);
      connection.busy = true;
      if (target.delay_ms > 0) {
        delayed_.push(
            {NowNs() + int64_t{target.delay_ms} * 1'000'000, connection.fd, connection.serial});
        return;
      }
      Send(connection);
    }
  }

  void Compose(Connection& connection, const Target& target) {
    std::string text;
    if (target.is_count) text = std::to_string(count_) + "\n";
    if (!target.is_count) ++count_;
    const char* cache_control = target.is_count || target.no_store ? "no-store"
                                : target.brief ? "max-age=1, stale-while-revalidate=600"
                                               : "public, max-age=86400";
    connection.body_bytes = target.is_count ? 0 : target.body_bytes;
    connection.head = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: " + Date() +
                      "\r\nContent-Type: application/octet-stream\r\nContent-Length: " +
                      std::to_string(connection.body_bytes + text.size()) +
                      "\r\nCache-Control: " + cache_control +
                      (connection.close_after ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n") +
                      text;
    connection.sent = 0;
  }

  const std::string& Date() {
    if (const time_t now = time(nullptr); now != date_of_) {
      char buffer[64];
      tm parts{};
      gmtime_r(&now, &parts);
      strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts);
      date_ = buffer;
      date_of_ = now;
    }
    return date_;
  }

  void Send(Connection& connection) {
    const size_t head_bytes = connection.head.size();
    while (connection.sent < head_bytes + connection.body_bytes) {
      iovec parts[2];
      int used = 0;
      if (connection.sent < head_bytes) {
        parts[used++] = {connection.head.data() + connection.sent, head_bytes - connection.sent};
      }
      const size_t body_sent = connection.sent > head_bytes ? connection.sent - head_bytes : 0;
      if (connection.body_bytes > body_sent) {
        parts[used++] = {body_.data(), connection.body_bytes - body_sent};
      }
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = static_cast<size_t>(used);
      const ssize_t put = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
      if (put < 0 && errno == EAGAIN) {
        Watch(connection, true);
        return;
      }
      if (put < 0) {
        Close(connection);
        return;
      }
      connection.sent += static_cast<size_t>(put);
    }
    connection.busy = false;
    if (connection.close_after) {
      Close(connection);
      return;
    }
    const bool was_waiting = connection.wants_write;
    Watch(connection, false);
    if (was_waiting || !connection.in.empty()) Answer(connection);
  }

  void Watch(Connection& connection, bool write) {
    if (connection.wants_write == write) return;
    connection.wants_write = write;
    epoll_event event{.events = write ? EPOLLOUT : EPOLLIN, .data = {.fd = connection.fd}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
  }

  int listener_;
  int epoll_;
  uint32_t serial_ = 0;
  uint64_t count_ = 0;
  std::string body_;
  std::string date_;
  time_t date_of_ = 0;
  std::vector<Connection> connections_;
  std::priority_queue<Delayed, std::vector<Delayed>, std::greater<>> delayed_;
};

}  // namespace
}  // namespace satchel::bench

int main(int argc, char** argv) {
  if (argc != 2 || std::atoi(argv[1]) <= 0) {
    std::fprintf(stderr, "usage: origin_server PORT\n");
    return 2;
  }
  satchel::bench::Origin(std::atoi(argv[1])).Run();
}
