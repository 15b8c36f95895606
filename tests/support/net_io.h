#pragma once

// Blocking sockets with deadlines for the tests. Nothing here uses the code under test.

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace satchel::testing {

// How long a test waits for something that must happen.
inline constexpr std::chrono::milliseconds kPatience{15000};

class Deadline {
 public:
  static Deadline In(std::chrono::milliseconds wait) {
    return Deadline(std::chrono::steady_clock::now() + wait);
  }
  // For poll(): rounded up, 0 once passed.
  int MillisLeft() const;
  bool Passed() const { return std::chrono::steady_clock::now() >= at_; }

 private:
  explicit Deadline(std::chrono::steady_clock::time_point at) : at_(at) {}
  std::chrono::steady_clock::time_point at_;
};

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

enum class IoStatus { kOk, kEof, kTimeout, kReset, kError };
const char* Name(IoStatus status);

// An address as the configuration writes it: "127.0.0.1:80", "[::1]:80" or "unix:/path".
UniqueFd ConnectTo(const std::string& address, Deadline deadline, int receive_buffer = 0);
// Listens; port 0 lets the kernel choose. An invalid descriptor on failure.
UniqueFd ListenOn(const std::string& address);
uint16_t BoundPort(int fd);

// True when one of `events` is ready. False at the deadline or when wake_fd turns readable.
bool WaitFor(int fd, short events, Deadline deadline, int wake_fd = -1);

IoStatus SendAll(int fd, std::string_view bytes, Deadline deadline, int wake_fd = -1);

// True when the peer's kernel has all that was sent: it is in the peer's socket, read or not.
bool Delivered(int fd);

// Ends the connection with a RST.
void ResetConnection(UniqueFd* fd);

// Keeps a port for one test: bound, never listening, with SO_REUSEPORT, so that the process under
// test can listen on it while nobody else is given it.
class PortReservation {
 public:
  explicit PortReservation(const std::string& host = "127.0.0.1");
  uint16_t port() const { return port_; }
  std::string address() const;

 private:
  std::string host_;
  UniqueFd fd_;
  uint16_t port_ = 0;
};

// The bytes of one peer, in order.
class ByteReader {
 public:
  ByteReader() = default;
  explicit ByteReader(int fd, int wake_fd = -1) : fd_(fd), wake_fd_(wake_fd) {}

  // Reads at least one more byte.
  IoStatus Fill(Deadline deadline, size_t at_most = 256 * 1024);
  std::string_view buffered() const { return std::string_view(buffer_).substr(start_); }
  void Consume(size_t count);
  std::string Take(size_t count);
  int wake_fd() const { return wake_fd_; }

 private:
  int fd_ = -1;
  int wake_fd_ = -1;
  std::string buffer_;
  size_t start_ = 0;
};

// A body whose byte at each offset is known, so that nobody need keep it.
std::string Pattern(uint64_t offset, size_t size, unsigned seed = 0);

}  // namespace satchel::testing
