#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/cron.h"
#include "rules/ip_address.h"
#include "rules/rate_limit.h"
#include "rules/record_key.h"
#include "rules/rule.h"

namespace satchel::rules {

// One whole configuration as plain data, every default filled in. Sizes are bytes, a size or
// count of zero means "no bound" where its comment says so. File names are already joined to the
// folder of the file that names them.

// Where to listen or to connect.
struct Endpoint {
  enum class Kind : uint8_t { kIp, kName, kUnix };
  Kind kind = Kind::kIp;
  std::string host;   // kIp: literal without brackets; kName: a DNS name
  uint16_t port = 0;  // 0 only for a listener: any free port
  std::string path;   // kUnix; "@name" is an abstract socket
  std::string text;   // as written, for logs
  bool operator==(const Endpoint&) const = default;
};

// Of a listener: "1.2.3.4:80", "[::1]:80", ":80" (all IPv4 addresses), "unix:/path".
std::optional<Endpoint> ParseListenAddress(std::string_view text);
// Of a server: "1.2.3.4:80", "[::1]:80", "name:80", "dns:name:80", "unix:/path".
std::optional<Endpoint> ParseServerAddress(std::string_view text);

enum class TlsVersion : uint8_t { kTls12, kTls13 };

struct ListenerTls {
  struct Certificate {
    std::string cert;  // PEM chain
    std::string key;   // PEM
  };
  std::vector<Certificate> certificates;  // picked by SNI; the first is the default
  TlsVersion min_version = TlsVersion::kTls12;
};

struct Listener {
  std::string name;
  Endpoint address;
  std::vector<IpPrefix> trusted_proxies;  // only these may set X-Forwarded-*
  std::optional<ListenerTls> tls;
  uint64_t max_header = 32 << 10;
  uint32_t max_headers = 128;
  uint64_t max_body = 0;  // 0 = no cap
  uint32_t max_connections = 10000;
  Millis header_timeout = std::chrono::seconds(10);
  Millis keepalive = std::chrono::seconds(75);
  Millis write_timeout = std::chrono::seconds(30);
};

enum class Balance : uint8_t { kRoundRobin, kLeastRequests };

struct UpstreamTls {
  std::string ca;   // PEM file; empty = the system's
  std::string sni;  // empty = the host of the server
  bool verify = true;
};

struct Upstream {
  std::string name;
  std::vector<Endpoint> servers;
  Balance balance = Balance::kLeastRequests;
  uint32_t keepalive = 64;      // idle connections kept, per worker
  uint32_t retry_attempts = 1;  // more attempts of an idempotent request; 0 = never
  std::optional<UpstreamTls> tls;
  std::string file;  // where it stands
  uint32_t line = 0;
};

struct L1Config {
  uint64_t size = 0;  // 0 = a quarter of the memory limit
  uint64_t max_object = 4 << 20;
  bool preallocate = false;  // take the memory at the start
  // How long what is stored may be served unasked while purges of others can't be heard of.
  Millis incoherent_ttl = std::chrono::seconds(1);
};

// The breaker opens after `failures` in a row and lets one attempt through after `open_for`.
struct BreakerConfig {
  uint32_t failures = 5;
  Millis open_for = std::chrono::seconds(2);
};

enum class RedisTopology : uint8_t { kSingle, kSentinel, kCluster };

struct RedisTls {
  std::string ca;    // PEM file; empty = the system's
  std::string cert;  // PEM files of the client's certificate; empty = none
  std::string key;
  std::string sni;  // empty = the host of the server
  bool verify = true;
  bool operator==(const RedisTls&) const = default;
};

struct L2Config {
  RedisTopology topology = RedisTopology::kSingle;
  std::vector<Endpoint> servers;  // one; the sentinels; or some of the cluster
  std::string master;             // what the sentinels call it
  std::string redis;              // the URL as shown in logs: without user and password
  std::string user;
  std::string password;
  std::string sentinel_user;
  std::string sentinel_password;
  std::optional<RedisTls> tls;
  uint32_t database = 0;
  std::string prefix = "satchel";
  Millis deadline{20};
  uint64_t max_object = 8 << 20;
  BreakerConfig breaker;
  std::optional<uint64_t> compress_min = 4 << 10;  // absent = never compressed
  std::vector<std::string> encrypt_files;          // what encrypt_keys was read from
  std::vector<RecordKey> encrypt_keys;             // the first seals, all of them open
};

struct AdminConfig {
  std::optional<Endpoint> address;  // absent: "off"
  std::string token;                // empty = none wanted
};

// Who may purge, and how it is asked for.
struct PurgeConfig {
  // All that is set must hold: the address, the token. At least one is set.
  struct Grant {
    std::vector<IpPrefix> from{};
    std::string token{};
    // What it may purge.
    bool url = true, tag = true, prefix = true, rule = true, host = true, all = true;
  };
  std::vector<Grant> allow;  // never empty: loopback, if nothing was written
  std::string channel;       // in Redis, for messages of applications; empty: none
  // Entity in a message -> tags; {name} stands for a member of the message.
  std::vector<std::pair<std::string, std::vector<TagTemplate>>> events;
  // What is purged at its times, once for all instances.
  struct Scheduled {
    std::string name{};
    std::vector<Cron> at{};
    std::vector<std::string> urls{};      // absolute
    std::vector<std::string> tags{};
    std::vector<std::string> prefixes{};  // of URLs, from the scheme on
    std::vector<std::string> rules{};
    std::vector<std::string> hosts{};
    bool all = false;
    bool soft = false;
    bool refresh = false;
  };
  std::vector<Scheduled> schedule;
  Millis ack{500};           // how long to wait for the other instances; 0: not at all
  uint32_t refresh_rate = 20;  // fetches a second after purges with refresh
};

// What is brought into memory before anybody asks for it.
struct WarmupConfig {
  std::string name{};
  std::vector<std::string> urls{};  // absolute
  // Values of request fields; each combination is one request.
  std::vector<std::pair<std::string, std::vector<std::string>>> headers{};
  bool all_variants = false;  // each combination of what cache.normalize of the rule lists
  bool history = false;       // instead of urls: what the fleet was asked for most
  uint32_t top = 200;         // of the history
  bool at_startup = false;
  std::vector<Cron> at{};
  uint32_t concurrency = 4;
  std::pair<uint64_t, std::chrono::microseconds> rate{20, std::chrono::seconds(1)};  // to the origin
  uint64_t max_bytes = 64 << 20;  // of bodies
  Millis max_time = std::chrono::minutes(5);
  double ready_at = 0;  // share of its requests at the start that readiness waits for
  Millis ready_timeout = std::chrono::seconds(30);
};

enum class AccessLog : uint8_t { kJson, kText, kOff };
enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarn, kError };

