#include "proxy/doctor_session.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace satchel::proxy {
namespace {

using redis::Command;
using redis::Reply;

constexpr int64_t kPatienceMs = 3000;
constexpr int kScanRounds = 40;
constexpr size_t kMaxSample = 5000;
constexpr size_t kBatch = 500;
constexpr size_t kNamed = 5;  // keys named in a finding
constexpr int64_t kBigValue = 1 << 20;
constexpr int64_t kBigSet = 10'000;  // as many as an hour of popularity holds

struct Trial {
  const char* name;
  Command command;
};

// Everything Satchel sends, harmlessly, on two keys that live for ten seconds at most.
std::vector<Trial> Trials(const std::string& prefix, const std::string& tag,
                          const redis::Script& script) {
  const std::string text = prefix + ":doctor:{" + tag + "}";
  const std::string set = text + ":z";
  redis::ScriptArguments arguments;
  arguments.Key(text);
  return {
      {"ping", {"PING"}},
      {"set", {"SET", text, "doctor", "PX", "10000"}},
      {"get", {"GET", text}},
      {"getrange", {"GETRANGE", text, "0", "3"}},
      {"setrange", {"SETRANGE", text, "0", "D"}},
      {"pttl", {"PTTL", text}},
      {"pexpire", {"PEXPIRE", text, "10000"}},
      {"zadd", {"ZADD", set, "1", "a"}},
      {"pexpire", {"PEXPIRE", set, "10000"}},
      {"zincrby", {"ZINCRBY", set, "1", "a"}},
      {"zscore", {"ZSCORE", set, "a"}},
      {"zcard", {"ZCARD", set}},
      {"zrange", {"ZRANGE", set, "0", "0"}},
      {"zrangebyscore", {"ZRANGEBYSCORE", set, "0", "1"}},
      {"zremrangebyscore", {"ZREMRANGEBYSCORE", set, "8", "9"}},
      {"zremrangebyrank", {"ZREMRANGEBYRANK", set, "8", "9"}},
      {"zrem", {"ZREM", set, "a"}},
      {"script|load", {"SCRIPT", "LOAD", script.text()}},
      {"evalsha", arguments.EvalSha(script)},
      {"eval", arguments.Eval(script)},
      {"publish", {"PUBLISH", prefix + ":doctor", "hello"}},
      {"time", {"TIME"}},
      {"unlink", {"UNLINK", text, set}},
      {"del", {"DEL", text, set}},
  };
}

void TryRights(RedisSession& session, const std::string& prefix, const std::string& tag,
               RedisFacts* facts) {
  static const redis::Script script("return 1");
  std::vector<Trial> trials = Trials(prefix, tag, script);
  std::vector<Command> commands;
  for (const Trial& trial : trials) commands.push_back(trial.command);
  const auto replies = session.AskAll(std::move(commands));
  const auto refused = [facts](std::string name) {
    if (std::find(facts->refused.begin(), facts->refused.end(), name) == facts->refused.end()) {
      facts->refused.push_back(std::move(name));
    }
  };
  for (size_t i = 0; i < replies.size(); ++i) {
    if (replies[i]) continue;
    const std::string& error = replies[i].error().message;
    const std::string name = trials[i].name;
    if (!error.starts_with("NOPERM")) {
      // What follows from an earlier refusal is no finding of its own.
      if (!error.starts_with("NOSCRIPT")) facts->failing.push_back(name + ": " + error);
    } else if (error.find("keys") != std::string::npos) {
      refused(name + " (on the key " + prefix + ":doctor:{...})");
    } else if (error.find("channel") != std::string::npos) {
      refused(name + " (on the channel " + prefix + ":doctor)");
    } else {
      refused(name);
    }
  }
  const auto subscribed = session.Subscribe(prefix + ":doctor");
  if (subscribed && subscribed->IsError()) refused("subscribe (on the channel " + prefix + ":*)");
}

std::map<std::string, std::string> ReadInfo(std::string_view text) {
  std::map<std::string, std::string> info;
  while (!text.empty()) {
    const size_t end = text.find("\r\n");
    const std::string_view line = text.substr(0, end);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && line.front() != '#') {
      info.emplace(line.substr(0, colon), line.substr(colon + 1));
    }
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 2);
  }
  return info;
}

// "7" of "satchel:7:{...}"; empty if it is no record.
std::string FormatOf(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix) || key.size() <= prefix.size() || key[prefix.size()] != ':') {
    return "";
  }
  key.remove_prefix(prefix.size() + 1);
  const size_t end = key.find(":{");
  if (end == std::string_view::npos || end == 0 || end > 6 ||
      !std::all_of(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(end),
                   [](char c) { return c >= '0' && c <= '9'; })) {
    return "";
  }
  return std::string(key.substr(0, end));
}

