// What each block of a configuration accepts, fills in and refuses.
#include <gtest/gtest.h>

#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(ListenerTest, EveryKeyIsRead) {
  const ParseResult result = ParseConfig(
      "version: 1\n"
      "workers: 3\n"
      "listeners:\n"
      "  - name: tls\n"
      "    address: \"[::]:8443\"\n"
      "    trusted_proxies: [10.0.0.0/8, \"fd00::/8\", 192.0.2.1]\n"
      "    tls: {certificates: [{cert: tls/a.crt, key: /etc/a.key}], min_version: 1.3}\n"
      "    max_header: 16KiB\n"
      "    max_headers: 64\n"
      "    max_body: 1GiB\n"
      "    max_connections: 500\n"
      "    header_timeout: 5s\n"
      "    keepalive: 0\n"
      "    write_timeout: 1m\n"
      "  - {name: sock, address: \"unix:/run/satchel.sock\"}\n"
      "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n",
      "/etc/satchel/rules.yaml", FakeLoader());
  ASSERT_TRUE(result.config.has_value()) << result.errors[0].ToString();
  const Config& config = *result.config;
  EXPECT_EQ(config.workers, 3U);
  const Listener& tls = config.listeners[0];
  EXPECT_EQ(tls.address.host, "::");
  EXPECT_EQ(tls.address.port, 8443);
  ASSERT_EQ(tls.trusted_proxies.size(), 3U);
  EXPECT_EQ(tls.trusted_proxies[2].ToString(), "192.0.2.1/32");
  ASSERT_TRUE(tls.tls.has_value());
  EXPECT_EQ(tls.tls->certificates[0].cert, "/etc/satchel/tls/a.crt");
  EXPECT_EQ(tls.tls->certificates[0].key, "/etc/a.key");
  EXPECT_EQ(tls.tls->min_version, TlsVersion::kTls13);
  EXPECT_EQ(tls.max_header, 16U << 10);
  EXPECT_EQ(tls.max_headers, 64U);
  EXPECT_EQ(tls.max_body, 1U << 30);
  EXPECT_EQ(tls.max_connections, 500U);
  EXPECT_EQ(tls.header_timeout, seconds(5));
  EXPECT_EQ(tls.keepalive, milliseconds(0));
  EXPECT_EQ(tls.write_timeout, minutes(1));
  EXPECT_EQ(config.listeners[1].address.kind, Endpoint::Kind::kUnix);
  EXPECT_EQ(config.listeners[1].address.path, "/run/satchel.sock");
}

TEST(ListenerTest, NamesAndAddressesAreUsedOnce) {
  EXPECT_EQ(ErrorsOf("version: 1\n"
                     "listeners:\n"
                     "  - {name: web, address: \":80\"}\n"
                     "  - {name: web, address: \"0.0.0.0:80\"}\n"
                     "upstreams: {app: {servers: \"app:80\"}}\n"),
            "rules.yaml:4:12: listeners[1].name: \"web\" names another listener already; name them "
            "apart\n"
            "rules.yaml:4:26: listeners[1].address: listener web has this address; write another "
            "port\n");
}

TEST(ListenerTest, BadValuesSayWhatToWrite) {
  EXPECT_EQ(
      ErrorsOf("version: 1\n"
               "listeners: [{name: web, address: \"localhost:80\", trusted_proxies: [10/8], "
               "max_header: 10B, tls: {min_version: 1.1}}]\n"
               "upstreams: {app: {servers: \"app:80\"}}\n"),
      "rules.yaml:2:34: listeners[0].address: \"localhost:80\" is not an address to listen "
      "on; write 0.0.0.0:8080, [::]:8080, :8080 or unix:/path\n"
      "rules.yaml:2:67: listeners[0].trusted_proxies: \"10/8\" is not a network; write "
      "10.0.0.0/8, fd00::/8 or an address\n"
      "rules.yaml:2:87: listeners[0].max_header: is smaller than 1KiB; write 1KiB or more\n"
      "rules.yaml:2:97: listeners[0].tls: \"certificates\" is missing; write [{cert: tls.crt, "
      "key: tls.key}]\n"
      "rules.yaml:2:111: listeners[0].tls.min_version: \"1.1\" is unknown; did you mean 1.2? "
      "(1.2 or 1.3)\n");
}

