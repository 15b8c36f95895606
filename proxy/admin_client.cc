#include "proxy/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "proxy/net/address.h"

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxAnswer = size_t{64} << 20;

// A socket with one deadline for everything.
class Conversation {
 public:
  Conversation(int fd, Clock::time_point deadline) : fd_(fd), deadline_(deadline) {}
  ~Conversation() {
    if (fd_ >= 0) ::close(fd_);
  }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  bool Connect(const net::Address& address) {
    if (fd_ < 0) return false;
    if (::connect(fd_, address.raw(), address.size) == 0) return true;
    if (errno != EINPROGRESS || !Wait(POLLOUT)) return false;
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0;
  }

  bool Send(std::string_view data) {
    while (!data.empty()) {
      const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        data.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN ? !Wait(POLLOUT) : errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  bool ReadToEnd(std::string* out) {
    char buffer[16384];
    while (out->size() < kMaxAnswer) {
      const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
      if (n == 0) return true;
      if (n > 0) {
        out->append(buffer, static_cast<size_t>(n));
      } else if (errno == EAGAIN ? !Wait(POLLIN) : errno != EINTR) {
        return false;
      }
    }
    errno = EMSGSIZE;
    return false;
  }

 private:
  bool Wait(short what) {
    while (true) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
      pollfd entry{fd_, what, 0};
      const int ready = left <= 0 ? 0 : ::poll(&entry, 1, static_cast<int>(left));
      if (ready > 0) return true;
      if (ready == 0) {
        errno = ETIMEDOUT;
        return false;
      }
      if (errno != EINTR) return false;
    }
  }

  int fd_;
  Clock::time_point deadline_;
};

}  // namespace

Result<AdminAnswer> AskAdmin(const rules::Endpoint& address, std::string_view method,
                             std::string_view path, std::string_view token,
                             std::chrono::milliseconds patience, std::string_view body) {
  std::string host = address.host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  const bool is_unix = address.kind == rules::Endpoint::Kind::kUnix;
  const auto target = is_unix ? net::Address::Parse("unix:" + address.path)
                              : net::Address::FromIp(host, address.port);
  if (!target) return Fail(ErrorSource::kInternal, address.text + ": " + target.error().message);

  const int fd = ::socket(target->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  Conversation conversation(fd, Clock::now() + patience);
  std::string request(method);
  request += " ";
  request += path;
  request += " HTTP/1.1\r\nHost: " + (is_unix ? std::string("localhost") : target->ToString()) +
             "\r\nConnection: close\r\n";
  if (method == "POST") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  if (!token.empty()) request += "Authorization: Bearer " + std::string(token) + "\r\n";
  request += "\r\n";
  request += body;

  std::string text;
  if (!conversation.Connect(*target) || !conversation.Send(request) ||
      !conversation.ReadToEnd(&text)) {
    return Fail(ErrorSource::kInternal,
                "can't ask " + target->ToString() + ": " + std::strerror(errno));
  }
  AdminAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  const bool parsed =
      text.starts_with("HTTP/1.1 ") && end != std::string::npos &&
      std::from_chars(text.data() + 9, text.data() + 12, answer.status).ec == std::errc();
  if (!parsed) {
    return Fail(ErrorSource::kInternal, target->ToString() + " does not answer as Satchel does");
  }
  answer.body = text.substr(end + 4);
  return answer;
}

}  // namespace satchel::proxy
