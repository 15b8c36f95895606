#include "proxy/limit_control.h"

#include <algorithm>
#include <utility>

#include "proxy/limit_keys.h"
#include "proxy/ops_log.h"
#include "proxy/rate_limiter.h"
#include "proxy/redis/connect.h"
#include "proxy/redis/fleet.h"
#include "proxy/redis/lua/limit_reset.lua.h"
#include "proxy/redis/lua/limit_switch.lua.h"
#include "proxy/redis_log.h"

namespace satchel::proxy {
namespace {

constexpr int64_t kTickMs = 1000;
constexpr int64_t kSyncMs = 5000;      // the switch is read again, should a message be lost
constexpr int64_t kDeadlineMs = 1000;  // nobody's request waits for it
// Of a switch that no instance reads any more.
constexpr int64_t kSwitchLifetimeMs = int64_t{30} * 24 * 3600 * 1000;
constexpr size_t kMostUntold = 1000;

const redis::Script& SwitchScript() {
  static const redis::Script script(redis::lua::kLimitSwitch);
  return script;
}

const redis::Script& ResetScript() {
  static const redis::Script script(redis::lua::kLimitReset);
  return script;
}

cache::Error Unavailable() {
  return {.source = cache::ErrorSource::kInternal, .message = "Redis cannot be asked now"};
}

// The value of one line "name:value" of INFO; empty if there is none.
std::string InfoField(const std::string& info, const std::string& name) {
  const size_t at = info.find("\n" + name + ":");
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 2;
  return info.substr(begin, info.find_first_of("\r\n", begin) - begin);
}

redis::Subscriber::Options ChannelOptions(net::EventLoop& loop, net::Resolver& resolver,
                                          const Snapshot& snapshot) {
  const rules::L2Config& config = *snapshot.config.limits;
  redis::Subscriber::Options options;
  static_cast<redis::Link::Options&>(options) = redis::SubscriberOptions(
      loop, resolver, config, redis::Accesses::From(config, snapshot.limits_tls));
  options.name = "satchel-limits";
  return options;
}

std::string Joined(const LimitSwitch::Names& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ", ";
    text += name == LimitSwitch::kAll ? "all" : name;
  }
  return text;
}

}  // namespace

std::optional<LimitMessage> ParseLimitMessage(std::string_view text) {
  constexpr std::string_view kReset = "reset ";
  constexpr size_t kIdSize = 22;
  if (text == "switch") return LimitMessage{};
  if (!text.starts_with(kReset)) return std::nullopt;
  text.remove_prefix(kReset.size());
  const size_t space = text.find(' ');
  if (space != kIdSize || text.size() <= kIdSize + 1) return std::nullopt;
  const LimitMessage message{text.substr(0, kIdSize), text.substr(kIdSize + 1)};
  if (message.policy.find(' ') != std::string_view::npos) return std::nullopt;
  return message;
}

struct LimitControl::Own {
  Own(net::EventLoop& loop, const Snapshot& snapshot)
      : resolver(loop),
        commander(redis::Connect(
            loop, resolver, *snapshot.config.limits,
            redis::Accesses::From(*snapshot.config.limits, snapshot.limits_tls), {})),
        subscriber(loop, resolver, ChannelOptions(loop, resolver, snapshot), {}),
        fleet(loop, *commander,
              {.prefix = snapshot.config.limits->prefix + ":rl",
               .name = redis::Fleet::UniqueName()}) {}
  net::Resolver resolver;
  std::unique_ptr<redis::Commander> commander;
  redis::Subscriber subscriber;
  redis::Fleet fleet;
};

LimitControl::LimitControl(net::EventLoop& loop, SnapshotPtr snapshot, SharedLimits& limits,
                           Purger& purger, Forget forget)
    : loop_(loop),
      snapshot_(std::move(snapshot)),
      limits_(limits),
      purger_(purger),
      forget_(std::move(forget)),
      tick_([this] { Tick(); }) {
  if (const rules::L2Config* store = snapshot_->config.limit_store()) prefix_ = store->prefix;
  if (snapshot_->config.limits) {
    own_ = std::make_unique<Own>(loop_, *snapshot_);
    commander_ = own_->commander.get();
    subscriber_ = &own_->subscriber;
  } else {
    commander_ = purger_.commander();
    subscriber_ = purger_.subscriber();
  }
  if (commander_ == nullptr) return;
  commander_->AddScript(RateLimiter::Script());
  commander_->AddScript(SwitchScript());
  commander_->AddScript(ResetScript());
  subscription_ = subscriber_->Subscribe(
      prefix_ + ":rl:ctl", [this](std::string_view message) { OnMessage(message); },
      [this] {
        // Resets may have been missed: refusals are asked for again.
        forget_({});
        SyncSwitch({});
      });
}

