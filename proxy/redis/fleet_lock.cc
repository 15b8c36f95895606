#include "proxy/redis/fleet_lock.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/redis/lua/lock.lua.h"

namespace satchel::redis {
namespace {

constexpr std::array<std::string_view, 5> kWords = {"stored", "failed", "each", "uncacheable", ""};

const Script& LockScript() {
  static const Script script(lua::kLock);
  return script;
}

}  // namespace

std::string_view FleetLock::Word(News news) { return kWords[static_cast<size_t>(news)]; }

FleetLock::News FleetLock::Parse(std::string_view word) {
  for (size_t i = 0; i < static_cast<size_t>(News::kUnknown); ++i) {
    if (word == kWords[i]) return static_cast<News>(i);
  }
  return News::kUnknown;
}

FleetLock::FleetLock(net::EventLoop& loop, Commander& commander, Options options)
    : loop_(loop), commander_(commander), options_(std::move(options)) {
  commander_.AddScript(LockScript());
}

FleetLock::Turn::Turn(FleetLock& lock, std::string slot, int64_t patience_ms)
    : alive_(lock.self_),
      lock_(lock),
      slot_(std::move(slot)),
      key_(slot_ + ":lock"),
      token_(lock_.options_.holder + ':' + std::to_string(++lock_.turns_)),
      patience_ms_(patience_ms),
      lease_ms_(std::min(patience_ms, lock_.options_.lease_ms)),
      renew_([this] { Renew(); }) {}

FleetLock::Turn::~Turn() { Conclude(News::kFailed); }

// Beside the keys, not among them: the rights of a user name both by the prefix.
std::string FleetLock::Turn::channel() const {
  return lock_.options_.prefix + ":d" + slot_.substr(lock_.options_.prefix.size());
}

void FleetLock::Turn::Take(std::function<void(Outcome)> done) {
  Command command{"SET", key_, token_, "NX", "PX"};
  command.Arg(lease_ms_);
  pending_ =
      lock_.commander_.Call(key_, std::move(command), lock_.options_.deadline_ms,
                            [this, done = std::move(done)](const cache::Result<Reply>& reply) {
                              Outcome outcome = Outcome::kUnknown;
                              if (!reply) {
                                // It may hold all the same.
                                held_ = !IsUnavailable(reply.error());
                                lock_.counters_.unknown.Add();
                              } else if (reply->IsNil()) {
                                outcome = Outcome::kBusy;
                                lock_.counters_.busy.Add();
                              } else {
                                outcome = Outcome::kTaken;
                                held_ = true;
                                lock_.counters_.taken.Add();
                                silent_since_ms_ = lock_.loop_.now_ms();
                                lock_.loop_.SetTimer(renew_, lease_ms_ / 3);
                              }
                              const auto finished = std::move(pending_);
                              done(outcome);
                            });
}

void FleetLock::Turn::AskLeft(std::function<void(int64_t left_ms)> done) {
  left_ = lock_.commander_.Call(key_, {"PTTL", key_}, lock_.options_.deadline_ms,
                                [this, done = std::move(done)](const cache::Result<Reply>& reply) {
                                  const bool known = reply && reply->IsInteger();
                                  const int64_t left = known ? reply->integer : -1;
                                  const auto finished = std::move(left_);
                                  // -2: there is no such key.
                                  done(left == -2 ? 0 : left);
                                });
}

void FleetLock::Turn::Renew() {
  if (!held_) return;
  const int64_t now = lock_.loop_.now_ms();
  lock_.loop_.SetTimer(renew_, lease_ms_ / 3);
  if (std::exchange(progress_, false)) silent_since_ms_ = now;
  const int64_t left = silent_since_ms_ + patience_ms_ - now;
  if (left <= 0) return;
  ScriptArguments arguments;
  arguments.Key(key_).Arg("renew").Arg(token_).Arg(std::min(left, lease_ms_));
  renewing_ =
      lock_.commander_.CallScript(LockScript(), std::move(arguments), lock_.options_.deadline_ms,
                                  [this](const cache::Result<Reply>& reply) {
                                    if (!reply || !reply->IsInteger()) return;
                                    const bool kept = reply->integer == 1;
                                    auto& counters = lock_.counters_;
                                    (kept ? counters.renewed : counters.lost).Add();
                                  });
}

void FleetLock::Turn::Conclude(News news) {
  if (!std::exchange(held_, false) || alive_.expired()) return;
  renew_.Cancel();
  ScriptArguments arguments;
  arguments.Key(key_).Arg("release").Arg(token_).Arg(channel()).Arg(Word(news));
  lock_.commander_.SendScript(LockScript(), std::move(arguments), lock_.options_.deadline_ms);
}

}  // namespace satchel::redis
