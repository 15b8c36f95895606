#include "rules/check.h"

#include <gtest/gtest.h>

#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

std::string WarningsOf(std::string_view text) {
  const ParseResult result = ParseConfig(text, "rules.yaml", FakeLoader());
  EXPECT_TRUE(result.config.has_value())
      << (result.errors.empty() ? "" : result.errors[0].ToString());
  std::string lines;
  for (const Diagnostic& warning : result.warnings) lines += warning.ToString() + "\n";
  return lines;
}

TEST(CheckTest, AGoodFileHasNoWarnings) {
  EXPECT_EQ(WarningsOf(kFrame), "");
  EXPECT_EQ(WarningsOf(Framed("rules:\n"
                              "  - {name: a, match: {path: /a/*}}\n"
                              "  - {name: b, match: {path: \"/a/**\"}}\n"
                              "  - {name: c}\n")),
            "");
}

TEST(CheckTest, RulesThatCanNeverMatchAreNamedWithTheRuleThatShadowsThem) {
  EXPECT_EQ(
      WarningsOf(Framed("rules:\n"
                        "  - {name: a, match: {path: \"/api/**\", method: [GET, HEAD]}}\n"
                        "  - {name: b, match: {path: \"/api/x\", method: GET, header: X-A}}\n"
                        "  - {name: c, match: {path: \"/api/x\"}}\n"
                        "  - {name: d, match: {host: \"*.test\"}}\n"
                        "  - {name: e, match: {host: a.test, path: /y}}\n"
                        "  - {name: f, match: {host: \"a.test:80\"}}\n"
                        "  - {name: g, match: {}}\n"
                        "  - {name: h, match: {cookie: sid}}\n")),
      "rules.yaml:6: rules[1].match: rule b: can never match, because rule a in line 5 takes every "
      "such request first; move it up or remove it\n"
      "rules.yaml:9: rules[4].match: rule e: can never match, because rule d in line 8 takes every "
      "such request first; move it up or remove it\n"
      "rules.yaml:12: rules[7].match: rule h: can never match, because rule g in line 11 takes "
      "every "
      "such request first; move it up or remove it\n");
}

TEST(CheckTest, ConditionsShadowOnlyWhatTheyCover) {
  EXPECT_EQ(WarningsOf(Framed("rules:\n"
                              "  - {name: a, match: {header: {X-A: \"v*\"}}}\n"
                              "  - {name: b, match: {header: {X-A: w}}}\n"
                              "  - {name: c, match: {query: q}}\n"
                              "  - {name: d, match: {path: /x}}\n"
                              "  - {name: e, match: {header: {x-a: [v1, v2]}, path: /y}}\n")),
            "rules.yaml:9: rules[4].match: rule e: can never match, because rule a in line 5 takes "
            "every such request first; move it up or remove it\n");
}

TEST(CheckTest, UnusedUpstreamsAndPlansAreNamed) {
  EXPECT_EQ(WarningsOf("version: 1\n"
                       "listeners: [{name: web, address: \":8080\"}]\n"
                       "upstreams:\n"
                       "  a: {servers: \"a:80\"}\n"
                       "  b: {servers: \"b:80\"}\n"
                       "rules: [{name: r, upstream: a}]\n"
                       "plans: {free: {limits: [{rate: 1/1s}]}, pro: {limits: [{rate: 2/1s}]}}\n"
                       "rate_limits: [{name: l, identify: client_ip, default_plan: free}]\n"),
            "rules.yaml:5: upstreams.b: no rule uses it; name it in a rule or remove it\n"
            "rules.yaml:7: plans.pro: no rate limit and no key uses it; name it in one or remove "
            "it\n");
}

TEST(CheckTest, SettingsThatCanNeverActAreNamed) {
  EXPECT_EQ(
      WarningsOf(
          Framed("stores: {l1: {size: 1MiB, max_object: 2MiB}}\n"
                 "rules:\n"
                 "  - {name: a, match: {path: /a}, cache: {swr: 5m, sie: 1m, ttl: 2d}}\n"
                 "  - {name: b, match: {path: /b}, cache: {statuses: [200], negative: {404: 1s}}}\n"
                 "  - {name: c, match: {path: /c, method: POST}, cache: {ttl: 1m}}\n"
                 "  - {name: d, match: {path: /d, method: POST}, cache: false}\n"
                 "  - {name: e, match: {path: /e, method: PUT}, cache: {ttl: 1m}}\n"
                 "  - {name: f, match: {path: /f, method: POST}, cache: {key: {body: {max: 1KiB}}}}\n")),
      "rules.yaml:8:55: rules[2].cache: has no effect: a POST or QUERY is cached with its body "
      "only; write cache: {key: {body: {max: 16KiB}}}, or cache: false\n"
      "rules.yaml:10:54: rules[4].cache: has no effect: match.method names neither GET nor HEAD; "
      "write cache: false\n"
      "rules.yaml:6: rules[0].cache.sie: rule a: sie 1m can never act, because swr 5m serves stale "
      "answers that long anyway; write a longer sie\n"
      "rules.yaml:6: rules[0].cache.ttl: rule a: ttl 2d is cut to ttl_max 1d; write a longer "
      "ttl_max\n"
      "rules.yaml:7: rules[1].cache.negative: rule b: 404 can never act, because statuses leaves "
      "it "
      "out; add it there\n"
      "rules.yaml: stores.l1.max_object: 2MiB is more than the store's size of 1MiB; write a "
      "larger "
      "size\n");
}