LimitControl::~LimitControl() = default;

void LimitControl::Start() {
  if (commander_ == nullptr) return;
  if (own_) {
    own_->commander->Start();
    own_->subscriber.Start();
    own_->fleet.Start();
  }
  loop_.SetTimer(tick_, kTickMs);
}

void LimitControl::Apply(SnapshotPtr snapshot) {
  snapshot_ = std::move(snapshot);
  if (!own_ || !snapshot_->config.limits) return;
  const auto accesses = redis::Accesses::From(*snapshot_->config.limits, snapshot_->limits_tls);
  own_->commander->SetAccess(accesses.servers, accesses.sentinels);
}

void LimitControl::Leave() {
  if (own_) own_->fleet.Leave();
}

void LimitControl::Tick() {
  loop_.SetTimer(tick_, kTickMs);
  const bool available = commander_->available({});
  live_.Update(own_ ? own_->fleet.live() : purger_.live_instances(), available, loop_.now_ms());
  limits_.instances.store(live_.count(), std::memory_order_relaxed);
  if (!available) return;
  if (!untold_.empty() || loop_.now_ms() - synced_ms_ >= kSyncMs) SyncSwitch({});
  if (!snapshot_->config.rate_limits.empty() && seen_generation_ != commander_->generation()) {
    seen_generation_ = commander_->generation();
    WarnOfEviction();
  }
}

void LimitControl::OnMessage(std::string_view text) {
  const auto message = ParseLimitMessage(text);
  if (!message) return;
  if (message->id.empty()) {
    SyncSwitch({});
  } else {
    ForgetHere(message->id, message->policy);
  }
}

void LimitControl::ForgetHere(std::string_view id, std::string_view policy) {
  const std::string key = LocalKey(id, policy);
  limits_.local.Forget(key);
  limits_.debts.Forget(key);
  forget_(std::string(id));
}

void LimitControl::Switch(const std::string& policy, bool on, Done done) {
  limits_.kill_switch.Set(policy, on);
  if (commander_ == nullptr) {
    loop_.AtTurnEnd([done = std::move(done)] { done({}); });
    return;
  }
  if (untold_.size() >= kMostUntold) untold_.erase(untold_.begin());
  untold_.push_back((on ? "+" : "-") + policy);
  SyncSwitch(std::move(done));
}

// Tells Redis what was changed here, and learns what was changed elsewhere.
void LimitControl::SyncSwitch(Done done) {
  synced_ms_ = loop_.now_ms();
  const size_t told = untold_.size();
  redis::ScriptArguments arguments;
  arguments.Key(prefix_ + ":rl:off").Arg(kSwitchLifetimeMs).Arg(prefix_ + ":rl:ctl");
  for (const std::string& change : untold_) arguments.Arg(change);
  const bool sent = commander_->SendScript(
      SwitchScript(), std::move(arguments), kDeadlineMs,
      [this, alive = std::weak_ptr(alive_), told, done](const cache::Result<redis::Reply>& reply) {
        if (alive.expired()) return;
        if (reply) {
          // What came in the meantime is told next; nothing but this takes from the front.
          untold_.erase(untold_.begin(),
                        untold_.begin() + static_cast<ptrdiff_t>(std::min(told, untold_.size())));
          OnSwitch(*reply);
        }
        if (done) done({.error = reply ? std::string() : reply.error().message});
      });
  if (sent || !done) return;
  loop_.AtTurnEnd([done = std::move(done)] { done({.error = Unavailable().message}); });
}

