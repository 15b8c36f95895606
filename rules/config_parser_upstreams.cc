// upstreams, stores.
#include <algorithm>

#include "rules/config_parser_blocks.h"
#include "rules/path.h"

namespace satchel::rules {
namespace {

void ParseServers(const Cursor& cursor, Upstream* upstream) {
  constexpr size_t kMaxServers = 256;
  const bool list = cursor.IsList();
  const size_t count = list ? cursor.node().items.size() : 1;
  if (count == 0 || count > kMaxServers) {
    cursor.Error("has no servers or more than 256; write [\"127.0.0.1:3000\"]");
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const Cursor item = list ? cursor.Item(i) : cursor;
    const auto text = item.Scalar("an address such as 127.0.0.1:3000");
    if (!text) continue;
    auto server = ParseServerAddress(text->text);
    if (!server) {
      item.BadValue(*text,
                    "is not a server; write 127.0.0.1:3000, [::1]:3000, name:3000, dns:name:3000 "
                    "or unix:/path");
      continue;
    }
    upstream->servers.push_back(std::move(*server));
  }
}

void ParseBreaker(const Cursor& cursor, BreakerConfig* breaker) {
  MapReader map(cursor, "breaker settings");
  map.Number("failures", &breaker->failures, 1, 1'000'000);
  map.Duration("open_for", &breaker->open_for, Millis(1));
  map.Finish();
}

void ParseL2(const Cursor& cursor, std::optional<L2Config>* to) {
  MapReader map(cursor, "the Redis settings");
  L2Config l2;
  if (const auto redis = map.Require("redis", "redis: redis://127.0.0.1:6379/0")) {
    if (const auto url = redis->Scalar("a URL such as redis://127.0.0.1:6379/0")) {
      // Not quoted: it may hold a password.
      if (const auto wrong = ParseRedisUrl(url->text, &l2)) redis->Error(*wrong);
    }
  }
  map.Text("password", &l2.password);
  if (const auto prefix = map.Take("prefix")) {
    if (auto text = prefix->Text()) {
      if (text->find_first_of("{} \t\r\n") != std::string::npos || text->size() > 64) {
        prefix->Error("holds { } or white space or is longer than 64; write a plain word");
      }
      l2.prefix = std::move(*text);
    }
  }
  map.Duration("deadline", &l2.deadline, Millis(1));
  map.Size("max_object", &l2.max_object, 1);
  if (const auto breaker = map.Take("breaker")) ParseBreaker(*breaker, &l2.breaker);
  if (const auto compress = map.Take("compress")) {
    if (compress->IsScalar()) {
      const auto flag = compress->Bool();
      if (flag && !*flag) l2.compress_min.reset();
    } else {
      MapReader settings(*compress, "compress settings");
      settings.Size("min", &*l2.compress_min);
      settings.Finish();
    }
  }
  map.Finish();
  *to = std::move(l2);
}

}  // namespace

void ParseUpstream(const std::string& name, const Cursor& cursor, Config* config) {
  CheckName(cursor, name);
  MapReader map(cursor, "an upstream");
  Upstream upstream;
  upstream.name = name;
  upstream.file = cursor.file();
  upstream.line = cursor.node().line;
  if (const auto servers = map.Require("servers", "servers: [\"127.0.0.1:3000\"]")) {
    ParseServers(*servers, &upstream);
  }
  map.Word("balance", &upstream.balance,
           {{"least_requests", Balance::kLeastRequests}, {"round_robin", Balance::kRoundRobin}});
  map.Number("keepalive", &upstream.keepalive, 0, 100'000);
  if (const auto retries = map.Take("retries")) {
    MapReader settings(*retries, "retry settings");
    settings.Number("attempts", &upstream.retry_attempts, 0, 10);
    settings.Finish();
  }
  if (const auto tls = map.Take("tls")) {
    if (tls->IsScalar()) {
      const auto flag = tls->Bool();
      if (flag && *flag) upstream.tls.emplace();
    } else {
      UpstreamTls settings;
      MapReader keys(*tls, "TLS settings");
      keys.Path("ca", &settings.ca);
      keys.Text("sni", &settings.sni);
      keys.Bool("verify", &settings.verify);
      keys.Finish();
      upstream.tls = std::move(settings);
    }
  }
  map.Finish();
  config->upstreams.push_back(std::move(upstream));
}

void ParseStores(const Cursor& cursor, Config* config) {
  MapReader map(cursor, "the stores");
  if (const auto l1 = map.Take("l1")) {
    MapReader settings(*l1, "the memory settings");
    if (const auto size = settings.Take("size")) {
      const auto text = size->Scalar("auto or a size such as 64MiB");
      const auto bytes = text && text->text != "auto" ? size->Size() : std::nullopt;
      if (bytes && *bytes < (1 << 20))
        size->Error("is smaller than 1MiB; write auto or 1MiB or more");
      if (bytes) config->l1.size = *bytes;
    }
    settings.Size("max_object", &config->l1.max_object, 1);
    settings.Finish();
  }
  if (const auto l2 = map.Take("l2")) ParseL2(*l2, &config->l2);
  map.Finish();
}

std::optional<std::string> ParseRedisUrl(std::string_view url, L2Config* l2) {
  constexpr const char* kForm =
      "; write redis://host:6379/0, redis://user:password@host:6379/0 or unix:///path";
  if (url.starts_with("unix://")) {
    auto endpoint = ParseServerAddress("unix:" + std::string(url.substr(7)));
    if (!endpoint) return std::string("is not a socket path") + kForm;
    l2->server = std::move(*endpoint);
    l2->redis = url;
    return std::nullopt;
  }
  if (!url.starts_with("redis://")) {
    const std::string_view scheme = url.substr(0, url.find("://"));
    const bool has_scheme = scheme.size() < url.size() && scheme.size() < 20;
    return (has_scheme ? "has the unknown scheme \"" + std::string(scheme) + "\""
                       : std::string("is not a URL")) +
           kForm;
  }
  std::string_view rest = url.substr(8);
  const size_t at = rest.rfind('@');
  if (at != std::string_view::npos) {
    const std::string_view login = rest.substr(0, at);
    const size_t colon = login.find(':');
    auto user = PercentDecode(login.substr(0, colon));
    auto password = PercentDecode(colon == std::string_view::npos ? std::string_view()
                                                                  : login.substr(colon + 1));
    if (!user || !password) return std::string("has an invalid escape before the @") + kForm;
    l2->user = std::move(*user);
    l2->password = std::move(*password);
    rest = rest.substr(at + 1);
  }
  const size_t slash = rest.find('/');
  const std::string_view database =
      slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  if (!database.empty()) {
    const auto number = ParseNumber(database, 0, 1'000'000);
    if (!number) return std::string("has a bad database number") + kForm;
    l2->database = static_cast<uint32_t>(*number);
  }
  std::string host_port(rest.substr(0, slash));
  if (host_port.find(',') != std::string::npos) {
    return std::string("names several hosts; one is used") + kForm;
  }
  const size_t colon = host_port.rfind(':');
  if (colon == std::string::npos || host_port.find(']', colon) != std::string::npos) {
    host_port += ":6379";
  }
  auto server = ParseServerAddress(host_port);
  if (!server || server->kind == Endpoint::Kind::kUnix) {
    return std::string("has a bad host or port") + kForm;
  }
  l2->server = std::move(*server);
  l2->redis = "redis://" + host_port + "/" + std::to_string(l2->database);
  return std::nullopt;
}

}  // namespace satchel::rules
