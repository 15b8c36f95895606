#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cache/base/result.h"

namespace satchel::redis {

struct ServerAddress {
  std::string host{};  // name or IP literal; "unix:/path" for a unix socket
  uint16_t port = 6379;

  bool operator==(const ServerAddress&) const = default;
  auto operator<=>(const ServerAddress&) const = default;
  std::string ToString() const;  // "host:port", "[::1]:port", "unix:/path"
};

// Tells where the server is now, if that is not written in the configuration. Owner thread only.
class Locator {
 public:
  using Done = std::function<void(cache::Result<ServerAddress>)>;
  // Cancels when destroyed: then Done never runs.
  class Pending {
   public:
    virtual ~Pending() = default;
  };

  virtual ~Locator() = default;
  // Bounded in time by itself. Done runs after the call has returned.
  [[nodiscard]] virtual std::unique_ptr<Pending> Locate(Done done) = 0;
};

}  // namespace satchel::redis
