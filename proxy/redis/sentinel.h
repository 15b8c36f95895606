#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/link.h"
#include "proxy/redis/locator.h"

namespace satchel::redis {

// Bytes from outside: the answer to SENTINEL GET-MASTER-ADDR-BY-NAME, and a message on
// +switch-master that is about `master`. Nothing if it is none, or a bad one.
std::optional<ServerAddress> ReadMasterAddress(const Reply& reply);
std::optional<ServerAddress> ReadSwitchMaster(const Reply& reply, std::string_view master);

// Finds the master by asking sentinels, and hears of a fail-over. Owner thread only.
//
// Each question goes to the next sentinel, so that one that knows only the past is not asked
// twice in a row; those that do not answer in time are passed over. Whoever connects checks with
// ROLE that it found a master. One connection more listens for +switch-master.
class SentinelLocator final : public Locator {
 public:
  struct Options {
    std::vector<ServerAddress> sentinels{};
    std::string master{};
    Access access{};               // of the sentinels
    int64_t ask_timeout_ms = 250;  // for one sentinel: connect, greet and answer
  };

  SentinelLocator(net::EventLoop& loop, net::Resolver& resolver, Options options);
  ~SentinelLocator() override;

  [[nodiscard]] std::unique_ptr<Pending> Locate(Done done) override;

  // `on_switch` runs when a sentinel tells of a new master that is not the one told last.
  void Watch(std::function<void(const ServerAddress& master)> on_switch);
  void SetAccess(Access access);

 private:
  struct Waiter;

  Link::Options LinkOptions() const;
  void AskNext();
  void Ask();
  void OnAnswer(const cache::Result<Reply>& reply);
  void NoAnswer(const std::string& reason);
  void Finish(const cache::Result<ServerAddress>& result);
  void Point(Link::Options& options, size_t index) const;
  void OnMessage(const Reply& reply);
  std::string NameOf(size_t index) const;

  net::EventLoop& loop_;
  net::Resolver& resolver_;
  Options options_;
  std::vector<std::shared_ptr<Waiter>> waiters_;
  ServerAddress told_;  // last
  size_t next_ = 0;     // sentinel to be asked
  size_t left_ = 0;     // to be asked in this round
  uint64_t attempt_ = 0;
  Link::Options ask_options_;
  std::unique_ptr<Link> ask_;
  net::Timer ask_timer_;
  std::function<void(const ServerAddress&)> on_switch_;
  size_t watched_ = 0;
  Link::Options watch_options_;
  std::unique_ptr<Link> watch_;
};

// Servers of which any will do, one after the other: for what may go to any node of a cluster.
class RotatingLocator final : public Locator {
 public:
  RotatingLocator(net::EventLoop& loop, std::vector<ServerAddress> servers)
      : loop_(loop), servers_(std::move(servers)) {}
  [[nodiscard]] std::unique_ptr<Pending> Locate(Done done) override;

 private:
  net::EventLoop& loop_;
  const std::vector<ServerAddress> servers_;  // not empty
  size_t next_ = 0;
};

}  // namespace satchel::redis
