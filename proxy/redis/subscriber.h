#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/link.h"

namespace satchel::redis {

// What other instances publish: one connection for all channels of a process. It comes back by
// itself and subscribes again, but what was published meanwhile is lost: whoever needs to know
// everything reads the state again when its subscription is confirmed anew. In a cluster any node
// will do. Owner thread only, counters excepted.
class Subscriber {
 public:
  struct Options : Link::Options {
    int64_t ping_ms = 5000;       // two of them unanswered: the connection is given up
    size_t max_channels = 65536;  // beyond it Subscribe() refuses
  };
  struct Hooks {
    std::function<void()> on_up{};                               // connected; confirmations follow
    std::function<void(const std::string& reason)> on_down{};    // a connection that stood is gone
    std::function<void(const std::string& reason)> on_failed{};  // an attempt to connect
  };
  struct Counters {
    net::Counter connected;  // 0 or 1
    net::Counter connects;
    net::Counter disconnects;
    net::Counter messages;
    net::Counter channels;
    net::Counter refused;  // subscriptions beyond the limit
  };
  using Handler = std::function<void(std::string_view message)>;
  // The server has confirmed: nothing published from now on is missed until the connection breaks.
  // Runs once for each connection.
  using Confirmed = std::function<void()>;

  // Ends its subscription when destroyed: then neither function runs any more, not even in the
  // message that is being handed out.
  class Subscription {
   public:
    Subscription() = default;
    Subscription(Subscription&&) noexcept = default;
    Subscription& operator=(Subscription&& other) noexcept;
    ~Subscription() { Cancel(); }
    explicit operator bool() const { return entry_ != nullptr; }
    void Cancel();

   private:
    friend class Subscriber;
    struct Entry;
    std::shared_ptr<Entry> entry_;
  };

  Subscriber(net::EventLoop& loop, net::Resolver& resolver, Options options, Hooks hooks);
  ~Subscriber();
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;

  void Start();

  // Several may listen to one channel. Neither function runs before this has returned. An empty
  // handle: too many channels. Handles may outlive the subscriber.
  [[nodiscard]] Subscription Subscribe(std::string channel, Handler handler,
                                       Confirmed confirmed = {});

  bool connected() const { return link_.ready(); }
  // Closes the connection; a new one follows.
  void Drop(std::string reason) { link_.Drop(std::move(reason)); }
  const Counters& counters() const { return counters_; }

 private:
  using Entry = Subscription::Entry;
  struct Channel {
    std::vector<std::shared_ptr<Entry>> entries;
    uint32_t unconfirmed = 0;  // SUBSCRIBEs on their way
  };

  Link::Hooks LinkHooks();
  void OnReady();
  void OnLost(const std::string& reason);
  void OnPush(const Reply& reply);
  void OnConfirmed(const std::string& channel);
  void OnMessage(const std::string& channel, std::string_view message);
  void Remove(const std::shared_ptr<Entry>& entry);
  void Send(std::string_view verb, std::string_view channel);
  void Ping();

  net::EventLoop& loop_;
  const Options options_;
  const Hooks hooks_;
  Counters counters_;
  std::unordered_map<std::string, Channel> channels_;
  net::Timer ping_timer_;
  uint32_t pings_unanswered_ = 0;
  const std::shared_ptr<Subscriber*> self_ = std::make_shared<Subscriber*>(this);
  Link link_;
};

}  // namespace satchel::redis