TEST(UpstreamTest, EveryKeyIsRead) {
  const Config config = MustParse(
      "version: 1\n"
      "listeners: [{name: web, address: \":8080\"}]\n"
      "upstreams:\n"
      "  a:\n"
      "    servers: [\"dns:search.default.svc:8080\", \"[::1]:80\", \"unix:/run/app.sock\", "
      "\"h:1\"]\n"
      "    balance: round_robin\n"
      "    keepalive: 8\n"
      "    retries: {attempts: 2}\n"
      "    tls: {ca: ca.crt, sni: search.internal, verify: false}\n"
      "  b: {servers: \"b:443\", tls: true}\n"
      "rules: [{name: r, upstream: b}]\n");
  const Upstream& a = config.upstreams[0];
  ASSERT_EQ(a.servers.size(), 4U);
  EXPECT_EQ(a.servers[0].kind, Endpoint::Kind::kName);
  EXPECT_EQ(a.servers[0].host, "search.default.svc");
  EXPECT_EQ(a.servers[1].host, "::1");
  EXPECT_EQ(a.servers[2].path, "/run/app.sock");
  EXPECT_EQ(a.servers[3].host, "h");
  EXPECT_EQ(a.balance, Balance::kRoundRobin);
  EXPECT_EQ(a.keepalive, 8U);
  EXPECT_EQ(a.retry_attempts, 2U);
  ASSERT_TRUE(a.tls.has_value());
  EXPECT_EQ(a.tls->ca, "ca.crt");
  EXPECT_EQ(a.tls->sni, "search.internal");
  EXPECT_FALSE(a.tls->verify);
  ASSERT_TRUE(config.upstreams[1].tls.has_value());
  EXPECT_TRUE(config.upstreams[1].tls->verify);
  EXPECT_EQ(config.rules[0].upstream_index, 1U);
}

TEST(UpstreamTest, AServerWithoutAPortIsRefused) {
  EXPECT_EQ(ErrorsOf("version: 1\n"
                     "listeners: [{name: web, address: \":8080\"}]\n"
                     "upstreams: {app: {servers: [app, \"a:0\", \"1.2.3:80\"]}}\n"),
            "rules.yaml:3:29: upstreams.app.servers[0]: \"app\" is not a server; write "
            "127.0.0.1:3000, [::1]:3000, name:3000, dns:name:3000 or unix:/path\n"
            "rules.yaml:3:34: upstreams.app.servers[1]: \"a:0\" is not a server; write "
            "127.0.0.1:3000, [::1]:3000, name:3000, dns:name:3000 or unix:/path\n"
            "rules.yaml:3:41: upstreams.app.servers[2]: \"1.2.3:80\" is not a server; write "
            "127.0.0.1:3000, [::1]:3000, name:3000, dns:name:3000 or unix:/path\n");
}

TEST(StoresTest, EveryKeyIsRead) {
  const Config config =
      MustParse(Framed("stores:\n"
                       "  l1: {size: 64MiB, max_object: 1MiB, preallocate: true}\n"
                       "  l2:\n"
                       "    redis: \"redis://u%40x:p%3aq@[::1]:6380/3\"\n"
                       "    prefix: shop\n"
                       "    deadline: 50ms\n"
                       "    max_object: 2MiB\n"
                       "    breaker: {failures: 7, open_for: 3s}\n"
                       "    compress: {min: 1KiB}\n"));
  EXPECT_EQ(config.l1.size, 64U << 20);
  EXPECT_EQ(config.l1.max_object, 1U << 20);
  EXPECT_TRUE(config.l1.preallocate);
  ASSERT_TRUE(config.l2.has_value());
  EXPECT_EQ(config.l2->user, "u@x");
  EXPECT_EQ(config.l2->password, "p:q");
  EXPECT_EQ(config.l2->servers.at(0).host, "::1");
  EXPECT_EQ(config.l2->servers.at(0).port, 6380);
  EXPECT_EQ(config.l2->database, 3U);
  EXPECT_EQ(config.l2->redis, "redis://[::1]:6380/3");
  EXPECT_EQ(config.l2->prefix, "shop");
  EXPECT_EQ(config.l2->deadline, milliseconds(50));
  EXPECT_EQ(config.l2->breaker.failures, 7U);
  EXPECT_EQ(config.l2->breaker.open_for, seconds(3));
  EXPECT_EQ(config.l2->compress_min, 1U << 10);
}

