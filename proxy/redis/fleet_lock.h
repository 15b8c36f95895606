#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"

namespace satchel::redis {

// One fetch for the whole fleet: a key in Redis that whoever fetches holds, and a channel on which
// it tells how that ended. The lock is a short lease that a living holder prolongs: one that dies,
// or loses Redis, holds up nobody for longer. A lost lock (a pause longer than a lease, a
// fail-over) costs a second fetch and nothing else, so it needs no quorum. One object per worker,
// on its thread.
class FleetLock {
 public:
  struct Options {
    std::string prefix = "satchel";
    std::string holder;        // of this worker, unique in the fleet
    int64_t deadline_ms = 20;  // of one call
    int64_t lease_ms = 600;    // prolonged at each third of it
  };
  struct Counters {
    net::Counter taken;
    net::Counter busy;     // somebody else held it
    net::Counter renewed;
    net::Counter lost;     // expired before its holder was done
    net::Counter unknown;  // no answer in time: everybody fetches
  };
  // What the holder tells those who wait.
  enum class News : uint8_t {
    kStored,       // look into the shared tier
    kFailed,       // somebody else's turn
    kEach,         // storable, and not to be found in the shared tier: fetch, and do not wait
    kUncacheable,  // an answer to one request alone
    kUnknown,      // of another version: as kFailed
  };
  static std::string_view Word(News news);
  static News Parse(std::string_view word);

  enum class Outcome : uint8_t { kTaken, kBusy, kUnknown };

  // `commander` must be started after this was made, and outlive it. A turn that outlives this does
  // nothing more.
  FleetLock(net::EventLoop& loop, Commander& commander, Options options);

  // One who wants to fetch. `slot` is the key under which the response would be stored. An origin
  // that is silent for `patience_ms` loses it the lock. What it holds it gives back when it goes,
  // as failed if nothing else was said.
  class Turn {
   public:
    Turn(FleetLock& lock, std::string slot, int64_t patience_ms);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    void Take(std::function<void(Outcome)> done);
    // How much is left of the present holder's lease, in milliseconds; 0 if there is none, -1 if
    // not known.
    void AskLeft(std::function<void(int64_t left_ms)> done);
    // The origin has given a sign of life: patience begins anew.
    void Progress() { progress_ = true; }
    void Conclude(News news);

    const std::string& slot() const { return slot_; }
    std::string channel() const;

   private:
    void Renew();

    const std::weak_ptr<FleetLock*> alive_;
    FleetLock& lock_;
    const std::string slot_;
    const std::string key_;
    const std::string token_;
    const int64_t patience_ms_;
    const int64_t lease_ms_;  // no longer than that
    int64_t silent_since_ms_ = 0;
    bool held_ = false;
    bool progress_ = false;
    PendingReply pending_;
    PendingReply left_;
    PendingReply renewing_;
    net::Timer renew_;
  };

  bool available(std::string_view slot) const { return commander_.available(slot); }
  const Counters& counters() const { return counters_; }

 private:
  net::EventLoop& loop_;
  Commander& commander_;
  const Options options_;
  Counters counters_;
  uint64_t turns_ = 0;
  const std::shared_ptr<FleetLock*> self_ = std::make_shared<FleetLock*>(this);
};

}  // namespace satchel::redis
