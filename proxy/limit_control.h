#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "proxy/limit_verdict.h"
#include "proxy/live_count.h"
#include "proxy/net/event_loop.h"
#include "proxy/purger.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/subscriber.h"
#include "proxy/shared_limits.h"
#include "proxy/snapshot.h"

namespace satchel::proxy {

// What instances tell each other about limits, as it stands in a message: "switch", or
// "reset ID POLICY". Nothing: it is something else.
struct LimitMessage {
  std::string_view id;  // both empty: the kill switch has changed
  std::string_view policy;
};
std::optional<LimitMessage> ParseLimitMessage(std::string_view text);

// Limits as operators see and change them, in every instance that shares the limits' Redis: the
// kill switch, and identities that begin anew. Also knows how many such instances live, and warns
// of a Redis that may forget what was counted. Without Redis all of it concerns this process. Main
// thread only; never waits.
class LimitControl {
 public:
  struct Outcome {
    std::string error{};  // empty: every instance knows
    int64_t removed = 0;  // keys of Redis
  };
  using Done = std::function<void(const Outcome&)>;
  using Looked = std::function<void(cache::Result<rules::LimitStates>)>;
  // An identity begins anew: to be told to every worker's limiter.
  using Forget = std::function<void(const std::string& id)>;

  // To be made after the purger and before it is started, whose connections it shares where limits
  // have no Redis of their own. All must outlive it.
  LimitControl(net::EventLoop& loop, SnapshotPtr snapshot, SharedLimits& limits, Purger& purger,
               Forget forget);
  ~LimitControl();
  LimitControl(const LimitControl&) = delete;
  LimitControl& operator=(const LimitControl&) = delete;

  void Start();
  void Apply(SnapshotPtr snapshot);
  // Others need not count this instance any more.
  void Leave();

  // Turns a policy, or LimitSwitch::kAll, on or off: here at once, elsewhere as soon as Redis can
  // be told, which is tried again until it succeeds. `done` runs after the call has returned, as of
  // the first attempt.
  void Switch(const std::string& policy, bool on, Done done);
  // Forgets what was counted. The check is of `snapshot`, which is kept until `done` has run, after
  // the call has returned.
  void Reset(SnapshotPtr snapshot, const LimitCheck& check, Done done);
  // How an identity stands. As above.
  void Look(SnapshotPtr snapshot, const LimitCheck& check, Looked done);

 private:
  struct Own;

  void OnMessage(std::string_view message);
  void ForgetHere(std::string_view id, std::string_view policy);
  void SyncSwitch(Done done);
  void OnSwitch(const redis::Reply& members);
  void Tick();
  void WarnOfEviction();

  net::EventLoop& loop_;
  SnapshotPtr snapshot_;
  SharedLimits& limits_;
  Purger& purger_;
  const Forget forget_;
  std::string prefix_;
  std::unique_ptr<Own> own_;               // where limits have a Redis of their own
  redis::Commander* commander_ = nullptr;  // null: no Redis
  redis::Subscriber* subscriber_ = nullptr;
  redis::Subscriber::Subscription subscription_;
  std::vector<std::string> untold_;  // changes of the switch, as the script takes them
  LiveCount live_;
  net::Timer tick_;
  int64_t synced_ms_ = 0;
  uint64_t seen_generation_ = 0;  // of the Redis that was asked whether it evicts
  std::string eviction_policy_;   // warned of
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::proxy
