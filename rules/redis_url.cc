// The URL of stores.l2.redis: one server, a socket, sentinels or a cluster.
#include <array>

#include "rules/config_parser_blocks.h"
#include "rules/path.h"

namespace satchel::rules {
namespace {

constexpr const char* kForm =
    "; write redis://host:6379/0, redis://user:password@host:6379/0, rediss:// for TLS, "
    "redis://host1,host2 for a cluster, sentinel://host1:26379,host2:26379/master-name or "
    "unix:///path";
constexpr size_t kMaxHosts = 64;

struct Scheme {
  std::string_view name;
  RedisTopology topology;
  bool tls;
};

constexpr std::array<Scheme, 6> kSchemes = {{
    {"redis", RedisTopology::kSingle, false},
    {"rediss", RedisTopology::kSingle, true},
    {"redis+cluster", RedisTopology::kCluster, false},
    {"rediss+cluster", RedisTopology::kCluster, true},
    {"sentinel", RedisTopology::kSentinel, false},
    {"sentinels", RedisTopology::kSentinel, true},
}};

std::optional<std::string> Wrong(std::string what) { return std::move(what) + kForm; }

// What stands before the last "@", taken off `rest`.
bool TakeLogin(std::string_view* rest, L2Config* l2) {
  const size_t at = rest->rfind('@');
  if (at == std::string_view::npos) return true;
  const std::string_view login = rest->substr(0, at);
  const size_t colon = login.find(':');
  auto user = PercentDecode(login.substr(0, colon));
  auto password =
      PercentDecode(colon == std::string_view::npos ? std::string_view() : login.substr(colon + 1));
  if (!user || !password) return false;
  l2->user = std::move(*user);
  l2->password = std::move(*password);
  rest->remove_prefix(at + 1);
  return true;
}

bool ReadDatabase(std::string_view text, L2Config* l2) {
  const auto number = ParseNumber(text, 0, 1'000'000);
  if (number) l2->database = static_cast<uint32_t>(*number);
  return number.has_value();
}

std::optional<Endpoint> ReadHost(std::string_view text, const char* default_port) {
  std::string host_port(text);
  const size_t colon = host_port.rfind(':');
  if (colon == std::string::npos || host_port.find(']', colon) != std::string::npos) {
    host_port += default_port;
  }
  auto server = ParseServerAddress(host_port);
  if (!server || server->kind == Endpoint::Kind::kUnix) return std::nullopt;
  return server;
}

std::optional<std::string> ReadUnix(std::string_view rest, L2Config* l2) {
  if (!TakeLogin(&rest, l2)) return Wrong("has an invalid escape before the @");
  const size_t query = rest.find('?');
  if (query != std::string_view::npos) {
    const std::string_view text = rest.substr(query + 1);
    if (!text.starts_with("db=") || !ReadDatabase(text.substr(3), l2)) {
      return Wrong("has something other than ?db=NUMBER behind the path");
    }
    rest = rest.substr(0, query);
  }
  auto endpoint = ParseServerAddress("unix:" + std::string(rest));
  if (!endpoint) return Wrong("is not a socket path");
  l2->redis = "unix://" + endpoint->path;
  if (l2->database != 0) l2->redis += "?db=" + std::to_string(l2->database);
  l2->servers.push_back(std::move(*endpoint));
  return std::nullopt;
}

std::optional<std::string> ReadHosts(std::string_view hosts, const char* default_port,
                                     L2Config* l2) {
  for (;;) {
    const size_t comma = hosts.find(',');
    auto server = ReadHost(hosts.substr(0, comma), default_port);
    if (!server) return Wrong("has a bad host or port");
    l2->servers.push_back(std::move(*server));
    if (l2->servers.size() > kMaxHosts) return Wrong("names more than 64 hosts");
    if (comma == std::string_view::npos) return std::nullopt;
    hosts.remove_prefix(comma + 1);
  }
}

}  // namespace

std::optional<std::string> ParseRedisUrl(std::string_view url, L2Config* l2) {
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos || colon > 20) return Wrong("is not a URL");
  const std::string_view name = url.substr(0, colon);
  std::string_view rest = url.substr(colon + 3);
  if (name == "unix") return ReadUnix(rest, l2);
  const Scheme* scheme = nullptr;
  for (const Scheme& known : kSchemes) {
    if (known.name == name) scheme = &known;
  }
  if (scheme == nullptr) return Wrong("has the unknown scheme \"" + std::string(name) + "\"");
  l2->topology = scheme->topology;
  if (scheme->tls) l2->tls.emplace();

  if (!TakeLogin(&rest, l2)) return Wrong("has an invalid escape before the @");
  const size_t slash = rest.find('/');
  std::string_view path =
      slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  const bool sentinel = l2->topology == RedisTopology::kSentinel;
  if (const auto wrong = ReadHosts(rest.substr(0, slash), sentinel ? ":26379" : ":6379", l2)) {
    return wrong;
  }
  if (sentinel) {
    const size_t end = path.find('/');
    l2->master = path.substr(0, end);
    if (l2->master.empty()) return Wrong("does not name the master");
    path = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
  } else if (l2->servers.size() > 1) {
    l2->topology = RedisTopology::kCluster;
  }
  if (!path.empty() && !ReadDatabase(path, l2)) return Wrong("has a bad database number");
  if (l2->topology == RedisTopology::kCluster && l2->database != 0) {
    return Wrong("asks for a database other than 0, and a cluster has no other");
  }

  l2->redis = std::string(name) + "://";
  for (size_t i = 0; i < l2->servers.size(); ++i) {
    l2->redis += (i == 0 ? "" : ",") + l2->servers[i].text;
  }
  if (sentinel) l2->redis += "/" + l2->master;
  if (l2->topology != RedisTopology::kCluster) l2->redis += "/" + std::to_string(l2->database);
  return std::nullopt;
}

}  // namespace satchel::rules
