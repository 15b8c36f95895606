#include "proxy/redis/client.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "proxy/redis/call_errors.h"

namespace satchel::redis {
namespace {

using cache::ErrorSource;
using cache::Fail;

int64_t WallClockUs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

// Errors by which a server says that it serves nobody for now.
bool MeansDown(std::string_view code) {
  for (const std::string_view down :
       {"LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "READONLY", "NOAUTH", "NOREPLICAS"}) {
    if (code == down) return true;
  }
  return false;
}

}  // namespace

Client::Options Client::Options::From(const rules::L2Config& config) {
  Options options;
  if (config.server.kind == rules::Endpoint::Kind::kUnix) {
    options.host = "unix:" + config.server.path;
  } else {
    options.host = config.server.host;
    options.port = config.server.port;
  }
  options.user = config.user;
  options.password = config.password;
  options.database = config.database;
  options.breaker.failures = config.breaker.failures;
  options.breaker.open_ms = config.breaker.open_for.count();
  options.breaker.max_open_ms = std::max<int64_t>(options.breaker.open_ms, 30'000);
  // One reply holds one record at most.
  options.limits.reply.max_bytes = config.max_object + (1 << 20);
  return options;
}

Client::Client(net::EventLoop& loop, net::Resolver& resolver, Options options, OnEvent on_event)
    : Commander(loop),
      resolver_(resolver),
      options_(std::move(options)),
      on_event_(std::move(on_event)),
      breaker_(options_.breaker),
      backoff_(options_.backoff, &net::RandomUnit) {
  connect_timer_.OnFire([this] {
    resolving_.reset();
    candidates_.clear();
    const std::string reason =
        "no connection within " + std::to_string(options_.connect_timeout_ms) + " ms";
    if (connection_ != nullptr) {
      connection_->Close(reason);
    } else {
      ConnectFailed(reason);
    }
  });
  reconnect_timer_.OnFire([this] { Connect(); });
  probe_timer_.OnFire([this] { Probe(); });
  clock_timer_.OnFire([this] { ReadClock(); });
}

Client::~Client() { connection_.reset(); }

void Client::Start() { Connect(); }

void Client::Tell(Event event, std::string_view detail) const {
  if (on_event_) on_event_(event, detail);
}

void Client::Connect() {
  ++attempts_;
  loop_.SetTimer(connect_timer_, options_.connect_timeout_ms);
  // A literal is opened at once, so that calls are taken from the first moment.
  if (const auto literal = net::Address::FromIp(options_.host, options_.port)) {
    candidates_ = {*literal};
    OpenNext();
    return;
  }
  resolving_ = resolver_.Resolve(
      options_.host, options_.port, [this](cache::Result<std::vector<net::Address>> found) {
        resolving_.reset();
        if (!found) {
          ConnectFailed(found.error().message);
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

void Client::OpenNext() {
  const net::Address address = candidates_.back();
  candidates_.pop_back();
  connection_ = std::make_unique<Connection>(
      loop_, address, options_.limits,
      Connection::Hooks{
          .on_connected = [this] { Greet(); },
          .on_closed = [this](const std::string& reason) { OnClosed(reason); },
          .on_outcome = [this](const CallState& call,
                               const Reply* reply) { OnOutcome(call, reply); },
      });
}

void Client::SendGreeting(Command command, Connection::Done done) {
  auto call = std::make_shared<CallState>();
  call->started_ns = net::EventLoop::ReadClockNs();
  call->done = std::move(done);
  connection_->SendGreeting(std::move(command), std::move(call));
}

void Client::Greet() {
  const auto required = [this](const char* what) {
    return [this, what](cache::Result<Reply> reply) {
      if (!reply && connection_ != nullptr) {
        connection_->Close(std::string(what) + ": " + reply.error().message);
      }
    };
  };
  const auto optional = [](const cache::Result<Reply>&) {};
  if (!options_.password.empty()) {
    Command auth{"AUTH"};
    if (!options_.user.empty()) auth.Arg(options_.user);
    auth.Arg(options_.password);
    SendGreeting(std::move(auth), required("AUTH"));
  }
  if (options_.database != 0) {
    Command select{"SELECT"};
    select.Arg(int64_t{options_.database});
    SendGreeting(std::move(select), required("SELECT"));
  }
  SendGreeting({"CLIENT", "SETNAME", options_.name}, optional);
  // Without them each call would fail once with NOSCRIPT; that is dealt with anyway.
  for (const Script* script : scripts_) {
    SendGreeting({"SCRIPT", "LOAD", script->text()}, optional);
  }
  const int64_t sent_us = WallClockUs();
  SendGreeting({"TIME"}, [this, sent_us](cache::Result<Reply> reply) {
    if (connection_ == nullptr || connection_->closed()) return;
    if (reply) {
      OnClock(sent_us, *reply);
    } else if (!reply.error().message.starts_with("NOPERM")) {
      // It is loading, wants a password, or is no Redis.
      connection_->Close("TIME: " + reply.error().message);
      return;
    }
    OnReady();
  });
}

void Client::OnReady() {
  connect_timer_.Cancel();
  candidates_.clear();
  backoff_.Reset();
  last_failure_.clear();
  ++generation_;
  counters_.connects.Add();
  counters_.connected.Set(1);
  loop_.SetTimer(clock_timer_, options_.clock_interval_ms);
  connection_->Open();
  Tell(Event::kConnected, "");
  if (breaker_.Close()) {
    probe_timer_.Cancel();
    Tell(Event::kBreakerClosed, "a new connection was greeted");
  }
  counters_.breaker_state.Set(static_cast<uint64_t>(breaker_.state()));
}

void Client::OnClosed(const std::string& reason) {
  const bool was_ready = counters_.connected.Get() != 0;
  const Connection::Totals& totals = connection_->totals();
  totals_.bytes_in += totals.bytes_in;
  totals_.bytes_out += totals.bytes_out;
  totals_.writes += totals.writes;
  loop_.DeleteLater(std::move(connection_));
  counters_.connected.Set(0);
  clock_timer_.Cancel();
  if (was_ready) {
    counters_.disconnects.Add();
    Tell(Event::kDisconnected, reason);
    Failed(reason);
    loop_.SetTimer(reconnect_timer_, backoff_.Next());
    return;
  }
  if (!candidates_.empty()) {
    OpenNext();
    return;
  }
  ConnectFailed(reason);
}

void Client::ConnectFailed(const std::string& reason) {
  connect_timer_.Cancel();
  if (reason != last_failure_) {
    last_failure_ = reason;
    Tell(Event::kConnectFailed, reason);
  }
  Failed(reason);
  loop_.SetTimer(reconnect_timer_, backoff_.Next());
}

void Client::OnOutcome(const CallState& call, const Reply* reply) {
  counters_.bytes_in.Set(totals_.bytes_in + connection_->totals().bytes_in);
  counters_.bytes_out.Set(totals_.bytes_out + connection_->totals().bytes_out);
  counters_.writes.Set(totals_.writes + connection_->totals().writes);
  if (reply == nullptr) {
    counters_.errors.Add();
    return;  // the connection itself counts as one failure
  }
  if (call.late) {
    counters_.late_replies.Add();
    return;  // its deadline has been counted; a server this slow is not well
  }
  if (reply->IsError()) {
    if (reply->ErrorCode() == "NOSCRIPT") {
      counters_.script_reloads.Add();
      return;
    }
    counters_.errors.Add();
    if (MeansDown(reply->ErrorCode())) Failed(reply->text);
    return;
  }
  Succeeded();
  if (call.started_ns != 0) {
    const auto took = (net::EventLoop::ReadClockNs() - call.started_ns) / 1000;
    const auto average = static_cast<int64_t>(counters_.latency_us.Get());
    counters_.latency_us.Set(
        static_cast<uint64_t>(average == 0 ? took : average + (took - average) / 16));
  }
}

void Client::OnDeadline(CallState& call) {
  call.late = true;
  counters_.errors.Add();
  counters_.deadline_misses.Add();
  Failed("no answer within the deadline");
  call.Finish(Fail(ErrorSource::kStore, std::string(kDeadline)));
}

void Client::Succeeded() {
  if (breaker_.Success()) {
    probe_timer_.Cancel();
    Tell(Event::kBreakerClosed, "the probe was answered");
  }
  counters_.breaker_state.Set(static_cast<uint64_t>(breaker_.state()));
}

void Client::Failed(std::string_view why) {
  const int64_t now = loop_.now_ms();
  if (breaker_.Failure(now, net::RandomUnit())) Tell(Event::kBreakerOpened, why);
  counters_.breaker_state.Set(static_cast<uint64_t>(breaker_.state()));
  if (breaker_.state() == net::Breaker::State::kOpen && !probe_timer_.armed()) {
    loop_.SetTimer(probe_timer_, std::max<int64_t>(1, breaker_.probe_at_ms() - now));
  }
}

void Client::Probe() {
  if (!ready()) return;  // the greeting of the next connection will be the probe
  if (!breaker_.TryProbe(loop_.now_ms())) return;
  counters_.breaker_state.Set(static_cast<uint64_t>(breaker_.state()));
  // The outcome reaches the breaker through OnOutcome() or OnDeadline().
  if (!Submit({"PING"}, MakeCall([](const auto&) {}), options_.connect_timeout_ms)) {
    Failed("the probe could not be sent");
  }
}

void Client::ReadClock() {
  loop_.SetTimer(clock_timer_, options_.clock_interval_ms);
  const int64_t sent_us = WallClockUs();
  Send({}, {"TIME"}, options_.connect_timeout_ms, [this, sent_us](cache::Result<Reply> reply) {
    if (reply) OnClock(sent_us, *reply);
  });
}

void Client::OnClock(int64_t sent_us, const Reply& reply) {
  if (reply.items.size() != 2) return;
  int64_t parts[2] = {};
  for (size_t i = 0; i < 2; ++i) {
    const std::string& text = reply.items[i].text;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parts[i]);
    if (error != std::errc() || end != text.data() + text.size()) return;
  }
  if (parts[0] < 0 || parts[0] > 100'000'000'000 || parts[1] < 0 || parts[1] > 999'999) return;
  const int64_t middle = sent_us + (WallClockUs() - sent_us) / 2;
  clock_offset_us_ = parts[0] * 1'000'000 + parts[1] - middle;
}

bool Client::available(std::string_view) const {
  return breaker_.closed() && connection_ != nullptr && !connection_->closed();
}

bool Client::Submit(Command command, const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  if (connection_ == nullptr || !connection_->Send(std::move(command), call)) {
    counters_.rejected.Add();
    return false;
  }
  call->deadline.OnFire([this, raw = call.get()] { OnDeadline(*raw); });
  loop_.SetTimer(call->deadline, deadline_ms);
  return true;
}

bool Client::Dispatch(std::string_view key, Lane, Command command,
                      const std::shared_ptr<CallState>& call, int64_t deadline_ms) {
  counters_.calls.Add();
  if (available(key)) return Submit(std::move(command), call, deadline_ms);
  counters_.rejected.Add();
  return false;
}

}  // namespace satchel::redis