TEST(StoresTest, RedisMayStandOnASocketAndCompressionMayBeOff) {
  const Config config =
      MustParse(Framed("stores: {l2: {redis: \"unix:///run/redis.sock\", compress: false}}\n"));
  EXPECT_EQ(config.l2->servers.at(0).path, "/run/redis.sock");
  EXPECT_EQ(config.l2->compress_min, std::nullopt);
  EXPECT_EQ(config.l2->deadline, milliseconds(20));
}

TEST(StoresTest, SeveralHostsAreACluster) {
  for (const char* url : {"redis://a:7000,b,[::1]:7001", "redis+cluster://a:7000,b,[::1]:7001"}) {
    const auto config = MustParse(Framed("stores: {l2: {redis: \"" + std::string(url) + "\"}}\n"));
    EXPECT_EQ(config.l2->topology, RedisTopology::kCluster);
    ASSERT_EQ(config.l2->servers.size(), 3u);
    EXPECT_EQ(config.l2->servers[1].host, "b");
    EXPECT_EQ(config.l2->servers[1].port, 6379);
    EXPECT_EQ(config.l2->servers[2].host, "::1");
    EXPECT_FALSE(config.l2->tls.has_value());
  }
  const auto one = MustParse(Framed("stores: {l2: {redis: \"rediss+cluster://u:p@a/0\"}}\n"));
  EXPECT_EQ(one.l2->topology, RedisTopology::kCluster);
  EXPECT_TRUE(one.l2->tls.has_value());
  EXPECT_EQ(one.l2->redis, "rediss+cluster://a:6379");
  EXPECT_EQ(one.l2->password, "p");
}

TEST(StoresTest, SentinelsNameAMaster) {
  const auto config =
      MustParse(Framed("stores: {l2: {redis: \"sentinel://u:p@a,b:26380/main/2\", sentinel: {user: "
                       "s, password: t}}}\n"));
  EXPECT_EQ(config.l2->topology, RedisTopology::kSentinel);
  ASSERT_EQ(config.l2->servers.size(), 2u);
  EXPECT_EQ(config.l2->servers[0].port, 26379);
  EXPECT_EQ(config.l2->servers[1].port, 26380);
  EXPECT_EQ(config.l2->master, "main");
  EXPECT_EQ(config.l2->database, 2u);
  EXPECT_EQ(config.l2->user, "u");
  EXPECT_EQ(config.l2->sentinel_user, "s");
  EXPECT_EQ(config.l2->sentinel_password, "t");
  EXPECT_EQ(config.l2->redis, "sentinel://a:26379,b:26380/main/2");
  EXPECT_TRUE(MustParse(Framed("stores: {l2: {redis: \"sentinels://a/m\"}}\n")).l2->tls);
}

TEST(StoresTest, ASocketMayHaveALoginAndADatabase) {
  const auto config = MustParse(Framed("stores: {l2: {redis: \"unix://u:p@/run/r.sock?db=4\"}}\n"));
  EXPECT_EQ(config.l2->servers.at(0).path, "/run/r.sock");
  EXPECT_EQ(config.l2->database, 4u);
  EXPECT_EQ(config.l2->user, "u");
  EXPECT_EQ(config.l2->password, "p");
  EXPECT_EQ(config.l2->redis, "unix:///run/r.sock?db=4");
}

TEST(StoresTest, RedisTlsIsRead) {
  const auto config = MustParse(
      Framed("stores: {l2: {redis: \"rediss://h\", tls: {ca: ca.crt, cert: c.crt, key: c.key, sni: "
             "redis.test, verify: false}}}\n"));
  ASSERT_TRUE(config.l2->tls.has_value());
  EXPECT_EQ(config.l2->tls->ca, "ca.crt");
  EXPECT_EQ(config.l2->tls->cert, "c.crt");
  EXPECT_EQ(config.l2->tls->key, "c.key");
  EXPECT_EQ(config.l2->tls->sni, "redis.test");
  EXPECT_FALSE(config.l2->tls->verify);
  EXPECT_TRUE(MustParse(Framed("stores: {l2: {redis: \"rediss://h\"}}\n")).l2->tls->verify);
}

