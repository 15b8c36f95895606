#include "proxy/doctor_findings.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace satchel::proxy {
namespace {

using Level = Finding::Level;

constexpr int64_t kClockWarnUs = 100'000;
constexpr int64_t kClockErrorUs = 5'000'000;

class Judge {
 public:
  Judge(std::string server, std::vector<Finding>& out) : server_(std::move(server)), out_(out) {}
  void Ok(const char* check, std::string text) { Add(Level::kOk, check, std::move(text), ""); }
  void Note(const char* check, std::string text, std::string advice) {
    Add(Level::kNote, check, std::move(text), std::move(advice));
  }
  void Warning(const char* check, std::string text, std::string advice) {
    Add(Level::kWarning, check, std::move(text), std::move(advice));
  }
  void Error(const char* check, std::string text, std::string advice) {
    Add(Level::kError, check, std::move(text), std::move(advice));
  }

 private:
  void Add(Level level, const char* check, std::string text, std::string advice) {
    out_.push_back({level, server_, check, std::move(text), std::move(advice)});
  }
  std::string server_;
  std::vector<Finding>& out_;
};

std::string Millis(int64_t us) {
  const int64_t tenths = us / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(std::abs(tenths % 10)) + " ms";
}

std::string Join(const std::vector<std::string>& words, const char* between = ", ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

uint64_t Number(const std::map<std::string, std::string>& info, const char* field) {
  const auto found = info.find(field);
  uint64_t number = 0;
  if (found != info.end()) {
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), number);
  }
  return number;
}

std::string Text(const std::map<std::string, std::string>& info, const char* field) {
  const auto found = info.find(field);
  return found == info.end() ? "" : found->second;
}

std::string AdviceFor(const std::string& reason) {
  const auto has = [&](const char* what) { return reason.find(what) != std::string::npos; };
  if (has("WRONGPASS") || has("invalid password")) {
    return "correct user and password (in the URL, or stores.l2.password)";
  }
  if (has("NOAUTH")) return "give a password: stores.l2.password";
  if (has("certificate") || has("TLS")) {
    return "check stores.l2.tls: ca must have signed the server's certificate, the host of the URL "
           "(or sni) must be in it; with tls-auth-clients the server wants cert and key";
  }
  if (has("refused")) return "start Redis, or correct host and port in stores.l2.redis";
  if (has("no sentinel")) return "check the sentinels' addresses and the name of the master";
  if (has("expected the master")) return "point stores.l2.redis to the master, or use sentinel://";
  if (has("LOADING")) return "wait until Redis has read its data; a cache needs none on disk";
  if (has("closed by the server") || has("protocol")) {
    return "if the server speaks TLS write rediss://, else check that it is a Redis";
  }
  return "check the address, the network and Redis' own log";
}

void JudgeRights(const RedisFacts& facts, Judge& judge) {
  if (!facts.refused.empty()) {
    judge.Error("rights", "the user may not: " + Join(facts.refused),
                "give it the rights of deploy/redis/users.acl (with stores.l2.prefix for satchel)");
  }
  for (const std::string& failure : facts.failing) {
    judge.Error("writes", failure,
                failure.find("READONLY") != std::string::npos
                    ? "this is a replica: point stores.l2.redis to the master, or use sentinel://"
                : failure.find("OOM") != std::string::npos
                    ? "raise maxmemory, or set maxmemory-policy allkeys-lfu"
                    : "see Redis' own log");
  }
  if (facts.refused.empty() && facts.failing.empty()) {
    judge.Ok("rights", "every command that Satchel uses is allowed and works");
  }
}

