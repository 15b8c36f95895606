#include "proxy/redis/node.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "proxy/net/address.h"
#include "proxy/net/backoff.h"
#include "proxy/redis/call_errors.h"

namespace satchel::redis {
namespace {

using cache::ErrorSource;
using cache::Fail;

// Errors by which a server says that it serves nobody for now. A slot that nobody serves says
// nothing of the others.
bool MeansDown(std::string_view code, std::string_view text) {
  if (text.find("Hash slot not served") != std::string_view::npos) return false;
  for (const std::string_view down :
       {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "READONLY", "NOAUTH", "NOREPLICAS"}) {
    if (code == down) return true;
  }
  return false;
}

// Errors after which another connection may do better: a new master behind the same name, or a
// password that was changed.
bool WantsNewConnection(std::string_view code) {
  return code == "READONLY" || code == "MASTERDOWN" || code == "NOAUTH";
}

bool IsRedirect(std::string_view code) {
  return code == "MOVED" || code == "ASK" || code == "TRYAGAIN";
}

uint64_t HashOf(std::string_view key) {
  const uint64_t hash = std::hash<std::string_view>()(HashTag(key));
  return hash == 0 ? 1 : hash;  // 0 is no fence
}

}  // namespace

Node::Node(net::EventLoop& loop, net::Resolver& resolver, Options options, Hooks hooks)
    : loop_(loop),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      breaker_(options_.breaker),
      fast_(loop, resolver, options_, HooksOf(true)),
      bulk_(loop, resolver, options_, HooksOf(false)) {
  probe_timer_.OnFire([this] { Probe(); });
  clock_timer_.OnFire([this] { ReadClock(); });
}

Node::~Node() = default;

Link::Hooks Node::HooksOf(bool fast) {
  return {
      .on_ready = [this, fast] { OnReady(fast); },
      .on_lost = [this, fast](const std::string& reason) { OnLost(fast, reason); },
      .on_failed = [this, fast](const std::string& reason) { OnFailed(fast, reason); },
      .on_clock = [this](int64_t sent_us, const Reply& reply) { OnClock(sent_us, reply); },
      .on_outcome = [this, fast](const CallState& call,
                                 const Reply* reply) { OnOutcome(fast, call, reply); },
      .on_error = [this](const std::shared_ptr<CallState>& call,
                         const Reply& reply) { return OnError(call, reply); },
      .on_gone = [this](const CallState& call) { OnGone(call); },
      .on_dropped = [this](const CallState&) { counters_.dropped.Add(); },
      .on_push = {},
  };
}

void Node::Tell(Event event, std::string_view detail) const {
  if (hooks_.on_event) hooks_.on_event(event, detail);
}

Link& Node::LinkFor(Lane lane, uint64_t tag) {
  if (const auto fence = fences_.find(tag); fence != fences_.end()) return *fence->second.link;
  if (lane == Lane::kFast) return fast_;
  if (!bulk_.started()) bulk_.Start();
  return bulk_.ready() ? bulk_ : fast_;
}

bool Node::Submit(std::string_view key, Lane lane, Command command,
                  const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  counters_.calls.Add();
  if (!available()) {
    counters_.rejected.Add();
    return false;
  }
  const uint64_t tag = key.empty() ? 0 : HashOf(key);
  Link& link = LinkFor(lane, tag);
  call->droppable = lane == Lane::kStore;
  call->fence = 0;
  if (!SendOn(link, std::move(command), call, deadline_ms)) return false;
  if (tag != 0 && (lane == Lane::kStore || lane == Lane::kBulkWrite)) {
    call->fence = tag;
    Fence& fence = fences_[tag];
    ++fence.calls;
    fence.link = &link;
  }
  return true;
}

bool Node::SendOn(Link& link, Command command, const std::shared_ptr<CallState>& call,
                  int64_t deadline_ms) {
  if (!link.Send(std::move(command), call)) {
    counters_.rejected.Add();
    return false;
  }
  call->deadline.OnFire([this, raw = call.get()] { OnDeadline(*raw); });
  if (deadline_ms > 0) loop_.SetTimer(call->deadline, deadline_ms);
  return true;
}

void Node::OnGone(const CallState& call) {
  if (call.fence == 0) return;
  const auto fence = fences_.find(call.fence);
  if (fence != fences_.end() && --fence->second.calls == 0) fences_.erase(fence);
}

void Node::OnReady(bool fast) {
  counters_.connects.Add();
  if (fast) {
    last_failure_.clear();
    ++generation_;
    counters_.connected.Set(1);
    loop_.SetTimer(clock_timer_, options_.clock_interval_ms);
    Tell(Event::kConnected, "");
    if (breaker_.ProbeNow()) SendProbe();
    if (hooks_.on_ready) hooks_.on_ready();
  }
}

void Node::OnLost(bool fast, const std::string& reason) {
  counters_.disconnects.Add();
  if (fast) {
    counters_.connected.Set(0);
    clock_timer_.Cancel();
    Tell(Event::kDisconnected, reason);
  }
  Failed(reason);
}

void Node::OnFailed(bool, const std::string& reason) {
  counters_.failed_connects.Add();
  if (reason != last_failure_) {
    last_failure_ = reason;
    Tell(Event::kConnectFailed, reason);
  }
  Failed(reason);
}

void Node::SyncTotals() {
  const Connection::Totals fast = fast_.totals();
  const Connection::Totals bulk = bulk_.totals();
  counters_.bytes_in.Set(fast.bytes_in + bulk.bytes_in);
  counters_.bytes_out.Set(fast.bytes_out + bulk.bytes_out);
  counters_.writes.Set(fast.writes + bulk.writes);
}

void Node::OnOutcome(bool fast, const CallState& call, const Reply* reply) {
  SyncTotals();
  if (call.greeting) return;  // the link tells how it went
  if (reply == nullptr) {
    counters_.errors.Add();
    return;  // the connection itself counts as one failure
  }
  if (call.late) {
    counters_.late_replies.Add();
    return;  // its deadline has been counted; a server this slow is not well
  }
  if (reply->IsError()) {
    const std::string_view code = reply->ErrorCode();
    if (code == "NOSCRIPT") {
      counters_.script_reloads.Add();
    } else if (IsRedirect(code)) {
      counters_.redirects.Add();
      Succeeded();
    } else {
      counters_.errors.Add();
      if (MeansDown(code, reply->text)) {
        Failed(reply->text);
      } else if (call.probe) {
        Succeeded();  // it answers, if only that it may not
      }
    }
    return;
  }
  if (call.started_ns == 0) {
    Succeeded();
    return;
  }
  const auto took_us = (net::EventLoop::ReadClockNs() - call.started_ns) / 1000;
  // A store may take longer than a lookup may wait: that is no failure, but no proof either that
  // the server is fit for lookups.
  if (took_us <= options_.probe_deadline_ms * 1000) {
    Succeeded();
  } else if (call.probe) {
    // Its deadline has passed too; the answer was read before the timer.
    Failed("the probe was answered too late");
  }
  if (!fast) return;
  const auto average = static_cast<int64_t>(counters_.latency_us.Get());
  counters_.latency_us.Set(
      static_cast<uint64_t>(average == 0 ? took_us : average + (took_us - average) / 16));
}

bool Node::OnError(const std::shared_ptr<CallState>& call, const Reply& reply) {
  const std::string_view code = reply.ErrorCode();
  // A literal address would lead to the same server.
  if (WantsNewConnection(code) && (code == "NOAUTH" || options_.locator != nullptr ||
                                   !net::Address::FromIp(options_.host, options_.port))) {
    loop_.AtTurnEnd([this, alive = std::weak_ptr<int>(alive_), text = reply.text] {
      if (!alive.expired()) Drop(text);
    });
  }
  return hooks_.on_error && hooks_.on_error(call, reply);
}

void Node::Drop(const std::string& reason) {
  fast_.Drop(reason);
  bulk_.Drop(reason);
}

void Node::Stop(const std::string& reason) {
  probe_timer_.Cancel();
  clock_timer_.Cancel();
  fast_.Stop(reason);
  bulk_.Stop(reason);
}

void Node::OnDeadline(CallState& call) {
  call.late = true;
  counters_.errors.Add();
  counters_.deadline_misses.Add();
  Failed("no answer within the deadline");
  call.Finish(Fail(ErrorSource::kStore, std::string(kDeadline)));
}

void Node::SyncBreaker() { counters_.breaker_state.Set(static_cast<uint64_t>(breaker_.state())); }

void Node::Succeeded() {
  if (breaker_.Success(loop_.now_ms())) {
    probe_timer_.Cancel();
    Tell(Event::kBreakerClosed, "the probe was answered");
  }
  SyncBreaker();
}

void Node::Failed(std::string_view why) {
  const int64_t now = loop_.now_ms();
  if (breaker_.Failure(now, net::RandomUnit())) {
    counters_.breaker_opened.Add();
    Tell(Event::kBreakerOpened, why);
  }
  SyncBreaker();
  if (breaker_.state() == net::Breaker::State::kOpen) {
    loop_.SetTimer(probe_timer_, std::max<int64_t>(1, breaker_.probe_at_ms() - now));
  }
}

void Node::Probe() {
  if (!fast_.ready()) return;  // one follows over the next connection
  if (breaker_.TryProbe(loop_.now_ms())) SendProbe();
}

void Node::SendProbe() {
  SyncBreaker();
  auto call = std::make_shared<CallState>();
  call->started_ns = net::EventLoop::ReadClockNs();
  call->probe = true;
  call->done = [](const cache::Result<Reply>&) {};
  // The outcome reaches the breaker through OnOutcome(), OnDeadline() or OnLost().
  if (!SendOn(fast_, {"PING"}, call, options_.probe_deadline_ms)) {
    Failed("the probe could not be sent");
  }
}

void Node::ReadClock() {
  loop_.SetTimer(clock_timer_, options_.clock_interval_ms);
  if (!available()) return;
  auto call = std::make_shared<CallState>();
  call->done = [this, sent_us = WallClockUs()](const cache::Result<Reply>& reply) {
    if (reply) OnClock(sent_us, *reply);
  };
  SendOn(fast_, {"TIME"}, call, options_.connect_timeout_ms);
}

void Node::OnClock(int64_t sent_us, const Reply& reply) {
  if (const auto offset = ClockOffsetUs(sent_us, reply)) clock_offset_us_ = *offset;
}

}  // namespace satchel::redis