struct LogConfig {
  AccessLog access = AccessLog::kJson;
  LogLevel level = LogLevel::kInfo;
  std::string to = "stdout";  // stdout, stderr or a file name
  std::vector<std::string> redact = {"Authorization", "Cookie", "X-API-Key"};
};

struct ShutdownConfig {
  Millis not_ready_for = std::chrono::seconds(5);
  Millis drain = std::chrono::seconds(25);
};

struct Config {
  std::string file;      // empty for the file-less form
  uint32_t workers = 0;  // 0 = auto: the CPUs the cgroup allows, at most 4
  std::vector<Listener> listeners;
  std::vector<Upstream> upstreams;
  L1Config l1;
  std::optional<L2Config> l2;
  std::optional<L2Config> limits;  // another Redis for rate limits; absent: that of l2
  std::vector<Rule> rules;  // never empty: the implicit rule "default" if none was written
  std::vector<Plan> plans;
  std::vector<RateLimitPolicy> rate_limits;
  AdminConfig admin;
  LogConfig log;
  ShutdownConfig shutdown;
  PurgeConfig purge;
  std::vector<WarmupConfig> warmup;

  // Where limits are counted; null: in the process.
  const L2Config* limit_store() const { return limits ? &*limits : l2 ? &*l2 : nullptr; }
};

// What is assumed when nothing is said: the admin address and nothing else to serve.
Config DefaultConfig();

}  // namespace satchel::rules
