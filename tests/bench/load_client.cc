// Load of the comparison where wrk will not do: exact request counts, each URL once, Zipf, a
// connection per request, a herd, idle connections. One thread, epoll.
//
//   load_client PORT PATH [options]
//     --connections N   default 64
//     --ms N            how long requests are started (default 1000)
//     --count N         that many requests instead
//     --sequence BASE   appends BASE, BASE+1, ... to PATH: each URL once
//     --zipf N          appends numbers below N to PATH, drawn by Zipf's law with exponent 1;
//                       the same sequence in every run
//     --close           a connection per request
//     --burst           every connection asks once, all at the same moment
//     --warm PATH       first request of each connection, not measured
//
// Connects, sends the warm-up requests, prints "ready", waits for a line on stdin, runs, prints
// "done", then one line of JSON: requests, errors (connection failed or cut, status not 200),
// seconds, bytes of bodies, p50_us, p99_us, max_us. So a reader can take the server's CPU time at
// both marks. With --ms 0 it is a crowd of idle connections until stdin ends.
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <vector>

#include "tests/bench/wire.h"

namespace satchel::bench {
namespace {

struct Options {
  int port = 0;
  std::string path;
  std::string warm;
  int connections = 64;
  int64_t ms = 1000;
  uint64_t count = 0;
  bool sequence = false;
  uint64_t base = 0;
  uint64_t zipf = 0;
  bool close = false;
  bool burst = false;
};

// Reads one response however it is cut into pieces. Knows Content-Length, chunked, and a body
// that ends with the connection.
class ResponseReader {
 public:
  void Reset() { *this = ResponseReader{}; }
  bool done() const { return done_; }
  bool ok() const { return ok_; }
  uint64_t body_bytes() const { return body_bytes_; }

  // Bytes of one response only: the client never pipelines.
  void Feed(std::string_view bytes) {
    if (!in_body_) {
      std::string_view text = bytes;
      if (!head_.empty()) {
        head_.append(bytes);
        text = head_;
      }
      const size_t end = text.find("\r\n\r\n");
      if (end == std::string_view::npos) {
        if (head_.empty()) head_.assign(bytes);
        return;
      }
      ReadHead(text.substr(0, end + 2));
      in_body_ = true;
      Body(text.substr(end + 4));
      head_.clear();
      return;
    }
    Body(bytes);
  }

  void End() {
    if (in_body_ && until_close_) done_ = true;
  }

 private:
  void ReadHead(std::string_view head) {
    ok_ = head.size() > 12 && head.substr(8, 4) == " 200";
    until_close_ = true;
    for (size_t at = head.find("\r\n"); at + 2 < head.size(); at = head.find("\r\n", at + 2)) {
      const std::string_view line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
      if (line.size() > 16 && strncasecmp(line.data(), "content-length:", 15) == 0) {
        std::string_view number = line.substr(15);
        while (number.starts_with(' ')) number.remove_prefix(1);
        left_ = TakeNumber(&number);
        until_close_ = false;
      } else if (line.size() > 25 &&
                 strncasecmp(line.data(), "transfer-encoding: chunked", 26) == 0) {
        chunked_ = true;
        until_close_ = false;
      }
    }
  }

  void Body(std::string_view bytes) {
    if (chunked_) {
      for (const char c : bytes) Chunked(c);
    } else {
      body_bytes_ += bytes.size();
      if (!until_close_) {
        left_ -= std::min<uint64_t>(left_, bytes.size());
        done_ = left_ == 0;
      }
    }
  }

  // Size line, data with its CRLF, then trailers up to an empty line.
  void Chunked(char c) {
    if (left_ > 0) {
      --left_;
      if (left_ >= 2) ++body_bytes_;
    } else if (c != '\n') {
      if (c != '\r') line_.push_back(c);
    } else if (last_chunk_) {
      done_ = line_.empty();
      line_.clear();
    } else {
      std::from_chars(line_.data(), line_.data() + line_.size(), left_, 16);
      line_.clear();
      last_chunk_ = left_ == 0;
      if (left_ > 0) left_ += 2;
    }
  }

