#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "cache/base/result.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/connection.h"
#include "proxy/redis/resp.h"

namespace satchel::redis {

class Node;
struct Access;

// True for the Error of a call whose deadline passed.
bool IsDeadline(const cache::Error& error);
// True for the Error of a call that was not sent: no connection, breaker open, queue full.
bool IsUnavailable(const cache::Error& error);

// What a call is, which decides the connection that carries it. Whatever the lane, no call
// overtakes a kStore or kBulkWrite of the same hash tag that was made before it: a removal after a
// store wins, a lookup after either sees it.
enum class Lane : uint8_t {
  kFast,       // small and waited for: lookups, checks, locks
  kBulkRead,   // large replies: chunks
  kStore,      // large commands: stores. Dropped, the oldest first, when a queue is full; never
               // sent again to another server
  kBulkWrite,  // other changes of a record, never dropped: removals, refreshes
};

// What a key hashes by in a cluster: what stands between the first "{" and the next "}", if that
// is not empty; otherwise all of it.
std::string_view HashTag(std::string_view key);

// Of a cluster as one worker sees it. May be read by any thread.
struct ClusterCounters {
  net::Counter refreshes;  // of the map of slots
  net::Counter moved;
  net::Counter asked;
  net::Counter try_again;
  net::Counter gave_up;     // redirected too often, or a store that was redirected
  net::Counter cross_slot;  // keys of different slots in one call: a bug of ours
  net::Counter unserved;    // calls for a slot that nobody serves
};

// Redis as one worker sees it, whatever stands behind: one server, a master that sentinels name,
// or a cluster. Calls name a key, because in a cluster the key decides who is asked; all keys of
// one call must share a hash tag. Owner thread only.
class Commander {
 public:
  using Done = Connection::Done;

  virtual ~Commander() = default;

  // Scripts are loaded at each connect; add them before Start(). They must outlive this.
  virtual void AddScript(const Script& script) = 0;
  virtual void Start() = 0;

  // Logins and TLS from the next connection on.
  virtual void SetAccess(const Access& servers, const Access& sentinels) = 0;
  // Each server that is known, for metrics.
  virtual void VisitNodes(const std::function<void(const Node&)>& visit) const = 0;

  // Sends at the end of the loop turn, together with everything else of the turn. `done` runs
  // once, after the call has returned: with the reply (an error reply is an Error, its text first
  // the code: "OOM command not allowed..."), or with an Error after `deadline_ms` or when the
  // connection broke. Dropping the handle cancels: what is on its way still takes effect. `key` is
  // one of the command's; empty for a command without keys that any server may answer.
  [[nodiscard]] PendingReply Call(std::string_view key, Command command, int64_t deadline_ms,
                                  Done done, Lane lane = Lane::kFast);
  // The key is the first of the arguments'.
  [[nodiscard]] PendingReply CallScript(const Script& script, ScriptArguments arguments,
                                        int64_t deadline_ms, Done done, Lane lane = Lane::kFast);
  // The same without a handle. False: not even queued, and `done` (may be empty) never runs.
  bool Send(std::string_view key, Command command, int64_t deadline_ms, Done done = {},
            Lane lane = Lane::kFast);
  bool SendScript(const Script& script, ScriptArguments arguments, int64_t deadline_ms,
                  Done done = {}, Lane lane = Lane::kFast);

  // False: a call with this key would fail at once. Empty: no call can be made at all.
  virtual bool available(std::string_view key) const = 0;
  // Grows with each new connection and each change of the topology: what was known of the server
  // may no longer hold.
  virtual uint64_t generation() const = 0;
  // Time of the server that holds the key minus the system clock, in microseconds; 0 until first
  // measured.
  virtual int64_t clock_offset_us(std::string_view key) const = 0;
  // True: several servers share the keys, so that one call can't name keys of different hash tags.
  virtual bool clustered() const = 0;
  // Null unless clustered.
  virtual const ClusterCounters* cluster_counters() const { return nullptr; }

 protected:
  explicit Commander(net::EventLoop& loop) : loop_(loop) {}
  Commander(const Commander&) = delete;
  Commander& operator=(const Commander&) = delete;

  // Takes the call, or returns false. `call` carries the script, if it is one.
  virtual bool Dispatch(std::string_view key, Lane lane, Command command,
                        const std::shared_ptr<CallState>& call, int64_t deadline_ms) = 0;
  // A call with everything but its deadline.
  static std::shared_ptr<CallState> MakeCall(Done done);

  net::EventLoop& loop_;

 private:
  bool DispatchScript(const Script& script, ScriptArguments arguments, Lane lane,
                      const std::shared_ptr<CallState>& call, int64_t deadline_ms);
  PendingReply Handle(bool sent, std::shared_ptr<CallState> call);
};

}  // namespace satchel::redis