void JudgeClock(const RedisFacts& facts, Judge& judge) {
  if (!facts.clock_offset_us) return;
  const int64_t offset = *facts.clock_offset_us;
  const std::string text = "its clock is " + Millis(std::abs(offset)) +
                           (offset < 0 ? " behind" : " ahead of") + " this machine's";
  const char* const advice =
      "run a time service (chrony) on both; ages are right all the same, but limits jump when the "
      "server's clock is stepped: slew it";
  if (std::abs(offset) >= kClockErrorUs) {
    judge.Error("clock", text, advice);
  } else if (std::abs(offset) >= kClockWarnUs) {
    judge.Warning("clock", text, advice);
  } else {
    judge.Ok("clock", text);
  }
}

void JudgeMemory(const RedisFacts& facts, const TopologyFacts& topology, Judge& judge) {
  const uint64_t limit = Number(facts.info, "maxmemory");
  const uint64_t used = Number(facts.info, "used_memory");
  const std::string policy = Text(facts.info, "maxmemory_policy");
  if (limit == 0) {
    judge.Warning("memory", "maxmemory is not set",
                  "set maxmemory, and maxmemory-policy allkeys-lfu: without a bound the kernel "
                  "ends Redis one day");
  } else if (policy == "noeviction") {
    judge.Warning("memory", "maxmemory-policy is noeviction: when it is full nothing is stored",
                  "set maxmemory-policy allkeys-lfu; keep noeviction for a Redis that holds limits "
                  "alone");
  } else {
    judge.Ok("memory", "maxmemory " + std::to_string(limit >> 20) + " MiB, " +
                           std::to_string(used >> 20) + " MiB used, " + policy);
  }
  if (limit != 0 && policy == "noeviction" && used > limit / 10 * 9) {
    judge.Error("memory", "more than 90 % of maxmemory is used, and nothing is evicted",
                "raise maxmemory, or set maxmemory-policy allkeys-lfu");
  }
  const uint64_t evicted = Number(facts.info, "evicted_keys");
  if (topology.has_limits && limit != 0 && policy != "noeviction") {
    judge.Warning(
        "limits",
        "rate limits share a Redis that evicts keys (" + policy + ", " + std::to_string(evicted) +
            " evicted so far): an evicted key is a fresh quota",
        "give it so much memory that evicted_keys stays 0, or limits a Redis of their own "
        "with noeviction");
  }
}

void JudgeInfo(const RedisFacts& facts, const TopologyFacts& topology, Judge& judge) {
  if (facts.info.empty()) {
    judge.Note("info", "INFO is not allowed: memory, role and clients are not checked",
               "give the user +info, or run doctor as an administrator");
    return;
  }
  const std::string version = Text(facts.info, "redis_version");
  const uint64_t major = Number(facts.info, "redis_version");
  if (major < 5) {
    judge.Error("version", "Redis " + version,
                "Satchel is written for Redis 5 and later, or Valkey");
  } else {
    judge.Ok("version", "Redis " + version);
  }
  if (Text(facts.info, "role") == "slave") {
    judge.Error("role", "this is a replica",
                "point stores.l2.redis to the master, or use sentinel://");
  }
  const bool cluster = Number(facts.info, "cluster_enabled") == 1;
  if (cluster && !topology.cluster_expected) {
    judge.Error("cluster", "this is a node of a cluster, and the URL names one server",
                "write redis+cluster://host, or several hosts");
  }
  if (!cluster && topology.cluster_expected) {
    judge.Error("cluster", "this is no cluster, and the URL names one",
                "write redis://host with a single host");
  }
  JudgeMemory(facts, topology, judge);
  const uint64_t clients = Number(facts.info, "connected_clients");
  const uint64_t most = Number(facts.info, "maxclients");
  if (most != 0 && clients > most / 10 * 8) {
    judge.Warning("clients", std::to_string(clients) + " of " + std::to_string(most) + " clients",
                  "raise maxclients: each instance needs 2 connections per worker and one more");
  }
}

