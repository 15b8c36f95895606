#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/net/tls.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/link.h"
#include "proxy/redis/node.h"
#include "rules/config.h"

namespace satchel::redis {

// How the servers, and how the sentinels, of a configuration are entered.
struct Accesses {
  Access servers{};
  Access sentinels{};
  static Accesses From(const rules::L2Config& config, std::shared_ptr<const net::ClientTls> tls);
};

// `server` is empty where the address is found by sentinels.
using OnNodeEvent =
    std::function<void(std::string_view server, Node::Event event, std::string_view detail)>;

// What the configuration asks for: one server, a master behind sentinels, or a cluster. Not
// started. The loop and the resolver must outlive it.
std::unique_ptr<Commander> Connect(net::EventLoop& loop, net::Resolver& resolver,
                                   const rules::L2Config& config, const Accesses& accesses,
                                   OnNodeEvent on_event = {});

// For a connection of one's own beside it, to subscribe: to the server, the master, or any node of
// the cluster (messages reach all of them).
Link::Options SubscriberOptions(net::EventLoop& loop, net::Resolver& resolver,
                                const rules::L2Config& config, const Accesses& accesses);

}  // namespace satchel::redis
