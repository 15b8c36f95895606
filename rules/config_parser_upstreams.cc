// upstreams, stores.
#include <algorithm>

#include "rules/config_parser_blocks.h"

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

void ParseRedisTls(const Cursor& cursor, L2Config* l2) {
  RedisTls tls;
  MapReader map(cursor, "TLS settings");
  map.Path("ca", &tls.ca);
  map.Path("cert", &tls.cert);
  map.Path("key", &tls.key);
  map.Text("sni", &tls.sni);
  map.Bool("verify", &tls.verify);
  map.Finish();
  if (tls.cert.empty() != tls.key.empty()) {
    cursor.Error("has one of cert and key; write both, or neither");
  }
  if (!l2->tls) {
    cursor.Error(
        "has no effect without TLS; write rediss:// (or sentinels://) in redis, or drop it");
    return;
  }
  l2->tls = std::move(tls);
}

void ParseEncryptKeys(const Cursor& cursor, L2Config* l2) {
  constexpr uint64_t kLongestFile = 4096;
  constexpr size_t kMostKeys = 16;
  const bool list = cursor.IsList();
  const size_t count = list ? cursor.node().items.size() : 1;
  if (count == 0 || count > kMostKeys) {
    cursor.Error("names no files or more than 16; write [keys/new.key, keys/old.key]");
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const Cursor item = list ? cursor.Item(i) : cursor;
    const auto path = item.Path();
    if (!path) continue;
    const auto text = item.loader().ReadFile(*path, kLongestFile);
    if (!text) {
      item.Error("cannot read " + *path + ": " + text.error().message);
      continue;
    }
    const auto key = ParseRecordKey(*text);
    if (!key) {
      item.Error(*path +
                 " holds no key; write 32 random bytes into it as 64 hexadecimal digits or in "
                 "base64, as \"openssl rand -hex 32\" does");
      continue;
    }
    l2->encrypt_files.push_back(*path);
    l2->encrypt_keys.push_back(*key);
  }
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
  if (const auto sentinel = map.Take("sentinel")) {
    MapReader settings(*sentinel, "the login of the sentinels");
    settings.Text("user", &l2.sentinel_user);
    settings.Text("password", &l2.sentinel_password);
    settings.Finish();
    if (l2.topology != RedisTopology::kSentinel) {
      sentinel->Error(
          "is for sentinels; write redis: sentinel://host:26379/master-name, or drop it");
    }
  }
  if (const auto tls = map.Take("tls")) ParseRedisTls(*tls, &l2);
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
  if (const auto files = map.Take("encrypt_keys")) ParseEncryptKeys(*files, &l2);
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
    settings.Bool("preallocate", &config->l1.preallocate);
    settings.Duration("incoherent_ttl", &config->l1.incoherent_ttl, Millis(100));
    settings.Finish();
  }
  if (const auto l2 = map.Take("l2")) ParseL2(*l2, &config->l2);
  if (const auto limits = map.Take("limits")) ParseL2(*limits, &config->limits);
  map.Finish();
}

}  // namespace satchel::rules
