// What the three programs of the comparison share: which object a path names, a listening socket,
// and the clock. Header-only, Linux only; none of it is part of the proxy.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace satchel::bench {

// A path of the form /delay/MS/size/N/anything?flags or /object/K. Parts it does not know are
// only there to make URLs differ.
struct Target {
  uint64_t body_bytes = 0;
  uint64_t object = 0;
  int delay_ms = 0;
  bool is_object = false;
  bool is_count = false;
  bool no_store = false;
  bool brief = false;  // fresh for one second, then stale-while-revalidate
};

inline constexpr uint64_t kLargestBody = 16u << 20;

// Size in bytes of object `k`: 1 to 4 KiB, the same in every program and every run.
inline uint64_t ObjectSize(uint64_t k) {
  uint64_t x = (k + 1) * 0x9E3779B97F4A7C15u;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9u;
  x ^= x >> 32;
  return 1024 + x % 3073;
}

inline uint64_t TakeNumber(std::string_view* text) {
  uint64_t number = 0;
  while (!text->empty() && text->front() >= '0' && text->front() <= '9') {
    if (number < (uint64_t{1} << 40))
      number = number * 10 + static_cast<uint64_t>(text->front() - '0');
    text->remove_prefix(1);
  }
  return number;
}

inline bool TakePrefix(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

inline Target ParseTarget(std::string_view path) {
  Target target;
  if (const size_t mark = path.find('?'); mark != std::string_view::npos) {
    const std::string_view query = path.substr(mark);
    target.no_store = query.find("no-store") != std::string_view::npos;
    target.brief = query.find("brief") != std::string_view::npos;
    path = path.substr(0, mark);
  }
  if (TakePrefix(&path, "/delay/")) target.delay_ms = static_cast<int>(TakeNumber(&path) % 60000);
  if (TakePrefix(&path, "/size/")) {
    target.body_bytes = TakeNumber(&path);
  } else if (TakePrefix(&path, "/object/")) {
    target.is_object = true;
    target.object = TakeNumber(&path);
    target.body_bytes = ObjectSize(target.object);
  } else if (path == "/count") {
    target.is_count = true;
  }
  if (target.body_bytes > kLargestBody) target.body_bytes = kLargestBody;
  return target;
}

// The second word of a request line, or nothing.
inline std::string_view PathOf(std::string_view head) {
  const size_t first = head.find(' ');
  if (first == std::string_view::npos) return {};
  const size_t second = head.find(' ', first + 1);
  if (second == std::string_view::npos) return {};
  return head.substr(first + 1, second - first - 1);
}

inline bool WantsClose(std::string_view head) {
  return head.find("onnection: close") != std::string_view::npos;
}

[[noreturn]] inline void Die(const char* what) {
  std::perror(what);
  std::exit(1);
}

// Loopback only. TCP_NODELAY is inherited by what is accepted.
inline int ListenOn(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0) Die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Die("bind");
  if (listen(fd, 4096) != 0) Die("listen");
  return fd;
}

inline int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace satchel::bench
