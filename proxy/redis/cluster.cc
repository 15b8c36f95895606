#include "proxy/redis/cluster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "proxy/redis/call_errors.h"

namespace satchel::redis {
namespace {

using cache::ErrorSource;
using cache::Fail;

constexpr uint8_t kMaxRedirects = 3;
constexpr uint8_t kMaxTries = 2;  // after TRYAGAIN
constexpr int64_t kTryAgainMs = 20;
constexpr size_t kMaxRetries = 1024;    // waiting at once
constexpr size_t kMaxAgain = 16 << 10;  // bytes of a command that is kept for a redirect

}  // namespace

Cluster::Cluster(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event)
    : Commander(loop),
      resolver_(resolver),
      options_(std::move(options)),
      on_event_(std::move(on_event)),
      slots_(kSlotCount, nullptr) {
  refresh_timer_.OnFire([this] { Refresh(); });
}

Cluster::~Cluster() {
  for (Retry& retry : retries_) {
    if (retry.call == nullptr) continue;
    retry.call->done = nullptr;
    retry.call->deadline.Cancel();
  }
}

void Cluster::Start() { Refresh(); }

void Cluster::SetAccess(const Access& servers, const Access&) {
  static_cast<Access&>(options_) = servers;
  for (const auto& [server, node] : nodes_) node->SetAccess(servers);
}

void Cluster::VisitNodes(const std::function<void(const Node&)>& visit) const {
  for (const auto& [server, node] : nodes_) visit(*node);
}

bool Cluster::available(std::string_view key) const {
  // One that has not been needed yet is connected to by the call.
  const auto takes = [](const Node* node) {
    return node != nullptr && (!node->started() || node->available());
  };
  if (!key.empty()) return takes(slots_[SlotOf(key)]);
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [&](const auto& entry) { return takes(entry.second.get()); });
}

int64_t Cluster::clock_offset_us(std::string_view key) const {
  const Node* const node = slots_[SlotOf(key)];
  return node == nullptr ? 0 : node->clock_offset_us();
}

Node* Cluster::Find(const ServerAddress& server) {
  if (const auto known = nodes_.find(server); known != nodes_.end()) return known->second.get();
  if (nodes_.size() >= options_.max_nodes) return nullptr;
  Node::Options options = options_;
  static_cast<ServerAddress&>(options) = server;
  Node::Hooks hooks{
      .on_event = [this, server](Node::Event event,
                                 std::string_view detail) { OnNodeEvent(server, event, detail); },
      .on_ready =
          [this] {
            ++generation_;
            if (!known_) WantRefresh();
          },
      .on_error = [this, server](const std::shared_ptr<CallState>& call,
                                 const Reply& reply) { return OnError(server, call, reply); },
  };
  auto node = std::make_unique<Node>(loop_, resolver_, std::move(options), std::move(hooks));
  return nodes_.emplace(server, std::move(node)).first->second.get();
}

Node* Cluster::AnyNode() {
  for (const auto& [server, node] : nodes_) {
    if (node->ready() && node->available()) return node.get();
  }
  return nullptr;
}

Node* Cluster::NodeFor(std::string_view key) {
  Node* const node = key.empty() ? AnyNode() : slots_[SlotOf(key)];
  if (node != nullptr && !node->started()) node->Start();
  return node;
}

bool Cluster::Dispatch(std::string_view key, Lane lane, Command command,
                       const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  Node* const node = NodeFor(key);
  if (node == nullptr) {
    counters_.unserved.Add();
    WantRefresh();
    return false;
  }
  // It may be gone, and its slots another's before long.
  if (!node->available()) WantRefresh();
  call->key = key;
  call->lane = static_cast<uint8_t>(lane);
  if (call->script == nullptr && lane != Lane::kStore && command.bytes() <= kMaxAgain) {
    call->again = std::make_shared<const Command>(command);
  }
  return node->Submit(key, lane, std::move(command), call, deadline_ms);
}

void Cluster::OnNodeEvent(const ServerAddress& server, Node::Event event, std::string_view detail) {
  if (on_event_) on_event_(server, event, detail);
  if (event != Node::Event::kConnected && event != Node::Event::kBreakerClosed) WantRefresh();
}

bool Cluster::OnError(const ServerAddress& from, const std::shared_ptr<CallState>& call,
                      const Reply& reply) {
  const std::string_view code = reply.ErrorCode();
  if (code == "CROSSSLOT") {
    counters_.cross_slot.Add();
  } else if (code == "CLUSTERDOWN") {
    WantRefresh();
  } else if (code == "TRYAGAIN") {
    counters_.try_again.Add();
    return TryLater(call);
  }
  const auto redirect = ReadRedirect(reply.text, from.host);
  if (!redirect) return false;
  const bool asking = redirect->kind == Redirect::Kind::kAsk;
  (asking ? counters_.asked : counters_.moved).Add();
  Node* const node = Find(redirect->to);
  if (!asking) {
    if (node != nullptr && slots_[redirect->slot] != node) {
      slots_[redirect->slot] = node;
      ++generation_;
    }
    WantRefresh();
  }
  return Resend(node, call, asking);
}

