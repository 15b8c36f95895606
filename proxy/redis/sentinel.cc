#include "proxy/redis/sentinel.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace satchel::redis {
namespace {

using cache::ErrorSource;
using cache::Fail;

constexpr std::string_view kSwitch = "+switch-master";
constexpr size_t kMaxHost = 255;

std::optional<ServerAddress> ReadAddress(std::string_view host, std::string_view port) {
  ServerAddress address{.host = std::string(host), .port = 0};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size() || address.port == 0) {
    return std::nullopt;
  }
  if (host.empty() || host.size() > kMaxHost || host.find('/') != std::string_view::npos) {
    return std::nullopt;
  }
  return address;
}

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty() && words.size() < 8) {
    const size_t space = text.find(' ');
    words.push_back(text.substr(0, space));
    text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  }
  return words;
}

// Runs its function at the end of the turn, if it still stands then.
class Told final : public Locator::Pending {
 public:
  explicit Told(std::shared_ptr<Locator::Done> done) : done_(std::move(done)) {}
  ~Told() override { *done_ = nullptr; }

 private:
  std::shared_ptr<Locator::Done> done_;
};

}  // namespace

std::optional<ServerAddress> ReadMasterAddress(const Reply& reply) {
  if (reply.items.size() != 2) return std::nullopt;
  return ReadAddress(reply.items[0].text, reply.items[1].text);
}

// "message", "+switch-master", "<name> <old ip> <old port> <new ip> <new port>"
std::optional<ServerAddress> ReadSwitchMaster(const Reply& reply, std::string_view master) {
  if (reply.items.size() != 3 || reply.items[0].text != "message") return std::nullopt;
  const auto words = Words(reply.items[2].text);
  if (words.size() != 5 || words[0] != master) return std::nullopt;
  return ReadAddress(words[3], words[4]);
}

struct SentinelLocator::Waiter {
  Done done;
};

SentinelLocator::SentinelLocator(net::EventLoop& loop, net::Resolver& resolver, Options options)
    : loop_(loop), resolver_(resolver), options_(std::move(options)) {
  ask_options_ = watch_options_ = LinkOptions();
  ask_timer_.OnFire([this] { NoAnswer("no answer in time"); });
}

SentinelLocator::~SentinelLocator() = default;

Link::Options SentinelLocator::LinkOptions() const {
  Link::Options options;
  static_cast<Access&>(options) = options_.access;
  options.connect_timeout_ms = options_.ask_timeout_ms;
  options.is_sentinel = true;
  return options;
}

void SentinelLocator::SetAccess(Access access) {
  options_.access = std::move(access);
  static_cast<Access&>(ask_options_) = options_.access;
  static_cast<Access&>(watch_options_) = options_.access;
}

void SentinelLocator::Point(Link::Options& options, size_t index) const {
  static_cast<ServerAddress&>(options) = options_.sentinels[index % options_.sentinels.size()];
}

std::string SentinelLocator::NameOf(size_t index) const {
  return options_.sentinels[index % options_.sentinels.size()].ToString();
}

std::unique_ptr<Locator::Pending> SentinelLocator::Locate(Done done) {
  class Handle final : public Pending {
   public:
    explicit Handle(std::shared_ptr<Waiter> waiter) : waiter_(std::move(waiter)) {}
    ~Handle() override { waiter_->done = nullptr; }

   private:
    std::shared_ptr<Waiter> waiter_;
  };
  auto waiter = std::make_shared<Waiter>(Waiter{std::move(done)});
  waiters_.push_back(waiter);
  if (left_ == 0) {
    left_ = options_.sentinels.size();
    Ask();
  }
  return std::make_unique<Handle>(std::move(waiter));
}

void SentinelLocator::Ask() {
  Point(ask_options_, next_);
  // A link that was given up may still tell of its end in this turn.
  const auto failed = [this, attempt = ++attempt_](const std::string& reason) {
    if (attempt == attempt_) NoAnswer(reason);
  };
  ask_ = std::make_unique<Link>(
      loop_, resolver_, ask_options_,
      Link::Hooks{
          .on_ready =
              [this] {
                auto call = std::make_shared<CallState>();
                call->done = [this, attempt = attempt_](const cache::Result<Reply>& reply) {
                  if (attempt == attempt_) OnAnswer(reply);
                };
                ask_->Send({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", options_.master}, call);
              },
          .on_lost = failed,
          .on_failed = failed,
      });
  loop_.SetTimer(ask_timer_, options_.ask_timeout_ms);
  ask_->Start();
}

void SentinelLocator::OnAnswer(const cache::Result<Reply>& reply) {
  if (!reply) {
    NoAnswer(reply.error().message);
    return;
  }
  const auto address = ReadMasterAddress(*reply);
  if (!address) {
    NoAnswer("it knows no master \"" + options_.master + "\"");
    return;
  }
  told_ = *address;
  Finish(*address);
}

void SentinelLocator::NoAnswer(const std::string& reason) {
  if (left_ == 0) return;
  if (--left_ == 0) {
    Finish(Fail(ErrorSource::kStore, "no sentinel told where the master is; the last one, " +
                                         NameOf(next_) + ": " + reason));
    return;
  }
  loop_.DeleteLater(std::move(ask_));
  ++next_;
  Ask();
}

void SentinelLocator::Finish(const cache::Result<ServerAddress>& result) {
  ask_timer_.Cancel();
  loop_.DeleteLater(std::move(ask_));
  ++attempt_;
  left_ = 0;
  ++next_;
  for (const auto& waiter : std::exchange(waiters_, {})) {
    if (const Done done = std::exchange(waiter->done, nullptr)) done(result);
  }
}

void SentinelLocator::Watch(std::function<void(const ServerAddress&)> on_switch) {
  on_switch_ = std::move(on_switch);
  Point(watch_options_, watched_);
  const auto next = [this](const std::string&) { Point(watch_options_, ++watched_); };
  watch_ = std::make_unique<Link>(loop_, resolver_, watch_options_,
                                  Link::Hooks{
                                      .on_ready =
                                          [this] {
                                            watch_->SendUnanswered({"SUBSCRIBE", kSwitch});
                                          },
                                      .on_lost = next,
                                      .on_failed = next,
                                      .on_push = [this](const Reply& reply) { OnMessage(reply); },
                                  });
  watch_->Start();
}

void SentinelLocator::OnMessage(const Reply& reply) {
  const auto address = ReadSwitchMaster(reply, options_.master);
  if (address && *address != told_) on_switch_(*address);
}

std::unique_ptr<Locator::Pending> RotatingLocator::Locate(Done done) {
  auto shared = std::make_shared<Done>(std::move(done));
  loop_.AtTurnEnd([shared, server = servers_[next_++ % servers_.size()]] {
    if (const Done call = std::exchange(*shared, nullptr)) call(server);
  });
  return std::make_unique<Told>(std::move(shared));
}

}  // namespace satchel::redis