  std::string head_;
  std::string line_;
  uint64_t left_ = 0;
  uint64_t body_bytes_ = 0;
  bool in_body_ = false;
  bool chunked_ = false;
  bool until_close_ = false;
  bool last_chunk_ = false;
  bool ok_ = false;
  bool done_ = false;
};

struct Connection {
  int fd = -1;
  int64_t sent_at = 0;
  bool waiting = false;
  ResponseReader reader;
};

class Client {
 public:
  explicit Client(Options options) : options_(std::move(options)), epoll_(epoll_create1(0)) {
    connections_.resize(static_cast<size_t>(options_.connections));
    buffer_.resize(1 << 18);
    times_.reserve(1 << 20);
    if (options_.zipf > 0) DrawZipf();
  }

  int Run() {
    if (!options_.close) {
      for (Connection& connection : connections_) Connect(connection);
      if (!options_.warm.empty()) WarmUp();
    }
    std::puts("ready");
    std::fflush(stdout);
    if (char line[16]; std::fgets(line, sizeof line, stdin) == nullptr) return 0;
    Measure();
    std::puts("done");
    Report();
    return 0;
  }

 private:
  void DrawZipf() {
    std::vector<double> upto(options_.zipf);
    double sum = 0;
    for (uint64_t k = 0; k < options_.zipf; ++k) upto[k] = sum += 1.0 / static_cast<double>(k + 1);
    uint64_t state = 88172645463325252u;
    drawn_.resize(1 << 20);
    for (uint32_t& number : drawn_) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      const double at = static_cast<double>(state >> 11) * 0x1.0p-53 * sum;
      number = static_cast<uint32_t>(std::upper_bound(upto.begin(), upto.end(), at) - upto.begin());
    }
  }