void LimitControl::OnSwitch(const redis::Reply& members) {
  LimitSwitch::Names off;
  for (const redis::Reply& member : members.items) off.insert(member.text);
  if (off.erase("#") == 0 && untold_.empty()) {
    // Nobody ever turned anything off, or Redis has lost it: then whoever still knows says it
    // again.
    for (const std::string& name : limits_.kill_switch.off()) untold_.push_back("-" + name);
    if (!untold_.empty()) {
      OpsLog().warn("limits: Redis has forgotten what is off ({}); it is told again",
                    Joined(limits_.kill_switch.off()));
      SyncSwitch({});
      return;
    }
  }
  const LimitSwitch::Names before = limits_.kill_switch.Replace(off);
  for (const std::string& change : untold_) {
    limits_.kill_switch.Set(std::string_view(change).substr(1), change[0] == '+');
  }
  if (before != off) {
    OpsLog().warn("limits turned off, as of now: {}", off.empty() ? "none" : Joined(off));
  }
}

void LimitControl::Reset(SnapshotPtr snapshot, const LimitCheck& check, Done done) {
  const std::string id(check.id_text());
  const std::string& policy = check.policy->name;
  const std::vector<std::string> keys =
      commander_ != nullptr ? AllLimitKeys(prefix_, check) : std::vector<std::string>();
  if (keys.empty()) {
    ForgetHere(id, policy);
    loop_.AtTurnEnd([done = std::move(done)] { done({}); });
    return;
  }
  redis::ScriptArguments arguments;
  for (const std::string& key : keys) arguments.Key(key);
  arguments.Arg(prefix_ + ":rl:ctl").Arg("reset " + id + " " + policy);
  auto finish = [this, alive = std::weak_ptr(alive_), id, policy, snapshot = std::move(snapshot),
                 done](const cache::Result<redis::Reply>& reply) {
    if (alive.expired()) return;
    ForgetHere(id, policy);
    if (reply) {
      done({.removed = reply->integer});
    } else {
      done({.error = reply.error().message});
    }
  };
  if (commander_->SendScript(ResetScript(), std::move(arguments), kDeadlineMs, finish)) return;
  loop_.AtTurnEnd([finish] { finish(std::unexpected(Unavailable())); });
}

void LimitControl::Look(SnapshotPtr snapshot, const LimitCheck& check, Looked done) {
  if (commander_ == nullptr) {
    const std::string key = LocalKey(check);
    const rules::LimitAsk ask{.key = key,
                              .plan = check.plan,
                              .unit = 1,
                              .max_entries = check.policy->max_entries,
                              .penalty = check.policy->penalty.count()};
    rules::LimitStates states;
    limits_.local.Check({&ask, 1}, {.count = 0}, net::EventLoop::ReadClockNs() / 1000,
                        {&states, 1});
    loop_.AtTurnEnd([states, done = std::move(done)] { done(states); });
    return;
  }
  auto finish = [snapshot = std::move(snapshot), check,
                 done](const cache::Result<redis::Reply>& reply) {
    int64_t granted = 0;
    std::vector<rules::LimitStates> states;
    if (!reply) {
      done(std::unexpected(reply.error()));
    } else if (!RateLimiter::ReadReply(*reply, {&check, 1}, &granted, &states)) {
      done(cache::Fail(cache::ErrorSource::kInternal, "Redis answered something else"));
    } else {
      done(states[0]);
    }
  };
  if (commander_->SendScript(RateLimiter::Script(),
                             RateLimiter::Arguments(prefix_, {&check, 1}, 0, 0, ""), kDeadlineMs,
                             finish)) {
    return;
  }
  loop_.AtTurnEnd([finish] { finish(std::unexpected(Unavailable())); });
}

// A Redis that evicts forgets what was counted, and nobody can see it from here.
void LimitControl::WarnOfEviction() {
  const std::string url = snapshot_->config.limit_store()->redis;
  commander_->Send(
      {}, {"INFO", "memory"}, kDeadlineMs,
      [this, alive = std::weak_ptr(alive_), url](const cache::Result<redis::Reply>& reply) {
        if (alive.expired() || !reply || !reply->IsString()) return;  // not permitted, perhaps
        const std::string policy = InfoField(reply->text, "maxmemory_policy");
        if (policy.empty() || policy == "noeviction" ||
            InfoField(reply->text, "maxmemory") == "0") {
          eviction_policy_.clear();
          return;
        }
        if (std::exchange(eviction_policy_, policy) == policy) return;
        OpsLog().warn(
            "redis {}: maxmemory-policy is {}: what rate limits have counted may be evicted, which "
            "lets more through; give stores.limits a Redis with noeviction",
            url, policy);
      });
}

}  // namespace satchel::proxy