TEST(StoresTest, RedisSettingsThatCannotActAreRefused) {
  EXPECT_EQ(ErrorsOf(Framed("stores: {l2: {redis: \"redis://h\", tls: {cert: a.crt}}}\n")),
            "rules.yaml:4:40: stores.l2.tls: has one of cert and key; write both, or neither\n"
            "rules.yaml:4:40: stores.l2.tls: has no effect without TLS; write rediss:// (or "
            "sentinels://) in redis, or drop it\n");
  EXPECT_EQ(ErrorsOf(Framed("stores: {l2: {redis: \"redis://h\", sentinel: {user: a}}}\n")),
            "rules.yaml:4:45: stores.l2.sentinel: is for sentinels; write redis: "
            "sentinel://host:26379/master-name, or drop it\n");
}

TEST(StoresTest, RedisUrlsThatSayNothingAreRefused) {
  for (const auto& [url, wrong] : std::vector<std::pair<std::string, std::string>>{
           {"redis+sentinel://host", "has the unknown scheme \"redis+sentinel\""},
           {"host:6379", "is not a URL"},
           {"redis://a,b/1", "asks for a database other than 0, and a cluster has no other"},
           {"redis://a,/0", "has a bad host or port"},
           {"redis://a/x", "has a bad database number"},
           {"sentinel://a", "does not name the master"},
           {"sentinel://a/", "does not name the master"},
           {"unix:///s?x=1", "has something other than ?db=NUMBER behind the path"},
           {"redis://%zz@a", "has an invalid escape before the @"}}) {
    EXPECT_EQ(ErrorsOf(Framed("stores: {l2: {redis: \"" + url + "\"}}\n")),
              "rules.yaml:4:22: stores.l2.redis: " + wrong +
                  "; write redis://host:6379/0, redis://user:password@host:6379/0, rediss:// for "
                  "TLS, redis://host1,host2 for a cluster, "
                  "sentinel://host1:26379,host2:26379/master-name or unix:///path\n")
        << url;
  }
}

