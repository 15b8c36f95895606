#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/metrics.h"
#include "proxy/net/address.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/upstream_connection.h"
#include "rules/config.h"

namespace satchel::net {
class ClientTls;
}

namespace satchel::proxy {

// One server of an upstream as one worker sees it: its idle connections and its recent failures.
class UpstreamServer : public std::enable_shared_from_this<UpstreamServer> {
 public:
  UpstreamServer(net::EventLoop& loop, WorkerMetrics& metrics, rules::Endpoint endpoint,
                 size_t max_idle);

  // The most recently used idle connection, or null. One that the loop has polled since its last
  // answer goes before: nothing has to be asked about it.
  std::unique_ptr<UpstreamConnection> TakeIdle();
  // Keeps it for the next request, or closes it when there are enough.
  void PutIdle(std::unique_ptr<UpstreamConnection> connection);
  void DropIdle(UpstreamConnection* connection);
  void Retire();  // closes what is idle and keeps nothing from now on

  const rules::Endpoint& endpoint() const { return endpoint_; }
  uint32_t in_flight() const { return in_flight_; }
  void CountInFlight(int change);
  void CountOpen(int change);

  // Passive health: after a failed connect other servers are preferred for a while.
  void OnConnectFailed(int64_t now_ms);
  void OnConnected() { failures_ = 0; }
  bool IsUp(int64_t now_ms) const { return now_ms >= down_until_ms_; }
  int64_t down_until_ms() const { return down_until_ms_; }

 private:
  net::EventLoop& loop_;
  WorkerMetrics& metrics_;
  rules::Endpoint endpoint_;
  size_t max_idle_;
  std::vector<std::unique_ptr<UpstreamConnection>> idle_;  // least recently used first
  uint32_t in_flight_ = 0;
  uint32_t failures_ = 0;
  int64_t down_until_ms_ = 0;
};

// The servers of one upstream and the choice among them. One per worker and upstream.
class UpstreamPool {
 public:
  // Shorter than the five seconds after which common application servers close, so that a
  // connection is not chosen in the moment it dies.
  static constexpr int64_t kIdleMs = 4000;

  UpstreamPool(net::EventLoop& loop, WorkerMetrics& metrics, rules::Upstream config,
               std::shared_ptr<net::ClientTls> tls);
  ~UpstreamPool();

  // Picks a server, avoiding `tried` and those that are down where it can. Null: none left.
  std::shared_ptr<UpstreamServer> Pick(const std::vector<const UpstreamServer*>& tried);

  const rules::Upstream& config() const { return config_; }
  const std::shared_ptr<net::ClientTls>& tls() const { return tls_; }
  const std::vector<std::shared_ptr<UpstreamServer>>& servers() const { return servers_; }

 private:
  net::EventLoop& loop_;
  rules::Upstream config_;
  std::shared_ptr<net::ClientTls> tls_;
  std::vector<std::shared_ptr<UpstreamServer>> servers_;
  size_t next_ = 0;
};

}  // namespace satchel::proxy
