#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace satchel::proxy {

// What is known of one Redis server, gathered by `satchel doctor`. Absent: could not be asked.
struct RedisFacts {
  std::string server;       // "host:port"
  std::string unreachable;  // why; everything else is absent then
  int64_t round_trip_us = 0;
  std::optional<int64_t> clock_offset_us;   // its clock minus ours
  std::vector<std::string> refused;         // commands the user may not run
  std::vector<std::string> failing;         // commands that fail otherwise: "set: READONLY ..."
  std::map<std::string, std::string> info;  // INFO, by field; empty: no right to it
  struct Sample {
    uint64_t keys = 0;
    bool whole = false;                    // all keys were seen
    std::vector<std::string> without_ttl;  // some of them
    uint64_t without_ttl_count = 0;
    std::vector<std::pair<std::string, uint64_t>> big;  // name, bytes or entries
    std::map<std::string, uint64_t> formats;            // of records, by version
  };
  std::optional<Sample> sample;  // absent: no right to SCAN
};

// What is known of the cluster or the sentinels around them, if any, and of the configuration.
struct TopologyFacts {
  std::string url;
  bool cluster = false;
  bool cluster_expected = false;
  uint32_t slots_unserved = 0;
  std::string trouble;      // what kept it from being asked
  bool has_limits = false;  // of rates
};

struct Finding {
  enum class Level : uint8_t { kOk, kNote, kWarning, kError };
  Level level = Level::kOk;
  std::string server{};
  std::string check{};   // "clock", "memory"
  std::string text{};    // what was found
  std::string advice{};  // what to do; empty for kOk
};

// Pure: what the facts mean.
std::vector<Finding> JudgeServer(const RedisFacts& facts, const TopologyFacts& topology);
std::vector<Finding> JudgeTopology(const TopologyFacts& topology,
                                   const std::vector<RedisFacts>& servers);

// 0: nothing to do; 1: warnings; 2: errors.
int ExitCodeOf(const std::vector<Finding>& findings);
std::string FindingsText(const std::vector<Finding>& findings);
std::string FindingsJson(const std::vector<Finding>& findings);

}  // namespace satchel::proxy
