#include "proxy/upstream_pool.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace satchel::proxy {
namespace {

constexpr int64_t kFirstDownMs = 200;
constexpr int64_t kMaxDownMs = 5000;

void Change(Counter& counter, int change) {
  if (change > 0) {
    Add(counter);
  } else {
    Subtract(counter);
  }
}

}  // namespace

UpstreamServer::UpstreamServer(net::EventLoop& loop, WorkerMetrics& metrics,
                               rules::Endpoint endpoint, size_t max_idle)
    : loop_(loop), metrics_(metrics), endpoint_(std::move(endpoint)), max_idle_(max_idle) {}

void UpstreamServer::CountInFlight(int change) {
  in_flight_ = static_cast<uint32_t>(static_cast<int>(in_flight_) + change);
}

void UpstreamServer::CountOpen(int change) { Change(metrics_.upstream_open, change); }

std::unique_ptr<UpstreamConnection> UpstreamServer::TakeIdle() {
  if (idle_.empty()) return nullptr;
  const auto polled = std::find_if(idle_.rbegin(), idle_.rend(),
                                   [](const auto& idle) { return idle->WasPolledIdle(); });
  const auto taken = polled == idle_.rend() ? std::prev(idle_.end()) : std::prev(polled.base());
  auto connection = std::move(*taken);
  idle_.erase(taken);
  Subtract(metrics_.upstream_idle);
  connection->ClearDeadline();
  return connection;
}

void UpstreamServer::PutIdle(std::unique_ptr<UpstreamConnection> connection) {
  connection->SetOwner(nullptr);
  if (max_idle_ == 0) {
    loop_.DeleteLater(std::move(connection));
    return;
  }
  if (idle_.size() >= max_idle_) {
    loop_.DeleteLater(std::move(idle_.front()));
    idle_.erase(idle_.begin());
    Subtract(metrics_.upstream_idle);
  }
  connection->SetDeadline(UpstreamPool::kIdleMs);
  idle_.push_back(std::move(connection));
  Add(metrics_.upstream_idle);
}

void UpstreamServer::DropIdle(UpstreamConnection* connection) {
  const auto at = std::find_if(idle_.begin(), idle_.end(),
                               [&](const auto& idle) { return idle.get() == connection; });
  if (at == idle_.end()) return;
  connection->PauseReading(true);
  loop_.DeleteLater(std::move(*at));
  idle_.erase(at);
  Subtract(metrics_.upstream_idle);
}

void UpstreamServer::Retire() {
  max_idle_ = 0;
  for (auto& connection : idle_) {
    loop_.DeleteLater(std::move(connection));
    Subtract(metrics_.upstream_idle);
  }
  idle_.clear();
}

void UpstreamServer::OnConnectFailed(int64_t now_ms) {
  const int64_t down = std::min(kFirstDownMs << std::min<uint32_t>(failures_, 5), kMaxDownMs);
  ++failures_;
  down_until_ms_ = now_ms + down;
}

UpstreamPool::UpstreamPool(net::EventLoop& loop, WorkerMetrics& metrics, rules::Upstream config,
                           std::shared_ptr<net::ClientTls> tls)
    : loop_(loop), config_(std::move(config)), tls_(std::move(tls)) {
  for (const rules::Endpoint& endpoint : config_.servers) {
    servers_.push_back(
        std::make_shared<UpstreamServer>(loop, metrics, endpoint, config_.keepalive));
  }
}

UpstreamPool::~UpstreamPool() {
  for (const auto& server : servers_) server->Retire();
}

std::shared_ptr<UpstreamServer> UpstreamPool::Pick(
    const std::vector<const UpstreamServer*>& tried) {
  const int64_t now = loop_.now_ms();
  const std::shared_ptr<UpstreamServer>* best = nullptr;
  // From the next in turn on, so that equally loaded servers share the work.
  for (size_t i = 0; i < servers_.size(); ++i) {
    const auto& server = servers_[(next_ + i) % servers_.size()];
    if (std::find(tried.begin(), tried.end(), server.get()) != tried.end()) continue;
    if (best == nullptr) {
      best = &server;
      continue;
    }
    const bool up = server->IsUp(now);
    const bool best_up = (*best)->IsUp(now);
    if (up != best_up) {
      if (up) best = &server;
    } else if (!up) {
      if (server->down_until_ms() < (*best)->down_until_ms()) best = &server;
    } else if (config_.balance == rules::Balance::kLeastRequests &&
               server->in_flight() < (*best)->in_flight()) {
      best = &server;
    }
  }
  if (!servers_.empty()) next_ = (next_ + 1) % servers_.size();
  return best == nullptr ? nullptr : *best;
}

}  // namespace satchel::proxy
