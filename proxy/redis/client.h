#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "proxy/net/backoff.h"
#include "proxy/net/breaker.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/connection.h"
#include "proxy/redis/resp.h"
#include "rules/config.h"

namespace satchel::redis {

// One Redis server as one worker sees it: a connection that comes back by itself, a breaker for
// all uses, the offset of the server's clock, and scripts. Owner thread only, counters excepted.
class Client {
 public:
  struct Options {
    std::string host;  // name or IP literal; "unix:/path" for a unix socket
    uint16_t port = 6379;
    std::string user;  // empty: AUTH with the password alone
    std::string password;
    uint32_t database = 0;
    std::string name = "satchel";     // CLIENT SETNAME
    int64_t connect_timeout_ms = 250;  // resolve, connect and greet
    net::Breaker::Options breaker;
    net::Backoff::Options backoff;
    Connection::Limits limits;
    int64_t clock_interval_ms = 60'000;  // between two readings of the server's clock
    static Options From(const rules::L2Config& config);
  };

  enum class Event : uint8_t { kConnected, kDisconnected, kConnectFailed, kBreakerOpened,
                               kBreakerClosed };
  // For the log. `detail` says why; it holds no secret.
  using OnEvent = std::function<void(Event event, std::string_view detail)>;

  struct Counters {
    net::Counter calls;
    net::Counter errors;           // of any kind, deadline misses included
    net::Counter deadline_misses;
    net::Counter rejected;         // not even sent: breaker open, not connected, queue full
    net::Counter late_replies;     // came after their deadline and were dropped
    net::Counter connects;
    net::Counter disconnects;
    net::Counter script_reloads;   // NOSCRIPT seen
    net::Counter bytes_in;
    net::Counter bytes_out;
    net::Counter writes;           // write system calls
    net::Counter latency_us;       // moving average of answered calls
    net::Counter breaker_state;    // net::Breaker::State as a number
    net::Counter connected;        // 0 or 1
  };

  Client(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event = {});
  ~Client();  // cancels everything that waits
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Scripts are loaded at each connect; add them before Start(). The script must outlive us.
  void AddScript(const Script& script);
  void Start();

  // Sends at the end of the loop turn, together with everything else of the turn. `done` runs
  // once, after the call has returned: with the reply (an error reply is an Error, its text first
  // the code: "OOM command not allowed..."), or with an Error after `deadline_ms` or when the
  // connection broke. Dropping the handle cancels: what is on its way still takes effect.
  [[nodiscard]] PendingReply Call(Command command, int64_t deadline_ms, Connection::Done done);
  [[nodiscard]] PendingReply CallScript(const Script& script, ScriptArguments arguments,
                                        int64_t deadline_ms, Connection::Done done);
  // Without an answer; false if it was not even queued.
  bool Send(Command command, int64_t deadline_ms);
  bool SendScript(const Script& script, ScriptArguments arguments, int64_t deadline_ms);

  // False: a call would fail at once.
  bool available() const;
  // Grows by one with each connection: what was known of the server may no longer hold.
  uint64_t generation() const { return generation_; }
  // Server time minus the system clock, microseconds; 0 until first measured.
  int64_t clock_offset_us() const { return clock_offset_us_; }
  bool clock_known() const { return clock_known_; }

  const Counters& counters() const { return counters_; }

 private:
  void Connect();
  void Open(std::vector<net::Address> addresses);
  void Greet();
  void OnReady();
  void OnClosed(std::string reason);
  void Reconnect();
  void Failed();
  void Succeeded();
  void Probe();
  void ReadClock();
  void OnClock(int64_t sent_us, const Reply& reply);
  bool Refused(const Connection::Done* done);
  std::shared_ptr<CallState> MakeCall(int64_t deadline_ms, Connection::Done done);
  void Tell(Event event, std::string_view detail);

  net::EventLoop& loop_;
  net::Resolver& resolver_;
  const Options options_;
  const OnEvent on_event_;
  Counters counters_;
  net::Breaker breaker_;
  net::Backoff backoff_;
  std::vector<const Script*> scripts_;
  std::unique_ptr<net::Resolver::Pending> resolving_;
  std::unique_ptr<Connection> connection_;
  net::Timer connect_timer_;
  net::Timer reconnect_timer_;
  net::Timer probe_timer_;
  net::Timer clock_timer_;
  std::vector<PendingReply> own_calls_;
  uint64_t generation_ = 0;
  int64_t clock_offset_us_ = 0;
  bool clock_known_ = false;
  bool started_ = false;
};

}  // namespace satchel::redis
