#include "proxy/redis_log.h"

#include <utility>

#include "proxy/ops_log.h"

namespace satchel::proxy {
namespace {

void LogRedis(std::string_view server, redis::Node::Event event, std::string_view detail) {
  switch (event) {
    case redis::Node::Event::kConnected:
      OpsLog().info("redis {}: connected", server);
      break;
    case redis::Node::Event::kDisconnected:
      OpsLog().warn("redis {}: connection lost: {}", server, detail);
      break;
    case redis::Node::Event::kConnectFailed:
      OpsLog().warn("redis {}: cannot connect: {}", server, detail);
      break;
    case redis::Node::Event::kBreakerOpened:
      OpsLog().warn("redis {}: breaker open: {}", server, detail);
      break;
    case redis::Node::Event::kBreakerClosed:
      OpsLog().info("redis {}: breaker closed", server);
      break;
  }
}

}  // namespace

redis::OnNodeEvent LogRedisEvents(std::string url) {
  return [url = std::move(url)](std::string_view server, redis::Node::Event event,
                                std::string_view detail) {
    LogRedis(server.empty() ? std::string_view(url) : server, event, detail);
  };
}

}  // namespace satchel::proxy