bool Cluster::Resend(Node* node, const std::shared_ptr<CallState>& call, bool asking) {
  const auto lane = static_cast<Lane>(call->lane);
  if (node == nullptr || lane == Lane::kStore || call->redirects >= kMaxRedirects ||
      (call->script == nullptr && call->again == nullptr)) {
    counters_.gave_up.Add();
    return false;
  }
  ++call->redirects;
  call->asking = asking;
  if (!node->started()) node->Start();
  if (call->script == nullptr) return node->Submit(call->key, lane, Command(*call->again), call, 0);
  return node->Submit(call->key, lane,
                      call->with_text ? call->arguments.Eval(*call->script)
                                      : call->arguments.EvalSha(*call->script),
                      call, 0);
}

bool Cluster::TryLater(const std::shared_ptr<CallState>& call) {
  if (call->tries >= kMaxTries || retries_.size() >= kMaxRetries ||
      static_cast<Lane>(call->lane) == Lane::kStore) {
    counters_.gave_up.Add();
    return false;
  }
  ++call->tries;
  const auto retry = retries_.emplace(retries_.end());
  retry->call = call;
  // Its node may go meanwhile.
  call->deadline.OnFire(
      [raw = call.get()] { raw->Finish(Fail(ErrorSource::kStore, std::string(kDeadline))); });
  retry->timer.OnFire([this, retry] {
    const std::shared_ptr<CallState> waiting = std::move(retry->call);
    loop_.AtTurnEnd([this, alive = std::weak_ptr<int>(alive_), retry] {
      if (!alive.expired()) retries_.erase(retry);  // not now: its timer is on the stack
    });
    if (!waiting->done) return;
    // The redirect that led here may have changed the owner.
    if (!Resend(NodeFor(waiting->key), waiting, false)) {
      waiting->Finish(Fail(ErrorSource::kStore, "TRYAGAIN"));
    }
  });
  loop_.SetTimer(retry->timer, kTryAgainMs);
  return true;
}

void Cluster::WantRefresh() {
  if (refreshing_.waiting()) return;
  const int64_t now = loop_.now_ms();
  const int64_t due = refreshed_ms_ == 0 ? now : std::max(now, refreshed_ms_ + options_.refresh_ms);
  if (refresh_timer_.armed() && refresh_timer_.deadline_ms() <= due) return;
  loop_.SetTimer(refresh_timer_, due - now);
}

void Cluster::Refresh() {
  Node* const node = AnyNode();
  if (node == nullptr) {
    // Nobody is connected. Those that are known try by themselves; a seed more is asked each time.
    if (!options_.seeds.empty()) {
      Node* const seed = Find(options_.seeds[next_seed_++ % options_.seeds.size()]);
      if (seed != nullptr && !seed->started()) seed->Start();
    }
    loop_.SetTimer(refresh_timer_, known_ ? options_.refresh_ms : options_.refresh_ms / 4);
    return;
  }
  refreshed_ms_ = loop_.now_ms();
  counters_.refreshes.Add();
  auto call = MakeCall(
      [this, from = node->server()](const cache::Result<Reply>& reply) { OnSlots(from, reply); });
  if (node->Submit({}, Lane::kFast, {"CLUSTER", "SLOTS"}, call, options_.refresh_ms)) {
    refreshing_ = PendingReply(std::move(call));
  } else {
    loop_.SetTimer(refresh_timer_, options_.refresh_ms);
  }
}

void Cluster::OnSlots(const ServerAddress& from, const cache::Result<Reply>& reply) {
  std::string failure;
  if (!reply) {
    failure = "CLUSTER SLOTS: " + reply.error().message;
  } else if (const auto ranges = ReadSlots(*reply, from.host); !ranges) {
    failure = ranges.error().message;
  } else if (ranges->empty()) {
    failure = "CLUSTER SLOTS: it serves no slots yet";
  } else {
    Take(*ranges);
  }
  if (failure.empty()) {
    last_failure_.clear();
    return;
  }
  if (failure != last_failure_) {
    last_failure_ = failure;
    if (on_event_) on_event_(from, Node::Event::kConnectFailed, failure);
  }
  WantRefresh();
}

void Cluster::Take(const std::vector<SlotRange>& ranges) {
  std::vector<Node*> slots(kSlotCount, nullptr);
  std::set<ServerAddress> masters;
  for (const SlotRange& range : ranges) {
    Node* const node = Find(range.master);
    if (node == nullptr) continue;
    masters.insert(range.master);
    std::fill(slots.begin() + range.first, slots.begin() + range.last + 1, node);
  }
  known_ = true;
  if (slots != slots_) {
    slots_ = std::move(slots);
    ++generation_;
  }
  for (auto node = nodes_.begin(); node != nodes_.end();) {
    const auto next = std::next(node);
    if (!masters.contains(node->first)) Retire(node);
    node = next;
  }
}

void Cluster::Retire(std::map<ServerAddress, std::unique_ptr<Node>>::iterator at) {
  auto node = std::make_shared<std::unique_ptr<Node>>(std::move(at->second));
  nodes_.erase(at);
  (*node)->Stop("no master of the cluster any more");
  // After the calls that wait on it have been told.
  loop_.AtTurnEnd([loop = &loop_, node] { loop->DeleteLater(std::move(*node)); });
}

}  // namespace satchel::redis
