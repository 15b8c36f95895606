#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "proxy/net/breaker.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/connection.h"
#include "proxy/redis/link.h"

namespace satchel::redis {

// One Redis server as one worker sees it: a fast and a bulk connection that come back by
// themselves, one breaker for both, and the offset of the server's clock. Owner thread only,
// counters excepted.
//
// The bulk connection is made when it is first needed. The breaker opens after failures in a row
// or when too many of many fail, whatever they were (deadline, lost connection, failed connect, a
// server that says it cannot serve), and closes when a PING of ours is answered in time: one when
// its time is over, and one over each new connection.
class Node {
 public:
  struct Options : Link::Options {
    net::Breaker::Options breaker{};
    int64_t probe_deadline_ms = 250;
    int64_t clock_interval_ms = 60'000;  // between two readings of the server's clock
  };

  enum class Event : uint8_t {
    kConnected,
    kDisconnected,
    kConnectFailed,  // told once for equal failures in a row
    kBreakerOpened,
    kBreakerClosed,
  };
  // For the log. `detail` says why; it holds no secret.
  using OnEvent = std::function<void(Event event, std::string_view detail)>;

  struct Hooks {
    OnEvent on_event{};
    std::function<void()> on_ready{};  // a fast connection was greeted
    // A redirect ("MOVED", "ASK", ...) or any other error reply. True: the call was taken over.
    std::function<bool(const std::shared_ptr<CallState>&, const Reply&)> on_error{};
  };

  struct Counters {
    net::Counter calls;
    net::Counter errors;  // of any kind, deadline misses included
    net::Counter deadline_misses;
    net::Counter rejected;      // not even queued: breaker open, not connected, queue full
    net::Counter dropped;       // from a full queue, to make room
    net::Counter late_replies;  // came after their deadline and were dropped
    net::Counter connects;
    net::Counter disconnects;      // of a ready connection
    net::Counter failed_connects;  // attempts
    net::Counter script_reloads;   // NOSCRIPT seen
    net::Counter redirects;        // MOVED, ASK, TRYAGAIN seen
    net::Counter breaker_opened;   // times
    net::Counter bytes_in;
    net::Counter bytes_out;
    net::Counter writes;         // write system calls
    net::Counter latency_us;     // moving average of answered calls on the fast connection
    net::Counter breaker_state;  // net::Breaker::State as a number
    net::Counter connected;      // the fast connection: 0 or 1
  };

  Node(net::EventLoop& loop, net::Resolver& resolver, Options options, Hooks hooks);
  ~Node();  // cancels everything that waits
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void AddScript(const Script& script) { options_.scripts.push_back(&script); }
  void Start() { fast_.Start(); }
  bool started() const { return fast_.started(); }
  // For good: calls that wait fail at the end of the turn.
  void Stop(const std::string& reason);

  // Takes the call, or counts and returns false. Arms its deadline, unless that is 0: then the
  // one it has goes on.
  bool Submit(std::string_view key, Lane lane, Command command,
              const std::shared_ptr<CallState>& call, int64_t deadline_ms);

  bool available() const { return breaker_.closed() && fast_.taking(); }
  bool ready() const { return fast_.ready(); }
  bool bulk_ready() const { return bulk_.ready(); }
  uint64_t generation() const { return generation_; }
  int64_t clock_offset_us() const { return clock_offset_us_; }
  const ServerAddress& server() const { return options_; }
  // Holds from the next connection on.
  void SetAccess(Access access) { static_cast<Access&>(options_) = std::move(access); }
  const Counters& counters() const { return counters_; }

  // Closes what is open; new connections follow.
  void Drop(const std::string& reason);

 private:
  // Of calls under way that may not be overtaken by others of the same hash tag.
  struct Fence {
    uint32_t calls = 0;
    Link* link = nullptr;
  };

  Link::Hooks HooksOf(bool fast);
  Link& LinkFor(Lane lane, uint64_t tag);
  bool SendOn(Link& link, Command command, const std::shared_ptr<CallState>& call,
              int64_t deadline_ms);
  void OnReady(bool fast);
  void OnLost(bool fast, const std::string& reason);
  void OnFailed(bool fast, const std::string& reason);
  void OnOutcome(bool fast, const CallState& call, const Reply* reply);
  bool OnError(const std::shared_ptr<CallState>& call, const Reply& reply);
  void OnGone(const CallState& call);
  void OnDeadline(CallState& call);
  void OnClock(int64_t sent_us, const Reply& reply);
  void ReadClock();
  void Failed(std::string_view why);
  void Succeeded();
  void Probe();
  void SendProbe();
  void SyncBreaker();
  void SyncTotals();
  void Tell(Event event, std::string_view detail) const;

  net::EventLoop& loop_;
  Options options_;
  const Hooks hooks_;
  Counters counters_;
  net::Breaker breaker_;
  std::unordered_map<uint64_t, Fence> fences_;  // by hash of the tag; as many as calls wait
  net::Timer probe_timer_;
  net::Timer clock_timer_;
  std::string last_failure_;  // told last
  uint64_t generation_ = 0;
  int64_t clock_offset_us_ = 0;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // for work put off
  Link fast_;
  Link bulk_;
};

}  // namespace satchel::redis
