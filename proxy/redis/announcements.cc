#include "proxy/redis/announcements.h"

#include <unordered_map>
#include <utility>

namespace satchel::redis {

// On the subscriber's thread, but for `loop`.
struct Announcements::Home {
  net::EventLoop& loop;
  Subscriber& subscriber;
  std::unordered_map<const void*, Subscriber::Subscription> subscriptions{};
};

// On the thread of the one who listens. Others hold it weakly and never look inside.
struct Announcements::Listening::Ear {
  Hooks hooks;
  std::weak_ptr<Home> home;
  net::EventLoop* home_loop;
};

Announcements::Announcements(net::EventLoop& home, Subscriber& subscriber)
    : home_(std::make_shared<Home>(Home{home, subscriber})) {}

Announcements::~Announcements() = default;

std::unique_ptr<Announcements::Listening> Announcements::Listen(net::EventLoop& loop,
                                                                std::string channel, Hooks hooks) {
  using Ear = Listening::Ear;
  auto listening = std::make_unique<Listening>();
  listening->ear_ = std::make_shared<Ear>(Ear{std::move(hooks), home_, &home_->loop});
  const Ear* const id = listening->ear_.get();
  home_->loop.Post([home = std::weak_ptr(home_), weak = std::weak_ptr(listening->ear_), id, &loop,
                    channel = std::move(channel)]() mutable {
    const auto self = home.lock();
    if (!self || weak.expired()) return;
    self->subscriptions[id] = self->subscriber.Subscribe(
        std::move(channel),
        [weak, &loop](std::string_view message) {
          loop.Post([weak, message = std::string(message)] {
            if (const auto ear = weak.lock()) ear->hooks.message(message);
          });
        },
        [weak, &loop] {
          loop.Post([weak] {
            if (const auto ear = weak.lock()) ear->hooks.confirmed();
          });
        });
  });
  return listening;
}

Announcements::Listening::~Listening() {
  const void* const id = ear_.get();
  ear_->home_loop->Post([home = ear_->home, id] {
    if (const auto self = home.lock()) self->subscriptions.erase(id);
  });
}

}  // namespace satchel::redis
