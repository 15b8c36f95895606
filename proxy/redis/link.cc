#include "proxy/redis/link.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace satchel::redis {

int64_t WallClockUs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

std::optional<int64_t> ClockOffsetUs(int64_t sent_us, const Reply& reply) {
  if (reply.items.size() != 2) return std::nullopt;
  int64_t parts[2] = {};
  for (size_t i = 0; i < 2; ++i) {
    const std::string& text = reply.items[i].text;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parts[i]);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  }
  if (parts[0] < 0 || parts[0] > 100'000'000'000 || parts[1] < 0 || parts[1] > 999'999) {
    return std::nullopt;
  }
  const int64_t middle = sent_us + (WallClockUs() - sent_us) / 2;
  return parts[0] * 1'000'000 + parts[1] - middle;
}

std::string ServerAddress::ToString() const {
  if (host.starts_with("unix:")) return host;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Link::Link(net::EventLoop& loop, net::Resolver& resolver, const Options& options, Hooks hooks)
    : loop_(loop),
      resolver_(resolver),
      options_(options),
      hooks_(std::move(hooks)),
      backoff_(options.backoff, &net::RandomUnit) {
  connect_timer_.OnFire([this] {
    resolving_.reset();
    candidates_.clear();
    const std::string reason =
        "no connection within " + std::to_string(options_.connect_timeout_ms) + " ms";
    if (connection_ != nullptr) {
      connection_->Close(reason);
    } else {
      Failed(reason);
    }
  });
  reconnect_timer_.OnFire([this] { Connect(); });
}

Link::~Link() = default;

void Link::Start() {
  started_ = true;
  Connect();
}

void Link::Connect() {
  ++attempts_;
  if (options_.locator == nullptr) {
    Resolve(options_);
    return;
  }
  locating_ = options_.locator->Locate([this](cache::Result<ServerAddress> found) {
    const auto done = std::move(locating_);
    if (found) {
      Resolve(*found);
    } else {
      Failed(found.error().message);
    }
  });
}

void Link::Resolve(const ServerAddress& server) {
  loop_.SetTimer(connect_timer_, options_.connect_timeout_ms);
  host_ = server.host;
  // A literal is opened at once, so that calls are taken from the first moment.
  if (const auto literal = net::Address::FromIp(server.host, server.port)) {
    candidates_ = {*literal};
    OpenNext();
    return;
  }
  resolving_ = resolver_.Resolve(
      server.host, server.port, [this](cache::Result<std::vector<net::Address>> found) {
        resolving_.reset();
        if (!found) {
          Failed(found.error().message);
          return;
        }
        // One that swallows packets takes all of an attempt's time: each attempt starts with
        // another, the rest follows if that one refuses.
        std::rotate(found->begin(),
                    found->begin() + static_cast<std::ptrdiff_t>((attempts_ - 1) % found->size()),
                    found->end());
        candidates_.assign(found->rbegin(), found->rend());
        OpenNext();
      });
}

void Link::OpenNext() {
  const net::Address address = candidates_.back();
  candidates_.pop_back();
  Connection::Hooks hooks{
      .on_connected = [this] { Greet(); },
      .on_closed = [this](const std::string& reason) { OnClosed(reason); },
      .on_outcome = hooks_.on_outcome,
      .on_error = hooks_.on_error,
      .on_gone = hooks_.on_gone,
      .on_dropped = hooks_.on_dropped,
      .on_push = hooks_.on_push,
  };
  TlsTo tls;
  if (!address.is_unix()) tls = {options_.tls, host_};
  connection_ = std::make_unique<Connection>(loop_, address, options_.limits, std::move(hooks),
                                             std::move(tls));
}

void Link::SendGreeting(Command command, Connection::Done done) {
  auto call = std::make_shared<CallState>();
  call->greeting = true;
  call->done = std::move(done);
  connection_->SendGreeting(std::move(command), std::move(call));
}

void Link::Greet() {
  const auto required = [this](const char* what) {
    return [this, what](cache::Result<Reply> reply) {
      if (!reply && connection_ != nullptr) {
        connection_->Close(std::string(what) + ": " + reply.error().message);
      }
    };
  };
  const auto optional = [](const cache::Result<Reply>&) {};
  const Access& access = options_;
  if (!access.password.empty()) {
    Command auth{"AUTH"};
    if (!access.user.empty()) auth.Arg(access.user);
    auth.Arg(access.password);
    SendGreeting(std::move(auth), required("AUTH"));
  }
  if (options_.is_sentinel) {
    SendGreeting({"PING"}, [this](const cache::Result<Reply>& reply) {
      if (connection_ == nullptr || connection_->closed()) return;
      if (reply) {
        OnReady();
      } else {
        connection_->Close("PING: " + reply.error().message);
      }
    });
    return;
  }
  if (options_.database != 0) {
    Command select{"SELECT"};
    select.Arg(int64_t{options_.database});
    SendGreeting(std::move(select), required("SELECT"));
  }
  SendGreeting({"CLIENT", "SETNAME", options_.name}, optional);
  // Without them each call would fail once with NOSCRIPT; that is dealt with anyway.
  for (const Script* script : options_.scripts) {
    SendGreeting({"SCRIPT", "LOAD", script->text()}, optional);
  }
  if (options_.must_be_master) {
    SendGreeting({"ROLE"}, [this](const cache::Result<Reply>& reply) { OnRole(reply); });
  }
  const int64_t sent_us = WallClockUs();
  SendGreeting({"TIME"},
               [this, sent_us](const cache::Result<Reply>& reply) { OnTime(sent_us, reply); });
}

void Link::OnRole(const cache::Result<Reply>& reply) {
  if (connection_ == nullptr || connection_->closed()) return;
  if (!reply) {
    connection_->Close("ROLE: " + reply.error().message);
  } else if (reply->items.empty() || reply->items[0].text != "master") {
    const std::string role = reply->items.empty() ? "no role" : reply->items[0].text.substr(0, 20);
    connection_->Close("expected the master, found: " + role);
  }
}

void Link::OnTime(int64_t sent_us, const cache::Result<Reply>& reply) {
  if (connection_ == nullptr || connection_->closed()) return;
  if (reply) {
    if (hooks_.on_clock) hooks_.on_clock(sent_us, *reply);
  } else if (!reply.error().message.starts_with("NOPERM")) {
    // It is loading, wants a password, or is no Redis.
    connection_->Close("TIME: " + reply.error().message);
    return;
  }
  OnReady();
}

void Link::OnReady() {
  connect_timer_.Cancel();
  candidates_.clear();
  backoff_.Reset();
  was_ready_ = true;
  connection_->Open();
  if (hooks_.on_ready) hooks_.on_ready();
}

void Link::OnClosed(const std::string& reason) {
  totals_ = totals();
  loop_.DeleteLater(std::move(connection_));
  if (!started_) return;
  if (std::exchange(was_ready_, false)) {
    loop_.SetTimer(reconnect_timer_, backoff_.Next());
    if (hooks_.on_lost) hooks_.on_lost(reason);
    return;
  }
  if (!candidates_.empty()) {
    OpenNext();
    return;
  }
  Failed(reason);
}

void Link::Failed(const std::string& reason) {
  connect_timer_.Cancel();
  loop_.SetTimer(reconnect_timer_, backoff_.Next());
  if (hooks_.on_failed) hooks_.on_failed(reason);
}

void Link::Drop(std::string reason) {
  candidates_.clear();
  if (connection_ != nullptr) connection_->Close(std::move(reason));
}

void Link::Stop(std::string reason) {
  started_ = false;
  locating_.reset();
  resolving_.reset();
  connect_timer_.Cancel();
  reconnect_timer_.Cancel();
  Drop(std::move(reason));
}

bool Link::Send(Command command, std::shared_ptr<CallState> call) {
  return connection_ != nullptr && connection_->Send(std::move(command), std::move(call));
}

bool Link::SendUnanswered(Command command) {
  return connection_ != nullptr && connection_->SendUnanswered(std::move(command));
}

Connection::Totals Link::totals() const {
  Connection::Totals totals = totals_;
  if (connection_ != nullptr) {
    totals.bytes_in += connection_->totals().bytes_in;
    totals.bytes_out += connection_->totals().bytes_out;
    totals.writes += connection_->totals().writes;
  }
  return totals;
}

}  // namespace satchel::redis
