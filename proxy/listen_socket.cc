#include "proxy/listen_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;

constexpr int kBacklog = 1024;

// A program that was killed leaves its socket's file behind, and bind() would refuse for ever.
void RemoveDeadSocket(const std::string& path, const net::Address& address) {
  struct stat info;
  if (path.starts_with('@') || ::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  if (::connect(fd, address.raw(), address.size) != 0 && errno == ECONNREFUSED) {
    ::unlink(path.c_str());
  }
  ::close(fd);
}

}  // namespace

Result<ListenSocket> OpenListenSocket(const rules::Endpoint& address, bool shared) {
  const bool is_unix = address.kind == rules::Endpoint::Kind::kUnix;
  const auto parsed = is_unix ? net::Address::Parse("unix:" + address.path)
                              : net::Address::FromIp(address.host, address.port);
  if (!parsed) return Fail(ErrorSource::kInternal, address.text + ": " + parsed.error().message);
  if (is_unix) RemoveDeadSocket(address.path, *parsed);

  ListenSocket socket;
  socket.fd = ::socket(parsed->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  bool ok = socket.fd >= 0;
  if (ok && !is_unix) {
    ok = ::setsockopt(socket.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
         (!shared || ::setsockopt(socket.fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0);
  }
  ok = ok && ::bind(socket.fd, parsed->raw(), parsed->size) == 0 &&
       ::listen(socket.fd, kBacklog) == 0;
  socket.bound.size = sizeof(socket.bound.storage);
  ok = ok && ::getsockname(socket.fd, socket.bound.raw(), &socket.bound.size) == 0;
  if (!ok) {
    const std::string why = std::strerror(errno);
    if (socket.fd >= 0) ::close(socket.fd);
    return Fail(ErrorSource::kInternal, "can't listen on " + address.text + ": " + why);
  }
  return socket;
}

}  // namespace satchel::proxy
