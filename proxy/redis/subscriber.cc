#include "proxy/redis/subscriber.h"

#include <algorithm>
#include <utility>

namespace satchel::redis {
namespace {

constexpr size_t kAtOnce = 256;  // channels in one SUBSCRIBE
constexpr uint32_t kMaxUnanswered = 2;

}  // namespace

struct Subscriber::Subscription::Entry {
  std::weak_ptr<Subscriber*> owner;
  std::string channel;
  Handler handler;
  Confirmed confirmed;
  bool live = true;
  bool is_confirmed = false;  // on the connection of now
};

Subscriber::Subscription& Subscriber::Subscription::operator=(Subscription&& other) noexcept {
  if (this != &other) {
    Cancel();
    entry_ = std::move(other.entry_);
  }
  return *this;
}

void Subscriber::Subscription::Cancel() {
  const auto entry = std::exchange(entry_, nullptr);
  if (entry == nullptr) return;
  entry->live = false;
  if (const auto owner = entry->owner.lock()) (*owner)->Remove(entry);
}

Subscriber::Subscriber(net::EventLoop& loop, net::Resolver& resolver, Options options, Hooks hooks)
    : loop_(loop),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      ping_timer_([this] { Ping(); }),
      link_(loop, resolver, options_, LinkHooks()) {}

Subscriber::~Subscriber() = default;

Link::Hooks Subscriber::LinkHooks() {
  Link::Hooks hooks;
  hooks.on_ready = [this] { OnReady(); };
  hooks.on_lost = [this](const std::string& reason) { OnLost(reason); };
  hooks.on_failed = [this](const std::string& reason) {
    if (hooks_.on_failed) hooks_.on_failed(reason);
  };
  hooks.on_push = [this](const Reply& reply) { OnPush(reply); };
  return hooks;
}

void Subscriber::Start() { link_.Start(); }

Subscriber::Subscription Subscriber::Subscribe(std::string channel, Handler handler,
                                               Confirmed confirmed) {
  Subscription subscription;
  auto at = channels_.find(channel);
  if (at == channels_.end()) {
    if (channels_.size() >= options_.max_channels) {
      counters_.refused.Add();
      return subscription;
    }
    at = channels_.try_emplace(channel).first;
    counters_.channels.Set(channels_.size());
  }
  auto entry = std::make_shared<Entry>();
  entry->owner = self_;
  entry->channel = std::move(channel);
  entry->handler = std::move(handler);
  entry->confirmed = std::move(confirmed);
  at->second.entries.push_back(entry);
  // Also where others listen already: the confirmation is for this one.
  if (link_.ready()) {
    ++at->second.unconfirmed;
    Send("SUBSCRIBE", entry->channel);
  }
  subscription.entry_ = std::move(entry);
  return subscription;
}

void Subscriber::Remove(const std::shared_ptr<Entry>& entry) {
  const auto at = channels_.find(entry->channel);
  if (at == channels_.end()) return;
  std::erase(at->second.entries, entry);
  if (!at->second.entries.empty()) return;
  if (link_.ready()) Send("UNSUBSCRIBE", entry->channel);
  // The count of confirmations under way goes with it: should somebody subscribe to the channel
  // again before they came, one of them may be taken for the new one's. It then reads its state
  // too early by what the server needs for a command already sent, so such a channel stays.
  if (at->second.unconfirmed > 0) return;
  channels_.erase(at);
  counters_.channels.Set(channels_.size());
}

void Subscriber::Send(std::string_view verb, std::string_view channel) {
  link_.SendUnanswered({verb, channel});
}

void Subscriber::OnReady() {
  counters_.connected.Set(1);
  counters_.connects.Add();
  pings_unanswered_ = 0;
  loop_.SetTimer(ping_timer_, options_.ping_ms);
  Command command;
  for (auto& [name, channel] : channels_) {
    channel.unconfirmed = 1;
    if (command.arguments() == 0) command.Arg("SUBSCRIBE");
    command.Arg(name);
    if (command.arguments() > kAtOnce) link_.SendUnanswered(std::exchange(command, Command()));
  }
  if (command.arguments() > 0) link_.SendUnanswered(std::move(command));
  if (hooks_.on_up) hooks_.on_up();
}

void Subscriber::OnLost(const std::string& reason) {
  counters_.connected.Set(0);
  counters_.disconnects.Add();
  ping_timer_.Cancel();
  for (auto at = channels_.begin(); at != channels_.end();) {
    at->second.unconfirmed = 0;
    for (const auto& entry : at->second.entries) entry->is_confirmed = false;
    at = at->second.entries.empty() ? channels_.erase(at) : std::next(at);
  }
  counters_.channels.Set(channels_.size());
  if (hooks_.on_down) hooks_.on_down(reason);
}

void Subscriber::Ping() {
  if (!link_.ready()) return;
  if (pings_unanswered_ >= kMaxUnanswered) {
    link_.Drop("no answer to PING on the subscribed connection");
    return;
  }
  ++pings_unanswered_;
  link_.SendUnanswered({"PING"});
  loop_.SetTimer(ping_timer_, options_.ping_ms);
}

void Subscriber::OnPush(const Reply& reply) {
  pings_unanswered_ = 0;
  if (!reply.IsArray()) {
    // Before the first channel PING has its usual answer. An error means that a right is missing.
    if (reply.IsError()) link_.Drop("subscribing: " + reply.text);
    return;
  }
  if (reply.items.size() != 3) return;  // "pong"
  const std::string& kind = reply.items[0].text;
  if (kind == "message") {
    OnMessage(reply.items[1].text, reply.items[2].text);
  } else if (kind == "subscribe") {
    OnConfirmed(reply.items[1].text);
  }
}

void Subscriber::OnConfirmed(const std::string& name) {
  const auto at = channels_.find(name);
  if (at == channels_.end() || at->second.unconfirmed == 0) return;
  if (--at->second.unconfirmed > 0) return;
  if (at->second.entries.empty()) {
    channels_.erase(at);
    counters_.channels.Set(channels_.size());
    return;
  }
  const auto entries = at->second.entries;  // the functions may subscribe and cancel
  for (const auto& entry : entries) {
    if (!entry->live || std::exchange(entry->is_confirmed, true)) continue;
    if (entry->confirmed) entry->confirmed();
  }
}

void Subscriber::OnMessage(const std::string& name, std::string_view message) {
  counters_.messages.Add();
  const auto at = channels_.find(name);
  if (at == channels_.end()) return;
  const auto entries = at->second.entries;
  for (const auto& entry : entries) {
    if (entry->live) entry->handler(message);
  }
}

}  // namespace satchel::redis
