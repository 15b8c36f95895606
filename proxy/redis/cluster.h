#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/node.h"
#include "proxy/redis/slots.h"

namespace satchel::redis {

// A Redis Cluster. Each call goes to the node that serves the slot of its key; nodes are connected
// to when they are first needed. Owner thread only, counters excepted.
//
// The map of slots comes from CLUSTER SLOTS, asked of whichever node is connected, at most once a
// second: at the start, after MOVED, CLUSTERDOWN or the loss of a node, and when a call finds its
// node away. MOVED patches one slot at once. A call is redirected three times at most, within its
// deadline; TRYAGAIN (a slot on its way) is tried twice more, 20 ms apart. A store is never sent to
// a second node: it could come there behind its own removal.
class Cluster final : public Commander {
 public:
  struct Options : Node::Options {  // of each node
    std::vector<ServerAddress> seeds{};
    int64_t refresh_ms = 1000;
    size_t max_nodes = 512;  // known at once; slots of others are not served
  };
  using OnEvent =
      std::function<void(const ServerAddress& server, Node::Event event, std::string_view detail)>;
  using Counters = ClusterCounters;

  Cluster(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event = {});
  ~Cluster() override;  // cancels everything that waits

  void AddScript(const Script& script) override { options_.scripts.push_back(&script); }
  void Start() override;
  void SetAccess(const Access& servers, const Access& sentinels) override;
  void VisitNodes(const std::function<void(const Node&)>& visit) const override;

  bool available(std::string_view key) const override;
  uint64_t generation() const override { return generation_; }
  int64_t clock_offset_us(std::string_view key) const override;
  bool clustered() const override { return true; }
  const ClusterCounters* cluster_counters() const override { return &counters_; }

  // The map has been read.
  bool ready() const { return known_; }
  // Null: nobody.
  const Node* NodeOf(std::string_view key) const { return slots_[SlotOf(key)]; }
  const Counters& counters() const { return counters_; }

 private:
  struct Retry {
    net::Timer timer;
    std::shared_ptr<CallState> call;
  };

  bool Dispatch(std::string_view key, Lane lane, Command command,
                const std::shared_ptr<CallState>& call, int64_t deadline_ms) override;
  Node* NodeFor(std::string_view key);
  Node* Find(const ServerAddress& server);  // made if new; null beyond the limit
  Node* AnyNode();
  bool OnError(const ServerAddress& from, const std::shared_ptr<CallState>& call,
               const Reply& reply);
  bool Resend(Node* node, const std::shared_ptr<CallState>& call, bool asking);
  bool TryLater(const std::shared_ptr<CallState>& call);
  void OnNodeEvent(const ServerAddress& server, Node::Event event, std::string_view detail);
  void WantRefresh();
  void Refresh();
  void OnSlots(const ServerAddress& from, const cache::Result<Reply>& reply);
  void Take(const std::vector<SlotRange>& ranges);
  void Retire(std::map<ServerAddress, std::unique_ptr<Node>>::iterator node);

  net::Resolver& resolver_;
  Options options_;
  const OnEvent on_event_;
  Counters counters_;
  std::map<ServerAddress, std::unique_ptr<Node>> nodes_;
  std::vector<Node*> slots_;
  std::list<Retry> retries_;
  net::Timer refresh_timer_;
  PendingReply refreshing_;
  int64_t refreshed_ms_ = 0;
  size_t next_seed_ = 0;
  std::string last_failure_;  // told last
  uint64_t generation_ = 0;
  bool known_ = false;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // for work put off
};

}  // namespace satchel::redis
