#include "tests/support/net_io.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace satchel::testing {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  int family = AF_UNSPEC;
};

bool Parse(const std::string& address, SocketAddress* out) {
  if (address.starts_with("unix:")) {
    std::string path = address.substr(5);
    auto* un = reinterpret_cast<sockaddr_un*>(&out->storage);
    if (path.empty() || path.size() >= sizeof(un->sun_path)) return false;
    un->sun_family = AF_UNIX;
    std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
    out->size = sizeof(sockaddr_un);
    out->family = AF_UNIX;
    return true;
  }
  size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) return false;
  std::memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
  out->size = found->ai_addrlen;
  out->family = found->ai_family;
  freeaddrinfo(found);
  return true;
}

IoStatus FromErrno() {
  return errno == ECONNRESET || errno == EPIPE ? IoStatus::kReset : IoStatus::kError;
}

}  // namespace

const char* Name(IoStatus status) {
  switch (status) {
    case IoStatus::kOk:
      return "ok";
    case IoStatus::kEof:
      return "end of stream";
    case IoStatus::kTimeout:
      return "deadline passed";
    case IoStatus::kReset:
      return "connection reset";
    case IoStatus::kError:
      return "socket error";
  }
  return "?";
}

int Deadline::MillisLeft() const {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(at_ - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1'000'000'000));
}

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

UniqueFd ConnectTo(const std::string& address, Deadline deadline, int receive_buffer) {
  SocketAddress to;
  if (!Parse(address, &to)) return UniqueFd();
  UniqueFd fd(::socket(to.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return UniqueFd();
  if (receive_buffer > 0) {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  }
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to.storage), to.size) != 0) {
    if (errno != EINPROGRESS || !WaitFor(fd.get(), POLLOUT, deadline)) return UniqueFd();
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return UniqueFd();
  }
  int one = 1;
  if (to.family != AF_UNIX) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

UniqueFd ListenOn(const std::string& address) {
  SocketAddress at;
  if (!Parse(address, &at)) return UniqueFd();
  UniqueFd fd(::socket(at.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int one = 1;
  if (at.family == AF_UNIX) {
    ::unlink(address.c_str() + 5);
  } else {
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
  }
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at.storage), at.size) != 0 ||
      ::listen(fd.get(), 1024) != 0) {
    return UniqueFd();
  }
  return fd;
}

uint16_t BoundPort(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
  }
  if (storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port);
  }
  return 0;
}

bool WaitFor(int fd, short events, Deadline deadline, int wake_fd) {
  while (true) {
    pollfd waits[2] = {{fd, events, 0}, {wake_fd, POLLIN, 0}};
    int ready = ::poll(waits, wake_fd >= 0 ? 2 : 1, deadline.MillisLeft());
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    if (wake_fd >= 0 && waits[1].revents != 0) return false;
    return true;
  }
}

IoStatus SendAll(int fd, std::string_view bytes, Deadline deadline, int wake_fd) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!WaitFor(fd, POLLOUT, deadline, wake_fd)) return IoStatus::kTimeout;
    } else if (sent < 0 && errno != EINTR) {
      return FromErrno();
    }
  }
  return IoStatus::kOk;
}

bool Delivered(int fd) {
  int unacknowledged = -1;
  return ioctl(fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0;
}

void ResetConnection(UniqueFd* fd) {
  if (!*fd) return;
  linger now{1, 0};
  ::setsockopt(fd->get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  fd->Reset();
}

PortReservation::PortReservation(const std::string& host) : host_(host) {
  SocketAddress at;
  if (!Parse(host + ":0", &at)) return;
  fd_.Reset(::socket(at.family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int one = 1;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&at.storage), at.size) == 0) {
    port_ = BoundPort(fd_.get());
  }
}

std::string PortReservation::address() const { return host_ + ":" + std::to_string(port_); }

IoStatus ByteReader::Fill(Deadline deadline, size_t at_most) {
  while (true) {
    if (!WaitFor(fd_, POLLIN, deadline, wake_fd_)) return IoStatus::kTimeout;
    if (start_ > 0) {
      buffer_.erase(0, start_);
      start_ = 0;
    }
    size_t old = buffer_.size();
    buffer_.resize(old + at_most);
    ssize_t got = ::recv(fd_, buffer_.data() + old, at_most, MSG_DONTWAIT);
    int error = errno;
    buffer_.resize(old + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got > 0) return IoStatus::kOk;
    if (got == 0) return IoStatus::kEof;
    errno = error;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) continue;
    return FromErrno();
  }
}

void ByteReader::Consume(size_t count) { start_ = std::min(start_ + count, buffer_.size()); }

std::string ByteReader::Take(size_t count) {
  std::string bytes(buffered().substr(0, count));
  Consume(count);
  return bytes;
}

std::string Pattern(uint64_t offset, size_t size, unsigned seed) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    uint64_t at = offset + i;
    // Not periodic in any power of two, so that a lost or doubled block shows.
    bytes[i] = static_cast<char>('!' + (at * 7 + at / 251 + at / 65521 + seed) % 90);
  }
  return bytes;
}

}  // namespace satchel::testing
