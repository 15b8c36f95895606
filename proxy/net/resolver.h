#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/base/result.h"
#include "proxy/net/address.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"

namespace satchel::net {

// Names to addresses for one worker, without blocking it. c-ares asks the servers of resolv.conf
// (search list and ndots included) and reads /etc/hosts; unlike libevent's resolver it tells the
// TTL of the records, sorts by RFC 6724 and re-asks over TCP when an answer was cut.
//
// Answers are kept for their TTL within [min_ttl, max_ttl], failures for a second. When servers
// fail (a name that does not exist is no failure), the last good answer serves for `stale` more.
// One question per name however many ask. Owner thread only.
class Resolver {
 public:
  struct Options {
    std::string servers{};  // "127.0.0.1:5353,[::1]:53"; empty = resolv.conf
    int64_t min_ttl_ms = 1000;
    int64_t max_ttl_ms = 30'000;
    int64_t negative_ttl_ms = 1000;
    int64_t stale_ms = 600'000;
    int64_t timeout_ms = 5000;  // for one question with all its retries
    int64_t attempt_ms = 1000;  // for one server, doubled at each round
    size_t max_names = 1024;    // kept or being asked; the least recently used goes
    size_t max_waiting = 16'384;
  };
  // Never empty on success; in the order to try.
  using Done = std::function<void(cache::Result<std::vector<Address>>)>;

  // Cancels when destroyed: then Done never runs.
  class Pending {
   public:
    virtual ~Pending() = default;
  };

  explicit Resolver(EventLoop& loop) : Resolver(loop, Options()) {}
  Resolver(EventLoop& loop, Options options);
  ~Resolver();  // cancels everything
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `host` is a name, an IP literal (IPv6 with or without brackets) or "unix:/path". "localhost"
  // and names below it need no server (RFC 6761). Done runs once, after the call has returned.
  [[nodiscard]] std::unique_ptr<Pending> Resolve(std::string_view host, uint16_t port, Done done);

  struct Counters {
    Counter questions;  // sent to c-ares
    Counter hits;       // answered from the table
    Counter failures;
    Counter stale;  // answered by an old address while servers fail
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Request;
  struct Name;
  struct Ares;
  using Answer = cache::Result<std::vector<Address>>;

  void Ask(Name& name);
  void OnAnswer(Name& name, Answer answer, int64_t ttl_ms, bool servers_failed);
  Name* Enter(std::string key);

  EventLoop& loop_;
  const Options options_;
  Counters counters_;
  size_t waiting_ = 0;
  std::list<std::unique_ptr<Name>> order_;  // most recently used first
  std::unordered_map<std::string_view, std::list<std::unique_ptr<Name>>::iterator> names_;
  std::unique_ptr<Ares> ares_;
};

}  // namespace satchel::net
