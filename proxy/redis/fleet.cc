#include "proxy/redis/fleet.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <random>
#include <utility>

#include "proxy/redis/lua/nodes.lua.h"

namespace satchel::redis {
namespace {

constexpr int64_t kDeadAfterBeats = 3;
constexpr int64_t kMaxNodes = 10'000;

const Script& Nodes() {
  static const Script script(lua::kNodes);
  return script;
}

}  // namespace

std::string Fleet::UniqueName() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  std::string name = host[0] == '\0' ? "satchel" : host.data();
  name += '/' + std::to_string(getpid()) + '/';
  const uint32_t random = std::random_device()();
  for (int shift = 28; shift >= 0; shift -= 4) name += "0123456789abcdef"[random >> shift & 15];
  return name;
}

// The second key is in the first one's slot: its hash tag is the first key's whole text.
Fleet::Fleet(net::EventLoop& loop, Commander& commander, Options options)
    : loop_(loop),
      commander_(commander),
      options_(std::move(options)),
      nodes_key_(options_.prefix + ":nodes"),
      sequences_key_(options_.prefix + ":{" + nodes_key_ + "}:seq"),
      timer_([this] { Beat(); }) {
  commander_.AddScript(Nodes());
}

void Fleet::Start() { Beat(); }

void Fleet::SetSequence(uint64_t sequence, bool now) {
  sequence_ = sequence;
  if (!now || std::exchange(soon_, true)) return;
  // All that one turn of the loop brings makes one heartbeat.
  loop_.SetTimer(timer_, 0);
}

void Fleet::Beat() {
  soon_ = false;
  if (left_) return;
  loop_.SetTimer(timer_, options_.interval_ms);
  ScriptArguments arguments;
  arguments.Key(nodes_key_).Key(sequences_key_).Arg("beat");
  arguments.Arg(options_.interval_ms * kDeadAfterBeats).Arg(options_.name);
  arguments.Arg(static_cast<int64_t>(sequence_)).Arg(kMaxNodes);
  beat_ = commander_.CallScript(
      Nodes(), std::move(arguments), options_.deadline_ms, [this](cache::Result<Reply> reply) {
        if (reply && reply->IsInteger() && reply->integer > 0) {
          live_.store(static_cast<size_t>(reply->integer), std::memory_order_relaxed);
        }
      });
}

void Fleet::Leave() {
  left_ = true;
  timer_.Cancel();
  ScriptArguments arguments;
  arguments.Key(nodes_key_).Key(sequences_key_).Arg("leave");
  arguments.Arg(options_.interval_ms * kDeadAfterBeats).Arg(options_.name);
  commander_.SendScript(Nodes(), std::move(arguments), options_.deadline_ms);
}

PendingReply Fleet::List(Done done) {
  ScriptArguments arguments;
  arguments.Key(nodes_key_).Key(sequences_key_).Arg("list");
  arguments.Arg(options_.interval_ms * kDeadAfterBeats);
  return commander_.CallScript(Nodes(), std::move(arguments), options_.deadline_ms,
                               [done = std::move(done)](cache::Result<Reply> reply) {
                                 if (!reply) {
                                   done(std::unexpected(std::move(reply.error())));
                                   return;
                                 }
                                 std::vector<Node> nodes;
                                 for (size_t i = 0; i + 1 < reply->items.size(); i += 2) {
                                   Node node{reply->items[i].text, 0};
                                   const std::string& text = reply->items[i + 1].text;
                                   std::from_chars(text.data(), text.data() + text.size(),
                                                   node.sequence);
                                   nodes.push_back(std::move(node));
                                 }
                                 done(std::move(nodes));
                               });
}

}  // namespace satchel::redis
