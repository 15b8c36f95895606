#include "proxy/limit_slots.h"

#include <utility>

#include "proxy/redis/lua/slots.lua.h"

namespace satchel::proxy {
namespace {

const redis::Script& Slots() {
  static const redis::Script script(redis::lua::kSlots);
  return script;
}

}  // namespace

LimitSlots::LimitSlots(net::EventLoop& loop, redis::Commander* commander)
    : loop_(loop), commander_(commander), timer_([this] { RenewNow(); }) {
  if (commander_ != nullptr) commander_->AddScript(Slots());
}

void LimitSlots::Hold(const std::string& key, const std::string& member) {
  if (!held_[key].insert(member).second) return;
  if (count_++ == 0) loop_.SetTimer(timer_, kRenewMs);
}

void LimitSlots::GiveBack(const std::string& key, const std::string& member) {
  const auto found = held_.find(key);
  if (found == held_.end() || found->second.erase(member) == 0) return;
  if (found->second.empty()) held_.erase(found);
  if (--count_ == 0) timer_.Cancel();
  Remove(key, member);
}

void LimitSlots::Remove(const std::string& key, const std::string& member) {
  commander_->Send(key, {"ZREM", key, member}, kDeadlineMs);
}

void LimitSlots::RenewNow() {
  constexpr size_t kMembersInACall = 500;
  for (const auto& [key, members] : held_) {
    auto member = members.begin();
    while (member != members.end()) {
      redis::ScriptArguments arguments;
      arguments.Key(key).Arg(kHoldUs);
      for (size_t i = 0; i < kMembersInACall && member != members.end(); ++i, ++member) {
        arguments.Arg(*member);
      }
      commander_->SendScript(Slots(), std::move(arguments), kDeadlineMs);
    }
  }
  if (count_ > 0) loop_.SetTimer(timer_, kRenewMs);
}

}  // namespace satchel::proxy
