#include "proxy/doctor.h"

#include <bitset>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "proxy/admin_client.h"
#include "proxy/config_source.h"
#include "proxy/doctor_findings.h"
#include "proxy/doctor_session.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/resolver.h"
#include "proxy/redis/client.h"
#include "proxy/redis/connect.h"
#include "proxy/redis/slots.h"
#include "proxy/snapshot.h"
#include "rules/config_parser.h"

namespace satchel::proxy {
namespace {

using redis::Link;
using redis::ServerAddress;

constexpr int kUnusable = 2;
constexpr std::chrono::milliseconds kAdminPatience{3000};

// A tag whose slot is one of these; some number always is.
std::string TagIn(const std::bitset<redis::kSlotCount>& slots) {
  for (uint32_t i = 0;; ++i) {
    std::string tag = std::to_string(i);
    if (slots.none() || slots[redis::SlotOf(tag)]) return tag;
  }
}

class Doctor {
 public:
  Doctor(rules::L2Config config, std::shared_ptr<const net::ClientTls> tls, bool has_limits)
      : config_(std::move(config)),
        accesses_(redis::Accesses::From(config_, std::move(tls))),
        resolver_(loop_) {
    topology_.url = config_.redis;
    topology_.has_limits = has_limits;
    topology_.cluster_expected = config_.topology == rules::RedisTopology::kCluster;
  }

  std::vector<Finding> Examine() {
    if (topology_.cluster_expected) {
      ExamineCluster();
    } else {
      Link::Options options = redis::SubscriberOptions(loop_, resolver_, config_, accesses_);
      const std::string name = options.locator != nullptr
                                   ? config_.redis
                                   : static_cast<const ServerAddress&>(options).ToString();
      RedisSession session(loop_, resolver_, std::move(options));
      servers_.push_back(GatherFacts(session, name, config_.prefix, "0"));
    }
    std::vector<Finding> findings = JudgeTopology(topology_, servers_);
    for (const RedisFacts& server : servers_) {
      for (Finding& finding : JudgeServer(server, topology_))
        findings.push_back(std::move(finding));
    }
    return findings;
  }

 private:
  Link::Options At(const ServerAddress& server) {
    Link::Options options = redis::SubscriberOptions(loop_, resolver_, config_, accesses_);
    options.locator.reset();
    static_cast<ServerAddress&>(options) = server;
    return options;
  }

  void ExamineCluster() {
    std::map<ServerAddress, std::bitset<redis::kSlotCount>> masters;
    for (const rules::Endpoint& seed : config_.servers) {
      const ServerAddress address = redis::AddressOf(seed);
      RedisSession session(loop_, resolver_, At(address));
      if (std::string trouble = session.Open(); !trouble.empty()) {
        RedisFacts facts;
        facts.server = address.ToString();
        facts.unreachable = std::move(trouble);
        servers_.push_back(std::move(facts));
        continue;
      }
      const auto reply = session.Ask({"CLUSTER", "SLOTS"});
      const auto ranges =
          reply ? redis::ReadSlots(*reply, address.host) : std::unexpected(reply.error());
      if (!ranges) {
        topology_.trouble = address.ToString() + ": CLUSTER SLOTS: " + ranges.error().message;
        continue;
      }
      for (const redis::SlotRange& range : *ranges) {
        for (uint32_t slot = range.first; slot <= range.last; ++slot) {
          masters[range.master].set(slot);
        }
      }
      topology_.cluster = true;
      topology_.trouble.clear();
      break;
    }
    std::bitset<redis::kSlotCount> served;
    for (const auto& [server, slots] : masters) {
      served |= slots;
      RedisSession session(loop_, resolver_, At(server));
      servers_.push_back(GatherFacts(session, server.ToString(), config_.prefix, TagIn(slots)));
    }
    topology_.slots_unserved = static_cast<uint32_t>(redis::kSlotCount - served.count());
  }

  const rules::L2Config config_;
  const redis::Accesses accesses_;
  net::EventLoop loop_;
  net::Resolver resolver_;
  TopologyFacts topology_;
  std::vector<RedisFacts> servers_;
};

Finding AskInstance(const DoctorOptions& options) {
  Finding finding{.server = options.admin, .check = "instance"};
  const auto fail = [&](std::string text, std::string advice) {
    finding.level = Finding::Level::kError;
    finding.text = std::move(text);
    finding.advice = std::move(advice);
    return finding;
  };
  const auto address = rules::ParseListenAddress(options.admin);
  if (!address) return fail("is not an address", "write --admin 127.0.0.1:9901");
  const auto answer = AskAdmin(*address, "GET", "/status", options.admin_token, kAdminPatience);
  if (!answer) return fail(answer.error().message, "start it, or correct --admin");
  if (answer->status != 200) {
    return fail("its status is refused with " + std::to_string(answer->status),
                "give the admin token: --token");
  }
  const auto json = nlohmann::json::parse(answer->body, nullptr, false);
  if (!json.is_object() || !json.contains("redis")) {
    return fail("runs without a Redis", "give it stores.l2, or --redis");
  }
  const auto& redis = json["redis"];
  const uint64_t open = redis.value("breakers_open", uint64_t{0});
  if (!redis.value("up", false) || open != 0) {
    return fail("is not connected to " + redis.value("server", std::string("Redis")) + " (" +
                    std::to_string(open) + " breakers open)",
                "read its log, and the findings here: from its host doctor may see more");
  }
  finding.text = "is connected to " + redis.value("server", std::string("Redis"));
  return finding;
}

int Refuse(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  return kUnusable;
}

}  // namespace

int RunDoctor(const DoctorOptions& options) {
  rules::Config config;
  if (!options.config_file.empty()) {
    RunOptions run;
    run.config_file = options.config_file;
    LoadedConfig loaded = LoadConfig(run);
    if (!loaded.config) return Refuse(loaded.errors.front());
    config = std::move(*loaded.config);
  } else {
    rules::ParseResult parsed = rules::MakeSimpleConfig(":0", "127.0.0.1:1", options.redis);
    if (!parsed.config) return Refuse(parsed.errors.front().ToString());
    config = std::move(*parsed.config);
  }
  if (!config.l2) {
    return Refuse("satchel doctor: " + options.config_file + " names no Redis (stores.l2)");
  }
  if (!options.prefix.empty()) config.l2->prefix = options.prefix;
  const bool has_limits = !config.rate_limits.empty();
  const rules::L2Config l2 = *config.l2;
  const auto snapshot = BuildSnapshot(std::move(config), 1);
  if (!snapshot) return Refuse(snapshot.error().message);

  std::vector<Finding> findings = Doctor(l2, (*snapshot)->redis_tls, has_limits).Examine();
  if (!options.admin.empty()) findings.push_back(AskInstance(options));
  const std::string text = options.json ? FindingsJson(findings) : FindingsText(findings);
  std::fputs(text.c_str(), stdout);
  return ExitCodeOf(findings);
}

}  // namespace satchel::proxy
