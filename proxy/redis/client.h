#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/node.h"
#include "proxy/redis/sentinel.h"
#include "rules/config.h"

namespace satchel::redis {

// One server, or the master that sentinels name. Owner thread only, counters excepted.
class Client final : public Commander {
 public:
  using Event = Node::Event;
  using OnEvent = Node::OnEvent;
  using Counters = Node::Counters;
  struct Options : Node::Options {
    static Options From(const rules::L2Config& config);
  };

  // With `sentinels` these are the options' locator, too.
  Client(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event = {},
         std::shared_ptr<SentinelLocator> sentinels = {});

  void AddScript(const Script& script) override { node_.AddScript(script); }
  void Start() override;
  void SetAccess(const Access& servers, const Access& sentinels) override;
  void VisitNodes(const std::function<void(const Node&)>& visit) const override { visit(node_); }

  bool available(std::string_view) const override { return node_.available(); }
  bool ready() const { return node_.ready(); }
  uint64_t generation() const override { return node_.generation(); }
  int64_t clock_offset_us(std::string_view) const override { return node_.clock_offset_us(); }
  bool clustered() const override { return false; }

  const Node& node() const { return node_; }
  const Counters& counters() const { return node_.counters(); }

 private:
  bool Dispatch(std::string_view key, Lane lane, Command command,
                const std::shared_ptr<CallState>& call, int64_t deadline_ms) override;

  const std::shared_ptr<SentinelLocator> sentinels_;  // may be null
  Node node_;
};

ServerAddress AddressOf(const rules::Endpoint& endpoint);

}  // namespace satchel::redis