TEST(RuleTest, TheCacheBlockIsRead) {
  const Config config = MustParse(Framed(
      "rules:\n"
      "  - name: product\n"
      "    match: {host: Shop.example.com, path: \"/api/products/{id}\", method: [GET, HEAD]}\n"
      "    version: 4\n"
      "    timeouts: {connect: 1s, first_byte: 3s, idle: 4s, total: 5s}\n"
      "    cache:\n"
      "      ttl: 1h\n"
      "      ttl_max: 2h\n"
      "      ttl_min: 1s\n"
      "      swr: 5m\n"
      "      sie: 0\n"
      "      heuristic: {fraction: 20%, max: 2h}\n"
      "      jitter: 10%\n"
      "      negative: {404: 10s, 410: 1m}\n"
      "      statuses: [200, 404]\n"
      "      coalesce: false\n"
      "      wait: 2s\n"
      "      early_refresh: 2.5\n"
      "      cluster_lock: 20s\n"
      "      vary_limit: 4\n"
      "      key: {scheme: false, query: {allow: [q], deny: [\"utm_*\"], sort: true}, headers: "
      "[X-Tenant], cookies: [sid]}\n"
      "      normalize: {Accept-Language: [en, de]}\n"
      "      shared: per_key\n"
      "      set_cookie: refuse\n"
      "      range: pass\n"
      "      targeted_fields: [My-Cache-Control]\n"
      "      request_directives: ignore\n"
      "      client_cache_control: \"public, max-age=30\"\n"));
  const Rule& rule = config.rules[0];
  EXPECT_EQ(rule.line, 5U);
  EXPECT_EQ(rule.timeouts, (Timeouts{seconds(1), seconds(3), seconds(4), seconds(5)}));
  EXPECT_EQ(rule.cache.ttl, hours(1));
  EXPECT_EQ(rule.cache.ttl_max, hours(2));
  EXPECT_EQ(rule.cache.ttl_min, seconds(1));
  EXPECT_EQ(rule.cache.stale_while_revalidate, minutes(5));
  EXPECT_EQ(rule.cache.stale_if_error, milliseconds(0));
  EXPECT_DOUBLE_EQ(rule.cache.heuristic_fraction, 0.2);
  EXPECT_EQ(rule.cache.heuristic_max, hours(2));
  EXPECT_DOUBLE_EQ(rule.cache.jitter, 0.1);
  ASSERT_EQ(rule.cache.negative.size(), 2U);
  EXPECT_EQ(rule.cache.negative[1], (std::pair<uint16_t, Millis>(410, minutes(1))));
  EXPECT_EQ(rule.cache.statuses, (std::vector<uint16_t>{200, 404}));
  EXPECT_FALSE(rule.cache.coalesce);
  EXPECT_EQ(rule.cache.coalesce_wait, seconds(2));
  EXPECT_EQ(rule.cache.early_refresh, 2.5);
  EXPECT_EQ(rule.cache.cluster_lock, seconds(20));
  EXPECT_EQ(rule.cache.vary_limit, 4U);
  EXPECT_FALSE(rule.key.scheme);
  EXPECT_TRUE(rule.key.host);
  EXPECT_EQ(rule.key.query_allow, std::vector<std::string>{"q"});
  EXPECT_EQ(rule.key.query_deny, std::vector<std::string>{"utm_*"});
  EXPECT_TRUE(rule.key.query_sort);
  EXPECT_EQ(rule.key.headers, std::vector<std::string>{"X-Tenant"});
  EXPECT_EQ(rule.key.cookies, std::vector<std::string>{"sid"});
  EXPECT_EQ(rule.key.version, 4U);
  ASSERT_EQ(rule.cache.normalize.size(), 1U);
  EXPECT_EQ(rule.cache.normalize[0].first, "Accept-Language");
  EXPECT_TRUE(rule.cache.principal_in_key);
  EXPECT_FALSE(rule.cache.store_set_cookie);
  EXPECT_FALSE(rule.cache.keep_parts);
  EXPECT_EQ(rule.cache.targeted_fields, std::vector<std::string>{"My-Cache-Control"});
  EXPECT_FALSE(rule.cache.obey_request_directives);
  EXPECT_EQ(rule.client_cache_control, "public, max-age=30");
}

TEST(RuleTest, BodiesArePartOfTheKeyOnlyOfMethodsThatTheRuleNames) {
  const Config config = MustParse(
      Framed("rules:\n"
             "  - name: a\n"
             "    match: {method: [QUERY]}\n"
             "    cache: {key: {body: {max: 16KiB, canonical_json: true}}}\n"
             "  - {name: b, match: {method: [GET]}}\n"));
  const Rule& rule = config.rules[0];
  EXPECT_EQ(rule.key.body_max, 16U << 10);
  EXPECT_TRUE(rule.key.body_canonical_json);
  EXPECT_TRUE(rule.ReadsBody(cache::Method::kQuery));
  EXPECT_FALSE(rule.ReadsBody(cache::Method::kPost));
  EXPECT_FALSE(rule.ReadsBody(cache::Method::kGet));
  EXPECT_FALSE(config.rules[1].ReadsBody(cache::Method::kQuery));
}

TEST(RuleTest, MistakesInTheBodyOfAKeyAreNamed) {
  EXPECT_EQ(ErrorsOf(Framed("rules:\n"
                            "  - {name: a, cache: {key: {body: {max: 1KiB}}}}\n"
                            "  - name: b\n"
                            "    match: {method: POST}\n"
                            "    cache: {key: {body: {max: 2MiB, canonical: true}}}\n"
                            "  - {name: c, cache: {targeted_fields: [\"a b\"]}}\n")),
            "rules.yaml:5:22: rules[0].cache: key.body needs a match.method that names QUERY or "
            "POST, which then are reads; write match: {method: [QUERY]}\n"
            "rules.yaml:8:31: rules[1].cache.key.body.max: is larger than 1MiB; write 1MiB or "
            "less\n"
            "rules.yaml:8:37: rules[1].cache.key.body.canonical: unknown key; known here: "
            "canonical_json or max\n"
            "rules.yaml:9:40: rules[2].cache.targeted_fields: \"a b\" is not a field name; write "
            "letters, digits and hyphens only\n");
}

