#include "proxy/redis/client.h"

#include <algorithm>
#include <utility>

namespace satchel::redis {

Client::Options Client::Options::From(const rules::L2Config& config) {
  Options options;
  if (config.server.kind == rules::Endpoint::Kind::kUnix) {
    options.host = "unix:" + config.server.path;
  } else {
    options.host = config.server.host;
    options.port = config.server.port;
  }
  options.user = config.user;
  options.password = config.password;
  options.database = config.database;
  options.breaker.failures = config.breaker.failures;
  options.breaker.open_ms = config.breaker.open_for.count();
  options.breaker.max_open_ms = std::max<int64_t>(options.breaker.open_ms, 30'000);
  options.probe_deadline_ms = config.deadline.count();
  // One reply holds one record at most.
  options.limits.reply.max_bytes = config.max_object + (1 << 20);
  return options;
}

Client::Client(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event)
    : Commander(loop),
      node_(loop, resolver, std::move(options), {.on_event = std::move(on_event)}) {}

bool Client::Dispatch(std::string_view key, Lane lane, Command command,
                      const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  return node_.Submit(key, lane, std::move(command), call, deadline_ms);
}

}  // namespace satchel::redis
