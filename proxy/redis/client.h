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
#include "proxy/redis/commander.h"
#include "proxy/redis/connection.h"
#include "proxy/redis/resp.h"
#include "rules/config.h"

namespace satchel::redis {

// One Redis server as one worker sees it: a connection that comes back by itself, a breaker for
// all uses, the offset of the server's clock, and scripts. Owner thread only, counters excepted.
//
//   resolving -> connecting -> greeting (AUTH, SELECT, scripts, TIME) -> ready
//        ^---------- backoff with jitter <---- any failure -----------------'
//
// Calls are taken while connecting, greeting and ready, if the breaker is closed. The breaker
// opens after failures in a row, whatever they were (deadline, lost connection, failed connect, a
// server that says it cannot serve), and closes when a PING of ours or a new connection's
// greeting is answered.
class Client final : public Commander {
 public:
  struct Options {
    std::string host{};  // name or IP literal; "unix:/path" for a unix socket
    uint16_t port = 6379;
    std::string user{};  // empty: AUTH with the password alone
    std::string password{};
    uint32_t database = 0;
    std::string name = "satchel";      // CLIENT SETNAME
    int64_t connect_timeout_ms = 250;  // resolve, connect and greet; also of a probe
    net::Breaker::Options breaker{};
    net::Backoff::Options backoff{};
    Connection::Limits limits{};
    int64_t clock_interval_ms = 60'000;  // between two readings of the server's clock
    static Options From(const rules::L2Config& config);
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

  struct Counters {
    net::Counter calls;
    net::Counter errors;  // of any kind, deadline misses included
    net::Counter deadline_misses;
    net::Counter rejected;      // not even queued: breaker open, not connected, queue full
    net::Counter late_replies;  // came after their deadline and were dropped
    net::Counter connects;
    net::Counter disconnects;     // of a ready connection
    net::Counter script_reloads;  // NOSCRIPT seen
    net::Counter bytes_in;
    net::Counter bytes_out;
    net::Counter writes;         // write system calls
    net::Counter latency_us;     // moving average of answered calls
    net::Counter breaker_state;  // net::Breaker::State as a number
    net::Counter connected;      // 0 or 1
  };

  Client(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event = {});
  ~Client() override;  // cancels everything that waits

  void AddScript(const Script& script) override { scripts_.push_back(&script); }
  void Start() override;

  bool available(std::string_view key) const override;
  bool ready() const { return connection_ != nullptr && connection_->open(); }
  uint64_t generation() const override { return generation_; }
  int64_t clock_offset_us(std::string_view) const override { return clock_offset_us_; }
  bool clustered() const override { return false; }

  const Counters& counters() const { return counters_; }

 private:
  void Connect();
  void OpenNext();
  void Greet();
  void SendGreeting(Command command, Connection::Done done);
  void OnReady();
  void OnClosed(const std::string& reason);
  void ConnectFailed(const std::string& reason);
  void OnOutcome(const CallState& call, const Reply* reply);
  void OnDeadline(CallState& call);
  void Failed(std::string_view why);
  void Succeeded();
  void Probe();
  void ReadClock();
  void OnClock(int64_t sent_us, const Reply& reply);
  bool Dispatch(std::string_view key, Lane lane, Command command,
                const std::shared_ptr<CallState>& call, int64_t deadline_ms) override;
  bool Submit(Command command, const std::shared_ptr<CallState>& call, int64_t deadline_ms);
  void Tell(Event event, std::string_view detail) const;

  net::Resolver& resolver_;
  const Options options_;
  const OnEvent on_event_;
  Counters counters_;
  net::Breaker breaker_;
  net::Backoff backoff_;
  std::vector<const Script*> scripts_;
  std::unique_ptr<net::Resolver::Pending> resolving_;
  std::vector<net::Address> candidates_;  // still to be tried in this attempt, last first
  std::unique_ptr<Connection> connection_;
  Connection::Totals totals_;  // of earlier connections
  net::Timer connect_timer_;
  net::Timer reconnect_timer_;
  net::Timer probe_timer_;
  net::Timer clock_timer_;
  std::string last_failure_;  // told last
  uint64_t attempts_ = 0;
  uint64_t generation_ = 0;
  int64_t clock_offset_us_ = 0;
};

}  // namespace satchel::redis