TEST(RuleTest, EveryRuleStartsFromTheDefaultsAndChangesOnlyWhatItNames) {
  const Config config = MustParse(
      Framed("defaults:\n"
             "  cache: {ttl: 1m, sie: 10m, negative: {404: 10s}, key: {headers: [X-Tenant]}}\n"
             "  timeouts: {first_byte: 3s}\n"
             "rules:\n"
             "  - {name: a, cache: {ttl: origin, key: {cookies: [sid]}}, timeouts: {idle: 1s}}\n"
             "  - {name: b, cache: false}\n"
             "  - {name: c}\n"));
  EXPECT_EQ(config.rules[0].cache.ttl, std::nullopt);
  EXPECT_EQ(config.rules[0].cache.stale_if_error, minutes(10));
  EXPECT_EQ(config.rules[0].key.headers.size(), 1U);
  EXPECT_EQ(config.rules[0].key.cookies.size(), 1U);
  EXPECT_EQ(config.rules[0].timeouts.first_byte, seconds(3));
  EXPECT_EQ(config.rules[0].timeouts.idle, seconds(1));
  EXPECT_FALSE(config.rules[1].cache.enabled);
  EXPECT_TRUE(config.rules[2].cache.enabled);
  EXPECT_EQ(config.rules[2].cache.ttl, minutes(1));
}

TEST(RuleTest, MatchConditionsTakeNamesListsAndMaps) {
  const Config config = MustParse(Framed(
      "rules:\n"
      "  - {name: a, match: {header: X-Debug, cookie: [sid, csrf]}}\n"
      "  - {name: b, match: {header: {Content-Type: \"application/*\"}, query: {v: [1, 2]}}}\n"));
  EXPECT_EQ(config.rules[0].match.headers, (std::vector<FieldCondition>{{"X-Debug", {}}}));
  EXPECT_EQ(config.rules[0].match.cookies,
            (std::vector<FieldCondition>{{"sid", {}}, {"csrf", {}}}));
  EXPECT_EQ(config.rules[1].match.headers,
            (std::vector<FieldCondition>{{"Content-Type", {"application/*"}}}));
  EXPECT_EQ(config.rules[1].match.queries, (std::vector<FieldCondition>{{"v", {"1", "2"}}}));
}

TEST(RuleTest, MistakesInARuleSayWhatToWrite) {
  EXPECT_EQ(
      ErrorsOf(Framed("rules:\n"
                      "  - name: a b\n"
                      "    match: {path: [api, \"regex:(\"], method: get, header: {\"X Y\": 1}}\n"
                      "    cache: {ttl_min: 2d, jitter: 20, negative: {200: 1s}, statuses: [99]}\n"
                      "    request_headers: {set: {Content-Length: 1, X-A: \"a\\nb\"}}\n"
                      "    rewrite: old\n"
                      "    upgrade: h2c\n")),
      "rules.yaml:5:11: rules[0].name: \"a b\" is not a name; write 1 to 64 of A-Z a-z 0-9 . _ -\n"
      "rules.yaml:6:19: rules[0].match.path: \"api\" does not begin with /; write /api\n"
      "rules.yaml:6:19: rules[0].match.path: \"regex:(\" is not a regular expression: missing ): "
      "(; write RE2 syntax\n"
      "rules.yaml:6:45: rules[0].match.method: \"get\" is not a method: letter case counts; write "
      "GET\n"
      "rules.yaml:6:66: rules[0].match.header.X Y: \"X Y\" is not a name; write letters, digits "
      "and "
      "hyphens only\n"
      "rules.yaml:7:12: rules[0].cache: ttl_min 2d is longer than ttl_max 1d; write a shorter "
      "ttl_min or a longer ttl_max\n"
      "rules.yaml:7:34: rules[0].cache.jitter: \"20\" is above 1; write 20% or a number from 0 to "
      "1\n"
      "rules.yaml:7:54: rules[0].cache.negative.200: \"200\" is no error status; write 400 to 599, "
      "as in 404: 10s\n"
      "rules.yaml:7:70: rules[0].cache.statuses[0]: \"99\" is out of range; write 200 to 599\n"
      "rules.yaml:8:45: rules[0].request_headers.set.Content-Length: Content-Length belongs to the "
      "connection and can't be edited; remove it\n"
      "rules.yaml:8:53: rules[0].request_headers.set.X-A: holds a control character or a line "
      "break; write one line\n"
      "rules.yaml:9:14: rules[0].rewrite: \"old\" does not begin with /; write /old\n"
      "rules.yaml:10:14: rules[0].upgrade: \"h2c\" is never forwarded; write [websocket]\n");
}