void LookAt(RedisSession& session, const std::vector<std::string>& keys, const std::string& prefix,
            RedisFacts::Sample* sample) {
  std::vector<Command> commands;
  for (const std::string& key : keys) {
    commands.push_back({"PTTL", key});
    commands.push_back({"TYPE", key});
  }
  const auto replies = session.AskAll(std::move(commands));
  std::vector<Command> sizes;
  std::vector<std::string> sized;
  for (size_t i = 0; i < keys.size(); ++i) {
    ++sample->keys;
    const std::string format = FormatOf(keys[i], prefix);
    if (!format.empty()) ++sample->formats[format];
    const auto& ttl = replies[2 * i];
    if (ttl && ttl->IsInteger() && ttl->integer == -1) {
      if (sample->without_ttl_count++ < kNamed) sample->without_ttl.push_back(keys[i]);
    }
    const auto& type = replies[2 * i + 1];
    if (!type || (type->text != "string" && type->text != "zset")) continue;
    sizes.push_back({type->text == "string" ? "STRLEN" : "ZCARD", keys[i]});
    sized.push_back(type->text);
  }
  const std::vector<std::string>& names = keys;
  const auto lengths = session.AskAll(sizes);
  // `sizes` skipped some keys: walk both.
  size_t at = 0;
  for (size_t i = 0; i < names.size() && at < lengths.size(); ++i) {
    const auto& type = replies[2 * i + 1];
    if (!type || (type->text != "string" && type->text != "zset")) continue;
    const auto& length = lengths[at];
    const int64_t bound = sized[at++] == "string" ? kBigValue : kBigSet;
    if (length && length->IsInteger() && length->integer > bound && sample->big.size() < kNamed) {
      sample->big.emplace_back(names[i], static_cast<uint64_t>(length->integer));
    }
  }
}

std::optional<RedisFacts::Sample> TakeSample(RedisSession& session, const std::string& prefix) {
  RedisFacts::Sample sample;
  std::string cursor = "0";
  for (int round = 0; round < kScanRounds && sample.keys < kMaxSample; ++round) {
    const auto reply =
        session.Ask({"SCAN", cursor, "MATCH", prefix + ":*", "COUNT", std::to_string(kBatch)});
    if (!reply || reply->items.size() != 2) {
      if (round == 0) return std::nullopt;
      break;
    }
    std::vector<std::string> keys;
    for (const Reply& key : reply->items[1].items) keys.push_back(key.text);
    LookAt(session, keys, prefix, &sample);
    cursor = reply->items[0].text;
    if (cursor == "0") {
      sample.whole = true;
      break;
    }
  }
  return sample;
}

}  // namespace

RedisSession::RedisSession(net::EventLoop& loop, net::Resolver& resolver,
                           redis::Link::Options options)
    : loop_(loop),
      options_([&] {
        options.name = "satchel-doctor";
        options.connect_timeout_ms = kPatienceMs;
        options.limits.stall_ms = kPatienceMs;
        return options;
      }()),
      link_(loop, resolver, options_,
            {.on_ready = [this] { ready_ = true; },
             .on_lost = [this](const std::string& reason) { failure_ = reason; },
             .on_failed = [this](const std::string& reason) { failure_ = reason; },
             .on_clock =
                 [this](int64_t sent_us, const Reply& reply) {
                   clock_offset_us_ = redis::ClockOffsetUs(sent_us, reply);
                 },
             .on_push = [this](Reply reply) { pushed_ = std::move(reply); }}) {}

template <typename Condition>
bool RedisSession::TurnUntil(Condition condition) {
  const int64_t end = net::EventLoop::ReadClockMs() + kPatienceMs;
  net::Timer tick;
  while (!condition()) {
    const int64_t left = end - net::EventLoop::ReadClockMs();
    if (left <= 0) return false;
    loop_.SetTimer(tick, left);
    loop_.Turn(true);
  }
  return true;
}

std::string RedisSession::Open() {
  link_.Start();
  const bool decided = TurnUntil([this] { return ready_ || failure_; });
  if (ready_) return "";
  return decided ? *failure_ : "no answer within " + std::to_string(kPatienceMs) + " ms";
}

std::vector<cache::Result<Reply>> RedisSession::AskAll(std::vector<Command> commands) {
  using Replies = std::vector<cache::Result<Reply>>;
  // Shared: an answer may come when nobody waits for it any more.
  const auto replies = std::make_shared<Replies>();
  const auto left = std::make_shared<size_t>(commands.size());
  for (size_t i = 0; i < commands.size(); ++i) {
    replies->push_back(cache::Fail(cache::ErrorSource::kStore, "no answer in time"));
    auto call = std::make_shared<redis::CallState>();
    call->done = [replies, left, i](cache::Result<Reply> reply) {
      (*replies)[i] = std::move(reply);
      --*left;
    };
    if (!link_.Send(std::move(commands[i]), std::move(call))) --*left;
  }
  TurnUntil([&] { return *left == 0; });
  return std::move(*replies);
}

cache::Result<Reply> RedisSession::Ask(Command command) {
  std::vector<Command> one;
  one.push_back(std::move(command));
  return std::move(AskAll(std::move(one)).front());
}

std::optional<Reply> RedisSession::Subscribe(const std::string& channel) {
  pushed_.reset();
  if (!link_.SendUnanswered({"SUBSCRIBE", channel})) return std::nullopt;
  TurnUntil([this] { return pushed_ || failure_; });
  return std::exchange(pushed_, std::nullopt);
}

RedisFacts GatherFacts(RedisSession& session, const std::string& server, const std::string& prefix,
                       const std::string& tag) {
  RedisFacts facts;
  facts.server = server;
  facts.unreachable = session.Open();
  if (!facts.unreachable.empty()) return facts;
  facts.clock_offset_us = session.clock_offset_us();
  const int64_t start = net::EventLoop::ReadClockNs();
  static_cast<void>(session.Ask({"PING"}));
  facts.round_trip_us = (net::EventLoop::ReadClockNs() - start) / 1000;
  if (const auto info = session.Ask({"INFO"})) facts.info = ReadInfo(info->text);
  facts.sample = TakeSample(session, prefix);
  TryRights(session, prefix, tag, &facts);  // subscribes: nothing can be asked after it
  return facts;
}

}  // namespace satchel::proxy