TEST(CheckTest, DoorsLeftOpenAreNamed) {
  EXPECT_EQ(
      WarningsOf("version: 1\n"
                 "listeners: [{name: web, address: \":80\", trusted_proxies: 0.0.0.0/0}]\n"
                 "upstreams:\n"
                 "  a: {servers: \"a:443\", tls: {verify: false}}\n"
                 "rate_limits: [{name: l, identify: {header: X-Key}, limits: [{rate: 1/1s}]}]\n"),
      "rules.yaml: listeners[0].trusted_proxies: 0.0.0.0/0 lets anyone claim any client address; "
      "name the networks of your own proxies\n"
      "rules.yaml:4: upstreams.a.tls.verify: anyone on the way may answer in the upstream's place; "
      "write ca: FILE instead\n"
      "rules.yaml:5: rate_limits[0].identify: log.redact does not name X-Key, whose values "
      "identify "
      "clients; add it there\n");
}

TEST(CheckTest, MistakesCanBeReadByPrograms) {
  const std::vector<Diagnostic> errors = {{"a.yaml", 3, 5, "rules[0].name", "is \"odd\"\xff"}};
  EXPECT_EQ(DiagnosticsJson(errors, {}),
            "{\n"
            "  \"errors\": [\n"
            "    {\n"
            "      \"column\": 5,\n"
            "      \"file\": \"a.yaml\",\n"
            "      \"line\": 3,\n"
            "      \"message\": \"is \\\"odd\\\"\xEF\xBF\xBD\",\n"
            "      \"path\": \"rules[0].name\"\n"
            "    }\n"
            "  ],\n"
            "  \"warnings\": []\n"
            "}");
}

TEST(EffectiveYamlTest, PrintsEveryDefault) {
  EXPECT_EQ(EffectiveYaml(MustParse(kFrame)),
            "version: 1\n"
            "workers: auto\n"
            "listeners:\n"
            "  - name: \"web\"\n"
            "    address: \":8080\"\n"
            "    trusted_proxies: []\n"
            "    max_header: 32KiB\n"
            "    max_headers: 128\n"
            "    max_body: 0B\n"
            "    max_connections: 10000\n"
            "    header_timeout: 10s\n"
            "    keepalive: 75s\n"
            "    write_timeout: 30s\n"
            "upstreams:\n"
            "  \"app\":\n"
            "    servers: [\"127.0.0.1:3000\"]\n"
            "    balance: least_requests\n"
            "    keepalive: 64\n"
            "    retries: {attempts: 1}\n"
            "stores:\n"
            "  l1: {size: auto, max_object: 4MiB, preallocate: false, incoherent_ttl: 1s}\n"
            "rules:\n"
            "  - name: \"default\"\n"
            "    match: {}\n"
            "    upstream: \"app\"\n"
            "    version: 1\n"
            "    timeouts: {connect: 2s, first_byte: 15s, idle: 1m, total: 0s}\n"
            "    cache:\n"
            "      ttl: origin\n"
            "      ttl_max: 1d\n"
            "      ttl_min: 0s\n"
            "      swr: origin\n"
            "      sie: origin\n"
            "      heuristic: {fraction: 10%, max: 1h}\n"
            "      jitter: 0%\n"
            "      negative: {}\n"
            "      coalesce: true\n"
            "      wait: 5s\n"
            "      early_refresh: auto\n"
            "      cluster_lock: 10s\n"
            "      vary_limit: 16\n"
            "      key: {scheme: true, host: true, query: {allow: [], deny: [], sort: false}, "
            "headers: [], cookies: [], body: {max: 0B, canonical_json: false}}\n"
            "      normalize: {}\n"
            "      tags: []\n"
            "      tags_from_json: []\n"
            "      shared: public_only\n"
            "      encrypt: false\n"
            "      set_cookie: store\n"
            "      range: complete\n"
            "      targeted_fields: [\"Satchel-Cache-Control\", \"CDN-Cache-Control\"]\n"
            "      request_directives: obey\n"
            "    request_headers: {set: {}, remove: []}\n"
            "    response_headers: {set: {}, remove: []}\n"
            "    upgrade: []\n"
            "admin:\n"
            "  address: \"127.0.0.1:9901\"\n"
            "purge:\n"
            "  allow:\n"
            "    - {from: [\"127.0.0.0/8\", \"::1/128\"], may: [\"url\", \"tag\", \"prefix\", "
            "\"rule\", \"host\", \"all\"]}\n"
            "  ack: 500ms\n"
            "  refresh_rate: 20\n"
            "log:\n"
            "  access: json\n"
            "  to: \"stdout\"\n"
            "  level: info\n"
            "  redact: [\"Authorization\", \"Cookie\", \"X-API-Key\"]\n"
            "shutdown:\n"
            "  not_ready_for: 5s\n"
            "  drain: 25s\n");
}

