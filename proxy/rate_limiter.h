#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/limit_leases.h"
#include "proxy/limit_refusals.h"
#include "proxy/limit_request.h"
#include "proxy/limit_slots.h"
#include "proxy/limit_verdict.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"
#include "proxy/shared_limits.h"

namespace satchel::proxy {

// The limiter of one worker. All policies of a request that enforce are one question, answered by
// one atomic script in Redis: room everywhere, or nothing is charged. Equal questions of one turn
// of the loop are one call. Refusals are remembered for as long as they must hold. Without Redis
// the windows are in this process; when Redis is away each policy's `store_down` decides. In a
// cluster, policies that count different identities are asked one after the other, the strictest
// first: a later refusal leaves the earlier charge. Owner thread only, counters excepted.
class RateLimiter {
 public:
  struct Options {
    std::string prefix = "satchel";
    int64_t deadline_ms = 20;  // then the policy's store_down decides
    LimitRefusals::Options refusals{};
    // Unique in the fleet and the process: names slots of concurrency.
    std::string token = "satchel";
  };
  struct Counters {
    net::Counter checks;
    net::Counter allowed;
    net::Counter refused;
    net::Counter coalesced;    // answered by another check's call
    net::Counter from_memory;  // refusals without a call
    net::Counter from_lease;   // admissions by slots taken ahead
    net::Counter lease_lost;   // slots taken ahead that nobody used
    net::Counter store_down;   // decided by store_down
    net::Counter calls;        // sent to Redis
    net::Counter debts_paid;   // units charged after Redis came back
  };

  // `client` null: no Redis; everything is decided in this process. All must outlive the limiter.
  // To be made before the client is started: it adds its scripts.
  RateLimiter(net::EventLoop& loop, redis::Commander* client, SharedLimits& shared,
              Options options);
  ~RateLimiter();

  // Charges what an answer turned out to cost besides what was charged before, also above the
  // limit.
  void ChargeAfter(const LimitCheck& check, int64_t units);

  // To be called with a new configuration: limits may have been raised, policies have gone.
  void ForgetConfiguration();
  // Someone's count was reset; empty: anybody's may have been.
  void Forget(std::string_view id);
  // Tells Redis what was let through while it was away, if there is anything and Redis is there.
  void PayDebts();

  const Counters& counters() const { return counters_; }
  size_t slots_held() const { return slots_.held(); }

  // The call that asks `count` times for all checks of a group, for whoever wants to look.
  static redis::ScriptArguments Arguments(const std::string& prefix,
                                          std::span<const LimitCheck> checks, int64_t count,
                                          int64_t lease_us, std::string_view token);
  static const redis::Script& Script();
  // The states that a reply to it holds, check by check; nothing if it has another form.
  static bool ReadReply(const redis::Reply& reply, std::span<const LimitCheck> checks,
                        int64_t* granted, std::vector<rules::LimitStates>* states);

 private:
  friend class LimitRequest;
  using Batch = LimitRequest::Batch;

  // How many of the checks from `begin` on are one question.
  size_t GroupEnd(std::span<const LimitCheck> checks, size_t begin) const;
  // Appends verdicts where they can be known now: no Redis, Redis unavailable, a remembered
  // refusal, a slot taken ahead. False: join a batch.
  bool DecideNow(LimitRequest& request, std::span<const LimitCheck> group);
  void Join(LimitRequest& request, std::span<const LimitCheck> group);
  void Leave(LimitRequest& request);
  void GiveBack(const LimitRequest::Slot& slot);

  // `owed`: what is let through is to be charged when Redis is back.
  void FallBack(LimitRequest& request, std::span<const LimitCheck> group, bool owed);
  bool DecideInProcess(LimitRequest& request, std::span<const LimitCheck> group,
                       LimitVerdict::Source source, uint64_t share);
  void WriteDown(std::span<const LimitCheck> group, int64_t calls);
  void Conclude(LimitRequest& request, std::span<const LimitCheck> group, bool granted,
                LimitVerdict::Source source, std::span<const rules::LimitStates> states);
  void Count(const LimitCheck& check, const LimitVerdict& verdict);

  void SendBatches();
  void OnReply(Batch& batch, const cache::Result<redis::Reply>& reply);
  void Distribute(Batch& batch, int64_t granted, std::vector<rules::LimitStates>& states);
  void FinishWithoutReply(Batch& batch, bool perhaps_done);
  void RemoveUnheld(const Batch& batch, int64_t granted);
  void ForceCharge(std::span<const std::string> keys, std::span<const rules::WindowSpec> specs,
                   redis::Commander::Done done);

  net::EventLoop& loop_;
  redis::Commander* client_;
  SharedLimits& shared_;
  const Options options_;
  Counters counters_;
  LimitRefusals refusals_;
  LimitLeases leases_;
  LimitSlots slots_;
  uint64_t generation_ = 0;
  uint64_t next_token_ = 0;
  int64_t forgotten_us_ = 0;  // what was asked before is not to be remembered
  using Batches = std::unordered_map<uint64_t, std::shared_ptr<Batch>>;
  Batches open_batches_;   // of this turn
  Batches spare_batches_;  // empty
  std::unordered_map<const rules::Plan*, LimitStats::Series*> series_;
  std::vector<rules::LimitStates> scratch_;
  bool flush_scheduled_ = false;
  // For completions that may come when we are gone.
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::proxy
