#include "proxy/purge_events.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "proxy/ops_log.h"
#include "proxy/redis/lease.h"

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using nlohmann::json;

constexpr int64_t kLeaseMs = 4000;
constexpr int64_t kRenewMs = 1000;
constexpr int64_t kMarginMs = 500;  // before its end it counts as lost
constexpr int64_t kKeepMs = 2 * kLeaseMs + kRenewMs;
constexpr size_t kMaxMessage = 64 << 10;
constexpr int64_t kDeadlineMs = 1000;

// Texts, numbers and booleans as they stand in tags.
bool MemberText(const json& message, const std::string& name, std::string* to) {
  const auto found = message.find(name);
  if (found == message.end()) return false;
  if (found->is_string()) {
    *to = found->get<std::string>();
  } else if (found->is_number() || found->is_boolean()) {
    *to = found->dump();
  }
  return !to->empty();
}

}  // namespace

cache::Result<PurgeRequest> RequestOfEvent(const rules::PurgeConfig& config,
                                           std::string_view text) {
  if (text.size() > kMaxMessage) return Fail(ErrorSource::kClient, "it is longer than 64 KiB");
  const json message = json::parse(text, nullptr, false);
  if (!message.is_object()) return Fail(ErrorSource::kClient, "it is no JSON object");
  const auto entity = message.find("entity");
  if (entity == message.end()) return PurgeRequest::FromJson(text);
  if (!entity->is_string()) return Fail(ErrorSource::kClient, "its entity is no text");
  const auto& name = entity->get_ref<const std::string&>();
  const auto event = std::find_if(config.events.begin(), config.events.end(),
                                  [&](const auto& known) { return known.first == name; });
  if (event == config.events.end()) {
    return Fail(ErrorSource::kClient, "purge.events knows no entity \"" + name + "\"");
  }
  PurgeRequest request;
  request.wait = false;
  const auto lookup = [&](rules::TagTemplate::Source, const std::string& member, std::string* to) {
    return MemberText(message, member, to);
  };
  std::string tag;
  for (const rules::TagTemplate& wanted : event->second) {
    if (wanted.Fill(lookup, &tag)) request.tags.push_back(tag);
  }
  if (request.tags.empty()) {
    return Fail(ErrorSource::kClient, "it lacks the members that the tags of \"" + name + "\" want");
  }
  return request;
}

PurgeEvents::PurgeEvents(net::EventLoop& loop, redis::Commander& commander,
                         redis::Subscriber& subscriber, std::string prefix, std::string name,
                         Act act)
    : loop_(loop),
      commander_(commander),
      subscriber_(subscriber),
      lease_key_(std::move(prefix) + ":events"),
      name_(std::move(name)),
      act_(std::move(act)),
      renew_([this] { Renew(); }) {
  commander_.AddScript(redis::LeaseScript());
}

void PurgeEvents::Configure(const rules::PurgeConfig& config) {
  const bool elsewhere = config.channel != config_.channel;
  config_ = config;
  if (!elsewhere) return;
  kept_.clear();
  subscription_.Cancel();
  if (config_.channel.empty()) {
    renew_.Cancel();
    return;
  }
  subscription_ = subscriber_.Subscribe(
      config_.channel, [this](std::string_view message) { OnMessage(message); });
  Renew();
}

void PurgeEvents::OnMessage(std::string_view message) {
  ++counters_.messages;
  if (holds()) {
    Handle(message);
    return;
  }
  const int64_t now = loop_.now_ms();
  while (!kept_.empty() && kept_.front().since_ms < now - kKeepMs) kept_.pop_front();
  if (kept_.size() >= kMaxKept) {
    kept_.pop_front();
    ++counters_.dropped;
  }
  kept_.push_back({now, std::string(message.substr(0, kMaxMessage + 1))});
}

void PurgeEvents::Handle(std::string_view message) {
  auto request = RequestOfEvent(config_, message);
  if (request) {
    act_(std::move(*request));
    return;
  }
  ++counters_.refused;
  OpsLog().warn("a message on {} purges nothing: {}", config_.channel, request.error().message);
}

void PurgeEvents::Renew() {
  loop_.SetTimer(renew_, kRenewMs);
  const int64_t sent_ms = loop_.now_ms();
  redis::ScriptArguments arguments;
  arguments.Key(lease_key_).Arg(name_).Arg(kLeaseMs);
  asking_ = commander_.CallScript(redis::LeaseScript(), std::move(arguments), kDeadlineMs,
                                  [this, sent_ms](const cache::Result<redis::Reply>& reply) {
                                    OnLease(reply && reply->integer == 1, sent_ms);
                                  });
}

void PurgeEvents::OnLease(bool held, int64_t sent_ms) {
  if (!held) return;
  held_until_ms_ = sent_ms + kLeaseMs - kMarginMs;
  if (!holds()) return;
  const auto kept = std::exchange(kept_, {});
  const int64_t oldest = loop_.now_ms() - kKeepMs;
  for (const Kept& message : kept) {
    if (message.since_ms >= oldest) Handle(message.message);
  }
}

}  // namespace satchel::proxy
