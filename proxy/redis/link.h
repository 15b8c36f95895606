#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/backoff.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/net/tls.h"
#include "proxy/redis/connection.h"
#include "proxy/redis/locator.h"
#include "proxy/redis/resp.h"

namespace satchel::redis {

// How a server is entered. Read at each connect: a new password or certificate holds from the next
// connection on.
struct Access {
  std::string user{};  // empty: AUTH with the password alone
  std::string password{};
  std::shared_ptr<const net::ClientTls> tls{};  // null: none
};

// A connection to one server that comes back by itself. Owner thread only.
//
//   locating -> resolving -> connecting -> greeting (AUTH, SELECT, scripts, TIME) -> ready
//        ^---------- backoff with jitter <---- any failure -------------------------'
class Link {
 public:
  struct Options : ServerAddress, Access {
    std::shared_ptr<Locator> locator{};  // asked at each connect, instead of the address here
    uint32_t database = 0;
    std::string name = "satchel";      // CLIENT SETNAME
    int64_t connect_timeout_ms = 250;  // resolve, connect and greet
    net::Backoff::Options backoff{};
    Connection::Limits limits{};
    bool must_be_master = false;           // else it is asked again where the server is
    bool is_sentinel = false;              // greeted with AUTH and PING alone
    std::vector<const Script*> scripts{};  // loaded in the greeting
  };
  struct Hooks {
    std::function<void()> on_ready{};
    // A ready connection broke; an attempt failed. It tries again.
    std::function<void(const std::string& reason)> on_lost{};
    std::function<void(const std::string& reason)> on_failed{};
    // Reply to TIME, and the wall clock when it was asked, in microseconds.
    std::function<void(int64_t sent_us, const Reply& reply)> on_clock{};
    // As in Connection::Hooks.
    std::function<void(const CallState&, const Reply*)> on_outcome{};
    std::function<bool(const std::shared_ptr<CallState>&, const Reply&)> on_error{};
    std::function<void(CallState&)> on_gone{};
    std::function<void(CallState&)> on_dropped{};
    std::function<void(Reply)> on_push{};
  };

  // Nothing happens before Start(). `options` must outlive the link and may change between two
  // connects.
  Link(net::EventLoop& loop, net::Resolver& resolver, const Options& options, Hooks hooks);
  ~Link();  // cancels everything that waits
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void Start();
  bool started() const { return started_; }
  // Closes the connection, if there is one; a new one follows.
  void Drop(std::string reason);

  // Closes for good.
  void Stop(std::string reason);

  // False: no connection, or its queue is full.
  bool Send(Command command, std::shared_ptr<CallState> call);
  bool SendUnanswered(Command command);
  // Calls are taken: connecting, greeting or ready.
  bool taking() const { return connection_ != nullptr && !connection_->closed(); }
  bool ready() const { return connection_ != nullptr && connection_->open(); }
  Connection::Totals totals() const;  // of all connections so far

 private:
  void Connect();
  void Resolve(const ServerAddress& server);
  void OpenNext();
  void Greet();
  void SendGreeting(Command command, Connection::Done done);
  void OnTime(int64_t sent_us, const cache::Result<Reply>& reply);
  void OnRole(const cache::Result<Reply>& reply);
  void OnReady();
  void OnClosed(const std::string& reason);
  void Failed(const std::string& reason);

  net::EventLoop& loop_;
  net::Resolver& resolver_;
  const Options& options_;
  const Hooks hooks_;
  net::Backoff backoff_;
  std::unique_ptr<Locator::Pending> locating_;
  std::unique_ptr<net::Resolver::Pending> resolving_;
  std::string host_;                      // of the attempt, for TLS
  std::vector<net::Address> candidates_;  // still to be tried in this attempt, last first
  std::unique_ptr<Connection> connection_;
  Connection::Totals totals_;  // of earlier connections
  net::Timer connect_timer_;
  net::Timer reconnect_timer_;
  uint64_t attempts_ = 0;
  bool started_ = false;
  bool was_ready_ = false;
};

// The wall clock, in microseconds.
int64_t WallClockUs();

// The server's clock minus ours in microseconds, from its answer to a TIME sent at `sent_us` and
// read now; half of the round trip is taken off. Nothing if the answer is none.
std::optional<int64_t> ClockOffsetUs(int64_t sent_us, const Reply& reply);

}  // namespace satchel::redis
