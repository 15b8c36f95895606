#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/base/result.h"
#include "proxy/doctor_findings.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/link.h"

namespace satchel::proxy {

// One connection to one Redis, for a command line that may wait: each call turns the loop until it
// is answered or the patience is over.
class RedisSession {
 public:
  RedisSession(net::EventLoop& loop, net::Resolver& resolver, redis::Link::Options options);

  // Empty: connected. Else the first reason why not.
  std::string Open();
  cache::Result<redis::Reply> Ask(redis::Command command);
  // All in one write.
  std::vector<cache::Result<redis::Reply>> AskAll(std::vector<redis::Command> commands);
  // The last thing to be done: the answer to SUBSCRIBE.
  std::optional<redis::Reply> Subscribe(const std::string& channel);
  // Of the greeting.
  std::optional<int64_t> clock_offset_us() const { return clock_offset_us_; }

 private:
  template <typename Condition>
  bool TurnUntil(Condition condition);

  net::EventLoop& loop_;
  const redis::Link::Options options_;
  std::optional<std::string> failure_;
  bool ready_ = false;
  std::optional<int64_t> clock_offset_us_;
  std::optional<redis::Reply> pushed_;
  redis::Link link_;
};

// Everything that can be known of one server. `tag` is a hash tag whose slot it serves; `prefix`
// begins the keys. Leaves nothing behind.
RedisFacts GatherFacts(RedisSession& session, const std::string& server, const std::string& prefix,
                       const std::string& tag);

}  // namespace satchel::proxy
