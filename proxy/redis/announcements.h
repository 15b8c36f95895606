#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/event_loop.h"
#include "proxy/redis/subscriber.h"

namespace satchel::redis {

// The process's subscriber as the threads of the workers use it: what arrives on its thread is
// posted to the thread that asked for it. Made and destroyed on the subscriber's thread; the
// subscriber outlives it, and it outlives everyone who listens.
class Announcements {
 public:
  struct Hooks {
    // Nothing published from now on is missed until the connection breaks. Once for each connection.
    std::function<void()> confirmed{};
    std::function<void(std::string_view message)> message{};
  };
  // Ends when destroyed, on the thread that made it: then no function runs any more.
  class Listening {
   public:
    ~Listening();

   private:
    friend class Announcements;
    struct Ear;
    std::shared_ptr<Ear> ear_;
  };

  Announcements(net::EventLoop& home, Subscriber& subscriber);
  ~Announcements();
  Announcements(const Announcements&) = delete;
  Announcements& operator=(const Announcements&) = delete;

  // Any thread, for its own loop. The functions run there, after the call has returned.
  std::unique_ptr<Listening> Listen(net::EventLoop& loop, std::string channel, Hooks hooks);

 private:
  struct Home;
  const std::shared_ptr<Home> home_;
};

}  // namespace satchel::redis
