#include "proxy/redis/connect.h"

#include <utility>
#include <vector>

#include "proxy/redis/client.h"
#include "proxy/redis/cluster.h"
#include "proxy/redis/sentinel.h"

namespace satchel::redis {
namespace {

std::vector<ServerAddress> AddressesOf(const rules::L2Config& config) {
  std::vector<ServerAddress> addresses;
  for (const rules::Endpoint& server : config.servers) addresses.push_back(AddressOf(server));
  return addresses;
}

std::shared_ptr<SentinelLocator> MakeSentinels(net::EventLoop& loop, net::Resolver& resolver,
                                               const rules::L2Config& config,
                                               const Accesses& accesses) {
  return std::make_shared<SentinelLocator>(
      loop, resolver,
      SentinelLocator::Options{
          .sentinels = AddressesOf(config), .master = config.master, .access = accesses.sentinels});
}

}  // namespace

Accesses Accesses::From(const rules::L2Config& config, std::shared_ptr<const net::ClientTls> tls) {
  return {.servers = {config.user, config.password, tls},
          .sentinels = {config.sentinel_user, config.sentinel_password, tls}};
}

std::unique_ptr<Commander> Connect(net::EventLoop& loop, net::Resolver& resolver,
                                   const rules::L2Config& config, const Accesses& accesses,
                                   OnNodeEvent on_event) {
  Client::Options options = Client::Options::From(config);
  static_cast<Access&>(options) = accesses.servers;
  if (config.topology == rules::RedisTopology::kCluster) {
    Cluster::Options cluster;
    static_cast<Node::Options&>(cluster) = options;
    cluster.seeds = AddressesOf(config);
    Cluster::OnEvent tell;
    if (on_event) {
      tell = [on_event = std::move(on_event)](const ServerAddress& server, Node::Event event,
                                              std::string_view detail) {
        on_event(server.ToString(), event, detail);
      };
    }
    return std::make_unique<Cluster>(loop, resolver, std::move(cluster), std::move(tell));
  }
  std::shared_ptr<SentinelLocator> sentinels;
  if (config.topology == rules::RedisTopology::kSentinel) {
    sentinels = MakeSentinels(loop, resolver, config, accesses);
    options.locator = sentinels;
    options.must_be_master = true;
  }
  Client::OnEvent tell;
  if (on_event) {
    const std::string name =
        sentinels != nullptr ? "" : static_cast<const ServerAddress&>(options).ToString();
    tell = [name, on_event = std::move(on_event)](Node::Event event, std::string_view detail) {
      on_event(name, event, detail);
    };
  }
  return std::make_unique<Client>(loop, resolver, std::move(options), std::move(tell),
                                  std::move(sentinels));
}

Link::Options SubscriberOptions(net::EventLoop& loop, net::Resolver& resolver,
                                const rules::L2Config& config, const Accesses& accesses) {
  Link::Options options = Client::Options::From(config);
  static_cast<Access&>(options) = accesses.servers;
  switch (config.topology) {
    case rules::RedisTopology::kSingle:
      break;
    case rules::RedisTopology::kSentinel:
      options.locator = MakeSentinels(loop, resolver, config, accesses);
      options.must_be_master = true;
      break;
    case rules::RedisTopology::kCluster:
      options.locator = std::make_shared<RotatingLocator>(loop, AddressesOf(config));
      break;
  }
  return options;
}

}  // namespace satchel::redis