  void Connect(Connection& connection) {
    const size_t index = static_cast<size_t>(&connection - connections_.data());
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) Die("socket");
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // Several source addresses, so that ports in TIME_WAIT do not run out.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + static_cast<uint32_t>(index % 64));
    bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(options_.port));
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      close(fd);
      ++errors_;
      if (errors_ > 1000) Die("connect");
      return;
    }
    epoll_event event{.events = EPOLLIN, .data = {.u64 = index}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    connection.fd = fd;
    connection.waiting = false;
    connection.reader.Reset();
  }

  void Drop(Connection& connection) {
    close(connection.fd);
    connection.fd = -1;
    if (connection.waiting) --outstanding_;
    connection.waiting = false;
  }

  bool Ask(Connection& connection, const std::string& path) {
    request_ = "GET ";
    request_ += path;
    request_ += options_.close && measuring_
                    ? " HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
                    : " HTTP/1.1\r\nHost: bench.test\r\n\r\n";
    connection.sent_at = NowNs();
    if (send(connection.fd, request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size())) {
      ++errors_;
      Drop(connection);
      return false;
    }
    connection.waiting = true;
    ++outstanding_;
    return true;
  }

  const std::string& NextPath() {
    if (!options_.sequence && options_.zipf == 0) return options_.path;
    path_ = options_.path;
    path_ += std::to_string(options_.sequence ? options_.base + started_
                                              : drawn_[started_ % drawn_.size()]);
    return path_;
  }

  bool MayStart() const {
    if (!measuring_) return false;
    if (options_.burst) return false;
    if (options_.count > 0) return started_ < options_.count;
    return NowNs() < deadline_;
  }

  void StartNext(Connection& connection) {
    if (!MayStart()) return;
    if (connection.fd < 0) {
      const int64_t begun = NowNs();
      Connect(connection);
      if (connection.fd < 0) return;
      if (Ask(connection, NextPath())) connection.sent_at = begun;
    } else {
      Ask(connection, NextPath());
    }
    ++started_;
  }

  void Turn() {
    epoll_event events[256];
    const int ready = epoll_wait(epoll_, events, 256, 100);
    for (int i = 0; i < ready; ++i) Receive(connections_[events[i].data.u64]);
  }

  void Receive(Connection& connection) {
    if (connection.fd < 0) return;
    const ssize_t got = recv(connection.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      connection.reader.End();
      if (connection.waiting && connection.reader.done()) Complete(connection);
      if (connection.waiting) ++errors_;
      Drop(connection);
      StartNext(connection);
      return;
    }
    connection.reader.Feed({buffer_.data(), static_cast<size_t>(got)});
    if (!connection.waiting || !connection.reader.done()) return;
    Complete(connection);
    // With --close the next request waits for the server's end of stream.
    if (!options_.close) StartNext(connection);
  }

  void Complete(Connection& connection) {
    if (measuring_) {
      times_.push_back(static_cast<uint32_t>(
          std::min<int64_t>((NowNs() - connection.sent_at) / 100, UINT32_MAX)));
      body_bytes_ += connection.reader.body_bytes();
    }
    if (!connection.reader.ok()) ++errors_;
    connection.reader.Reset();
    connection.waiting = false;
    --outstanding_;
  }

  void WarmUp() {
    for (Connection& connection : connections_) {
      if (connection.fd >= 0) Ask(connection, options_.warm);
      while (outstanding_ >= 64) Turn();  // no burst on a crowd of thousands
    }
    for (const int64_t give_up = NowNs() + 5'000'000'000; outstanding_ > 0 && NowNs() < give_up;) {
      Turn();
    }
  }

  void Measure() {
    measuring_ = true;
    began_ = NowNs();
    deadline_ = began_ + options_.ms * 1'000'000;
    if (options_.burst) {
      for (Connection& connection : connections_) {
        if (connection.fd >= 0) Ask(connection, NextPath());
        ++started_;
      }
    } else {
      for (Connection& connection : connections_) StartNext(connection);
    }
    // A server that stops answering ends the run instead of holding it.
    int64_t give_up = NowNs() + 5'000'000'000 + options_.ms * 1'000'000;
    for (uint64_t seen = 0; outstanding_ > 0 || (options_.close && MayStart());) {
      Turn();
      if (times_.size() != seen) {
        seen = times_.size();
        give_up = std::max(give_up, NowNs() + 5'000'000'000);
      } else if (NowNs() > give_up) {
        errors_ += outstanding_;
        break;
      }
    }
    ended_ = NowNs();
  }

  double Percentile(double part) {
    if (times_.empty()) return 0;
    const size_t last = times_.size() - 1;
    const size_t at =
        std::min(last, static_cast<size_t>(part * static_cast<double>(times_.size())));
    std::nth_element(times_.begin(), times_.begin() + static_cast<std::ptrdiff_t>(at),
                     times_.end());
    return times_[at] / 10.0;
  }

  void Report() {
    std::printf(
        "{\"requests\": %zu, \"errors\": %llu, \"seconds\": %.6f, \"bytes\": %llu, "
        "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
        times_.size(), static_cast<unsigned long long>(errors_),
        static_cast<double>(ended_ - began_) / 1e9, static_cast<unsigned long long>(body_bytes_),
        Percentile(0.50), Percentile(0.99), Percentile(1.0));
  }

  Options options_;
  int epoll_;
  std::vector<Connection> connections_;
  std::vector<char> buffer_;
  std::vector<uint32_t> drawn_;
  std::vector<uint32_t> times_;  // tenths of a microsecond
  std::string request_;
  std::string path_;
  uint64_t started_ = 0;
  uint64_t outstanding_ = 0;
  uint64_t errors_ = 0;
  uint64_t body_bytes_ = 0;
  int64_t began_ = 0;
  int64_t ended_ = 0;
  int64_t deadline_ = 0;
  bool measuring_ = false;
};

bool ParseOptions(int argc, char** argv, Options* options) {
  if (argc < 3) return false;
  options->port = std::atoi(argv[1]);
  if (options->port <= 0) return false;
  options->path = argv[2];
  for (int i = 3; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--close") {
      options->close = true;
      continue;
    }
    if (name == "--burst") {
      options->burst = true;
      continue;
    }
    if (++i == argc) return false;
    const uint64_t number = std::strtoull(argv[i], nullptr, 10);
    if (name == "--connections") {
      options->connections = static_cast<int>(std::clamp<uint64_t>(number, 1, 100'000));
    } else if (name == "--ms") {
      options->ms = static_cast<int64_t>(number);
    } else if (name == "--count") {
      options->count = number;
    } else if (name == "--sequence") {
      options->sequence = true;
      options->base = number;
    } else if (name == "--zipf") {
      options->zipf = number;
    } else if (name == "--warm") {
      options->warm = argv[i];
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace satchel::bench

int main(int argc, char** argv) {
  satchel::bench::Options options;
  if (!satchel::bench::ParseOptions(argc, argv, &options)) {
    std::fprintf(stderr, "usage: see the head of load_client.cc\n");
    return 2;
  }
  return satchel::bench::Client(std::move(options)).Run();
}