TEST(EffectiveYamlTest, ParsesToTheSameConfigurationAndHidesSecrets) {
  const std::string digest(64, 'a');
  const Config config = MustParse(
      "version: 1\n"
      "workers: 2\n"
      "listeners:\n"
      "  - {name: a, address: \"unix:/s\", trusted_proxies: [10.0.0.0/8], max_body: 5MiB,\n"
      "     tls: {certificates: [{cert: c, key: k}], min_version: 1.3}}\n"
      "upstreams:\n"
      "  x: {servers: [\"dns:h:1\"], balance: round_robin, tls: {ca: ca.crt, sni: s}}\n"
      "  y: {servers: \"y:1\", retries: {attempts: 0}}\n"
      "stores: {l1: {size: 2GiB}, l2: {redis: \"redis://me:hunter2@h\", password: hunter2, "
      "compress: false}}\n"
      "rules:\n"
      "  - name: r\n"
      "    upstream: y\n"
      "    match: {host: [a, \"*.b\"], path: [\"/p/{id}\", \"/q\\\\*/{id}\"], method: [GET, POST], "
      "header: "
      "X-A, query: {q: [\"1*\", \"$${x}\"]}, cookie: {c: \"regex:a\\\\.b\"}}\n"
      "    cache: {ttl: 90s, sie: 2h, negative: {404: 1s}, statuses: [200, 404], normalize: "
      "{Accept: [a, \"b\\\"c\"]}, client_cache_control: \"a, b\", key: {query: {deny: [\"u*\"]}, body: {max: 2KiB, "
      "canonical_json: true}}, targeted_fields: [X-Cc]}\n"
      "    request_headers: {set: {X-B: \"tab\\there\"}, remove: [X-C]}\n"
      "    rewrite: \"/z/{id}\"\n"
      "    upgrade: [websocket]\n"
      "  - {name: s, upstream: x, cache: false}\n"
      "plans: {free: {limits: [{rate: 1/1s}]}}\n"
      "rate_limits:\n"
      "  - {name: l, identify: {header: K, missing: skip}, keys: {" +
      digest +
      ": free}, "
      "cost: [{match: {path: /e}, units: 3}], headers: [legacy], mode: shadow, count: origin}\n"
      "  - {name: m, identify: client_ip, limits: [{name: w, rate: 5/90s}], store_down: open}\n"
      "admin: {address: \":1\", token: hunter2}\n"
      "log: {access: off, level: error, to: stderr, redact: []}\n"
      "shutdown: {drain: 90s}\n");
  const std::string once = EffectiveYaml(config);
  EXPECT_EQ(once.find("hunter2"), std::string::npos);
  const std::string twice = EffectiveYaml(MustParse(once));
  EXPECT_EQ(once, twice);
  for (const char* line :
       {"    min_version: \"1.3\"\n", "    servers: [\"dns:h:1\"]\n",
        "    redis: \"redis://***@h:6379/0\"\n", "    compress: false\n",
        "    match: {host: [\"a\", \"*.b\"], path: [\"/p/{id}\", \"/q\\\\*/{id}\"], method: "
        "[\"GET\", \"POST\"], header: {\"X-A\": \"*\"}, query: {\"q\": [\"1*\", \"$${x}\"]}, cookie: {\"c\": "
        "[\"regex:a\\\\.b\"]}}\n",
        "    request_headers: {set: {\"X-B\": \"tab\\x09here\"}, remove: [\"X-C\"]}\n",
        "    limits: [{name: \"w\", rate: 5/90s}]\n", "  access: \"off\"\n"}) {
    EXPECT_NE(once.find(line), std::string::npos) << line << "\n" << once;
  }
}

}  // namespace
}  // namespace satchel::rules
