#include "proxy/purger.h"

#include <algorithm>
#include <utility>

#include "proxy/ops_log.h"
#include "proxy/purge_events.h"
#include "proxy/purge_request.h"
#include "proxy/redis/link.h"

namespace satchel::proxy {
namespace {

constexpr int64_t kAskAgainMs = 20;
constexpr size_t kMaxWaits = 1000;  // purges that wait for other instances at once

redis::Subscriber::Options ChannelOptions(net::EventLoop& loop, net::Resolver& resolver,
                                          const Snapshot& snapshot) {
  const rules::L2Config& config = *snapshot.config.l2;
  redis::Subscriber::Options options;
  static_cast<redis::Link::Options&>(options) = redis::SubscriberOptions(
      loop, resolver, config, redis::Accesses::From(config, snapshot.redis_tls));
  options.name = "satchel-channel";
  return options;
}

redis::PurgeLog::Options LogOptions(const rules::Config& config) {
  redis::PurgeLog::Options options;
  options.prefix = config.l2->prefix;
  options.incoherent_ms = config.l1.incoherent_ttl.count();
  return options;
}

}  // namespace

Purger::Redis::Redis(net::EventLoop& loop, cache::Purges& purges, const Snapshot& snapshot)
    : resolver(loop),
      commander(redis::Connect(
          loop, resolver, *snapshot.config.l2,
          redis::Accesses::From(*snapshot.config.l2, snapshot.redis_tls),
          [this](std::string_view, redis::Node::Event event, std::string_view) {
            if (event == redis::Node::Event::kConnectFailed) failed_once = true;
          })),
      subscriber(loop, resolver, ChannelOptions(loop, resolver, snapshot),
                 {.on_up = [] { OpsLog().info("purge channel: connected"); },
                  .on_down =
                      [this](const std::string& reason) {
                        OpsLog().warn("purge channel: connection lost: {}", reason);
                        log.OnDeaf();
                      },
                  .on_failed = [this](const std::string&) { failed_once = true; }}),
      fleet(loop, *commander,
            {.prefix = snapshot.config.l2->prefix, .name = redis::Fleet::UniqueName()}),
      log(loop, *commander, subscriber, purges, LogOptions(snapshot.config)) {
  log.OnProgress([this](uint64_t sequence, bool acknowledge) {
    fleet.SetSequence(sequence, acknowledge);
  });
}

struct Purger::Wait {
  PurgeAnswer answer;
  Done done;
  int64_t until_ms = 0;
  net::Timer again;
  redis::PendingReply asking;
};

Purger::Purger(net::EventLoop& loop, cache::Store& store, SnapshotPtr snapshot)
    : loop_(loop),
      purges_(store.purges()),
      snapshot_(std::move(snapshot)),
      refresher_(loop, store) {
  refresher_.SetRate(snapshot_->config.purge.refresh_rate);
  if (!snapshot_->config.l2) return;
  redis_ = std::make_unique<Redis>(loop_, purges_, *snapshot_);
  redis_->events = std::make_unique<PurgeEvents>(
      loop_, *redis_->commander, redis_->subscriber, snapshot_->config.l2->prefix,
      redis_->fleet.name(), [this](const PurgeRequest& request) { OnEvent(request); });
}

Purger::~Purger() = default;

void Purger::Start() {
  if (!redis_) return;
  redis_->commander->Start();
  redis_->subscriber.Start();
  redis_->log.Start();
  redis_->fleet.Start();
  redis_->events->Configure(snapshot_->config.purge);
}

bool Purger::settled() const { return !redis_ || redis_->log.coherent() || redis_->failed_once; }

void Purger::Apply(SnapshotPtr snapshot) {
  snapshot_ = std::move(snapshot);
  refresher_.SetRate(snapshot_->config.purge.refresh_rate);
  if (!redis_ || !snapshot_->config.l2) return;
  const auto accesses = redis::Accesses::From(*snapshot_->config.l2, snapshot_->redis_tls);
  redis_->commander->SetAccess(accesses.servers, accesses.sentinels);
  redis_->events->Configure(snapshot_->config.purge);
}

void Purger::OnEvent(const PurgeRequest& request) {
  auto plan = PlanOf(request, snapshot_->rules);
  if (!plan) {
    OpsLog().warn("a message on {} purges nothing: {}", snapshot_->config.purge.channel,
                  plan.error().message);
    return;
  }
  plan->order.wait = false;
  Purge(std::move(plan->order), [this, request, refresh = std::move(plan->refresh)](
                                    const PurgeAnswer& answer) {
    LogPurge(request, answer, "message on " + snapshot_->config.purge.channel);
    Refresh(refresh, answer.sequence);
  });
}

void Purger::Leave() {
  if (redis_) redis_->fleet.Leave();
}

bool Purger::PurgeHere(const PurgeOrder& order, PurgeAnswer* answer) {
  if (redis_) return false;
  answer->sequence = purges_.Apply(order.records, static_cast<uint64_t>(redis::WallClockUs()),
                                   &answer->before);
  return true;
}

void Purger::Purge(PurgeOrder order, Done done) {
  PurgeAnswer here;
  if (PurgeHere(order, &here)) {
    loop_.AtTurnEnd([here, done = std::move(done)] { done(here); });
    return;
  }
  const bool wait = order.wait && snapshot_->config.purge.ack.count() > 0;
  redis_->log.Purge(
      std::move(order.records), wait,
      [this, wait, done = std::move(done)](const redis::PurgeLog::Outcome& outcome) {
        PurgeAnswer answer;
        answer.shared = outcome.shared;
        answer.error = outcome.error;
        answer.sequence = outcome.sequence;
        answer.before = outcome.before;
        if (wait && outcome.shared && waits_.size() < kMaxWaits) {
          WaitForFleet(std::move(answer), done);
        } else {
          done(answer);
        }
      });
}

void Purger::WaitForFleet(PurgeAnswer answer, Done done) {
  const auto wait = std::make_shared<Wait>();
  wait->answer = std::move(answer);
  wait->answer.waited = true;
  wait->done = std::move(done);
  wait->until_ms = loop_.now_ms() + snapshot_->config.purge.ack.count();
  wait->again.OnFire([this, weak = std::weak_ptr(wait)] {
    if (const auto due = weak.lock()) AskFleet(due);
  });
  waits_.insert(wait);
  AskFleet(wait);
}

void Purger::AskFleet(const std::shared_ptr<Wait>& wait) {
  wait->asking = redis_->fleet.List(
      [this, weak = std::weak_ptr(wait)](const cache::Result<std::vector<redis::Fleet::Node>>& nodes) {
        const auto due = weak.lock();
        if (due == nullptr) return;
        const auto finished = std::move(due->asking);
        PurgeAnswer& answer = due->answer;
        answer.error = nodes ? std::string() : nodes.error().message;
        if (nodes) {
          answer.confirmed.clear();
          answer.silent.clear();
          for (const redis::Fleet::Node& node : *nodes) {
            const bool has =
                node.name == redis_->fleet.name() || node.sequence >= answer.sequence;
            (has ? answer.confirmed : answer.silent).push_back(node.name);
          }
        }
        if ((nodes && answer.silent.empty()) || loop_.now_ms() >= due->until_ms) {
          waits_.erase(due);
          due->done(answer);
        } else {
          loop_.SetTimer(due->again, kAskAgainMs);
        }
      });
}

PurgeStatus Purger::status() const {
  PurgeStatus status;
  status.table = purges_.stats();
  status.live_instances = live_instances();
  status.refreshes_waiting = refresher_.waiting();
  status.refreshes_searching = refresher_.searching();
  status.refreshes_begun = refresher_.counters().begun;
  status.refreshes_dropped = refresher_.counters().dropped;
  if (!redis_) return status;
  const auto& log = redis_->log.counters();
  status.shared = true;
  status.coherent = redis_->log.coherent();
  status.channel_up = redis_->subscriber.connected();
  status.channel_disconnects = redis_->subscriber.counters().disconnects.Get();
  status.published = log.published.Get();
  status.unpublished = log.unpublished.Get();
  status.received = log.received.Get();
  status.gaps = log.gaps.Get();
  status.repaired = log.repaired.Get();
  status.epoch_losses = log.epoch_losses.Get();
  status.failed_reads = log.failed_reads.Get();
  status.doubted = log.incoherent_ticks.Get();
  status.lag_us = log.lag_us.Get();
  status.events = redis_->events->counters();
  return status;
}

void Purger::Refresh(PurgeRefresh what, uint64_t sequence) {
  if (what.empty()) return;
  loop_.Post([this, alive = std::weak_ptr(alive_), what = std::move(what), sequence]() mutable {
    if (!alive.expired()) refresher_.Add(std::move(what), sequence);
  });
}

void Purger::PurgeFrom(net::EventLoop& worker, PurgeOrder order, Done done) {
  loop_.Post([this, alive = std::weak_ptr(alive_), &worker, order = std::move(order),
              done = std::move(done)]() mutable {
    if (alive.expired()) return;
    Purge(std::move(order), [&worker, done = std::move(done)](const PurgeAnswer& answer) {
      worker.Post([done, answer] { done(answer); });
    });
  });
}

}  // namespace satchel::proxy