void JudgeSample(const RedisFacts& facts, Judge& judge) {
  if (!facts.sample) {
    judge.Note("keys", "SCAN is not allowed: keys are not looked at",
               "run doctor as an administrator to have them checked; Satchel itself needs no SCAN");
    return;
  }
  const RedisFacts::Sample& sample = *facts.sample;
  const std::string seen =
      (sample.whole ? "all " : "a sample of ") + std::to_string(sample.keys) + " keys";
  if (sample.without_ttl_count != 0) {
    judge.Error("keys",
                std::to_string(sample.without_ttl_count) + " keys of " + seen +
                    " have no time to live: " + Join(sample.without_ttl),
                "Satchel sets one on every key: find out who writes under this prefix, and delete "
                "them");
  }
  if (!sample.big.empty()) {
    std::vector<std::string> names;
    for (const auto& [name, size] : sample.big)
      names.push_back(name + " (" + std::to_string(size) + ")");
    judge.Warning("keys", "large values: " + Join(names),
                  "values this large hold up everybody's replies: lower stores.l2.max_object; for "
                  "limits, fewer entries per window");
  }
  if (sample.formats.size() > 1) {
    std::vector<std::string> formats;
    for (const auto& [version, count] : sample.formats) {
      formats.push_back("version " + version + ": " + std::to_string(count));
    }
    judge.Warning("records", "records of several formats: " + Join(formats),
                  "instances of different releases share this Redis and do not read each other's "
                  "records; finish the roll-out, the old ones expire");
  }
  if (sample.without_ttl_count == 0 && sample.big.empty() && sample.formats.size() <= 1) {
    judge.Ok("keys", seen + ": each has a time to live, none is large, one format");
  }
}

const char* Word(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kNote:
      return "note";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "";
}

}  // namespace

std::vector<Finding> JudgeServer(const RedisFacts& facts, const TopologyFacts& topology) {
  std::vector<Finding> findings;
  Judge judge(facts.server, findings);
  if (!facts.unreachable.empty()) {
    judge.Error("reach", facts.unreachable, AdviceFor(facts.unreachable));
    return findings;
  }
  judge.Ok("reach", "answers in " + Millis(facts.round_trip_us));
  JudgeClock(facts, judge);
  JudgeRights(facts, judge);
  JudgeInfo(facts, topology, judge);
  JudgeSample(facts, judge);
  return findings;
}

std::vector<Finding> JudgeTopology(const TopologyFacts& topology,
                                   const std::vector<RedisFacts>& servers) {
  std::vector<Finding> findings;
  Judge judge(topology.url, findings);
  if (!topology.trouble.empty()) {
    judge.Error("topology", topology.trouble, AdviceFor(topology.trouble));
  }
  if (!topology.cluster) return findings;
  if (topology.slots_unserved != 0) {
    judge.Error("cluster", std::to_string(topology.slots_unserved) + " of 16384 slots are unserved",
                "see redis-cli --cluster check, and fix what it finds");
  } else {
    judge.Ok("cluster", "all slots are served, by " + std::to_string(servers.size()) + " masters");
  }
  return findings;
}

int ExitCodeOf(const std::vector<Finding>& findings) {
  int code = 0;
  for (const Finding& finding : findings) {
    if (finding.level == Level::kWarning) code = std::max(code, 1);
    if (finding.level == Level::kError) code = 2;
  }
  return code;
}

std::string FindingsText(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    std::string word = Word(finding.level);
    word.resize(8, ' ');
    text += word + finding.server + " " + finding.check + ": " + finding.text + "\n";
    if (!finding.advice.empty()) text += "        -> " + finding.advice + "\n";
  }
  return text;
}

std::string FindingsJson(const std::vector<Finding>& findings) {
  nlohmann::ordered_json json;
  json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    nlohmann::ordered_json one = {{"level", Word(finding.level)},
                                  {"server", finding.server},
                                  {"check", finding.check},
                                  {"text", finding.text}};
    if (!finding.advice.empty()) one["advice"] = finding.advice;
    json["findings"].push_back(std::move(one));
  }
  json["exit_code"] = ExitCodeOf(findings);
  // Names of keys are anybody's bytes.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace satchel::proxy
