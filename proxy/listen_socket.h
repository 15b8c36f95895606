#pragma once

#include "cache/base/result.h"
#include "proxy/net/address.h"
#include "rules/config.h"

namespace satchel::proxy {

struct ListenSocket {
  int fd = -1;         // non-blocking, listening; the caller's to close
  net::Address bound;  // port 0 resolved
};

// Binds and listens. `shared`: SO_REUSEPORT, for one socket per worker. A unix socket's file that
// nobody listens on any more is removed first. The message names the address.
cache::Result<ListenSocket> OpenListenSocket(const rules::Endpoint& address, bool shared);

}  // namespace satchel::proxy
