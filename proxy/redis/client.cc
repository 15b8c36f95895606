#include "proxy/redis/client.h"

#include <algorithm>
#include <utility>

namespace satchel::redis {

ServerAddress AddressOf(const rules::Endpoint& endpoint) {
  if (endpoint.kind == rules::Endpoint::Kind::kUnix) return {.host = "unix:" + endpoint.path};
  return {.host = endpoint.host, .port = endpoint.port};
}

Client::Options Client::Options::From(const rules::L2Config& config) {
  Options options;
  if (config.topology == rules::RedisTopology::kSingle) {
    static_cast<ServerAddress&>(options) = AddressOf(config.servers.at(0));
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

Client::Client(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event,
               std::shared_ptr<SentinelLocator> sentinels)
    : Commander(loop),
      sentinels_(std::move(sentinels)),
      node_(loop, resolver, std::move(options), {.on_event = std::move(on_event)}) {}

void Client::Start() {
  node_.Start();
  if (sentinels_ == nullptr) return;
  sentinels_->Watch([this](const ServerAddress& master) {
    node_.Drop("the sentinels made " + master.ToString() + " the master");
  });
}

void Client::SetAccess(const Access& servers, const Access& sentinels) {
  node_.SetAccess(servers);
  if (sentinels_ != nullptr) sentinels_->SetAccess(sentinels);
}

bool Client::Dispatch(std::string_view key, Lane lane, Command command,
                      const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  return node_.Submit(key, lane, std::move(command), call, deadline_ms);
}

}  // namespace satchel::redis