TEST(RuleTest, ARewriteUsesOnlyWhatThePathCaptures) {
  EXPECT_EQ(
      ErrorsOf(Framed("rules: [{name: a, match: {path: \"/x/{id}\"}, rewrite: \"/y/{ip}\"}]\n")),
      "rules.yaml:4:54: rules[0].rewrite: {ip} is not captured by every match.path; write "
      "{ip} there too\n");
}

TEST(RuleTest, PrivateAnswersNeedAPrincipalInTheKey) {
  EXPECT_EQ(ErrorsOf(Framed("rules: [{name: a, cache: {shared: per_key}}]\n")),
            "rules.yaml:4:26: rules[0].cache: shared: per_key without a principal in the key would "
            "hand one user's answer to another; add key.headers or key.cookies, or write shared: "
            "public_only\n");
}

TEST(RuleTest, SeveralUpstreamsNeedRulesThatNameThem) {
  EXPECT_EQ(ErrorsOf("version: 1\n"
                     "listeners: [{name: web, address: \":8080\"}]\n"
                     "upstreams: {a: {servers: \"a:80\"}, b: {servers: \"b:80\"}}\n"),
            "rules.yaml:1:1: \"rules\" is missing and there are several upstreams; write rules: "
            "[{name: all, match: {}, upstream: a}]\n");
  EXPECT_EQ(ErrorsOf("version: 1\n"
                     "listeners: [{name: web, address: \":8080\"}]\n"
                     "upstreams: {a: {servers: \"a:80\"}, b: {servers: \"b:80\"}}\n"
                     "rules: [{name: x}, {name: x, upstream: c}]\n"),
            "rules.yaml:4:9: rules[0]: \"upstream\" is missing; write upstream: a (there are "
            "several)\n"
            "rules.yaml:4:27: rules[1].name: \"x\" names the rule in line 4 already; name them "
            "apart\n"
            "rules.yaml:4:40: rules[1].upstream: \"c\" is not an upstream; write a or b\n");
}

TEST(AdminTest, AnAddressReachableFromOutsideNeedsAToken) {
  EXPECT_EQ(ErrorsOf(Framed("admin: {address: \"0.0.0.0:9901\"}\n")),
            "rules.yaml:4:18: admin.address: is reachable from outside without a token; add "
            "admin.token or write 127.0.0.1:9901\n");
  EXPECT_EQ(ErrorsOf(Framed("admin: {address: \"[::1]:9901\"}\n")), "");
  EXPECT_EQ(ErrorsOf(Framed("admin: {address: \"unix:/run/admin.sock\"}\n")), "");
  EXPECT_FALSE(MustParse(Framed("admin: {address: off}\n")).admin.address.has_value());
}

TEST(LogTest, EveryKeyIsRead) {
  const ParseResult result = ParseConfig(
      Framed("log: {access: text, level: debug, to: log/access.log, redact: [X-Secret]}\n"
             "shutdown: {not_ready_for: 0, drain: 1m}\n"),
      "/etc/s/rules.yaml", FakeLoader());
  ASSERT_TRUE(result.config.has_value());
  EXPECT_EQ(result.config->log.access, AccessLog::kText);
  EXPECT_EQ(result.config->log.level, LogLevel::kDebug);
  EXPECT_EQ(result.config->log.to, "/etc/s/log/access.log");
  EXPECT_EQ(result.config->log.redact, std::vector<std::string>{"X-Secret"});
  EXPECT_EQ(result.config->shutdown.not_ready_for, milliseconds(0));
  EXPECT_EQ(result.config->shutdown.drain, minutes(1));
  EXPECT_EQ(MustParse(Framed("log: {access: off, to: stderr}\n")).log.access, AccessLog::kOff);
}

}  // namespace
}  // namespace satchel::rules
