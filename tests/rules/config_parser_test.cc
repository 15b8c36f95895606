#include "rules/config_parser.h"

#include <gtest/gtest.h>

#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(ConfigParserTest, ThreeLinesAreEnough) {
  const Config config = MustParse(
      "version: 1\n"
      "listeners: [{name: web, address: \"0.0.0.0:8080\"}]\n"
      "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n");
  ASSERT_EQ(config.listeners.size(), 1U);
  EXPECT_EQ(config.listeners[0].address.host, "0.0.0.0");
  EXPECT_EQ(config.listeners[0].address.port, 8080);
  EXPECT_EQ(config.listeners[0].max_header, 32U << 10);
  EXPECT_EQ(config.listeners[0].header_timeout, seconds(10));
  ASSERT_EQ(config.upstreams.size(), 1U);
  EXPECT_EQ(config.upstreams[0].servers[0].port, 3000);
  EXPECT_EQ(config.upstreams[0].balance, Balance::kLeastRequests);
  ASSERT_EQ(config.rules.size(), 1U);
  EXPECT_EQ(config.rules[0].name, "default");
  EXPECT_EQ(config.rules[0].upstream, "app");
  EXPECT_TRUE(config.rules[0].match.empty());
  EXPECT_FALSE(config.l2.has_value());
  ASSERT_TRUE(config.admin.address.has_value());
  EXPECT_EQ(config.admin.address->text, "127.0.0.1:9901");
  EXPECT_EQ(config.shutdown.drain, seconds(25));
  EXPECT_EQ(config.workers, 0U);
}

TEST(ConfigParserTest, TheFilelessFormIsTheSameConfiguration) {
  const ParseResult result = MakeSimpleConfig(":8080", "127.0.0.1:3000", "redis://r:7000/2");
  ASSERT_TRUE(result.config.has_value());
  EXPECT_EQ(result.config->listeners[0].address.host, "0.0.0.0");
  EXPECT_EQ(result.config->upstreams[0].servers[0].host, "127.0.0.1");
  EXPECT_EQ(result.config->rules[0].name, "default");
  ASSERT_TRUE(result.config->l2.has_value());
  EXPECT_EQ(result.config->l2->servers.at(0).host, "r");
  EXPECT_EQ(result.config->l2->servers.at(0).port, 7000);
  EXPECT_EQ(result.config->l2->database, 2U);
}

TEST(ConfigParserTest, TheFilelessFormNamesTheOption) {
  const ParseResult result = MakeSimpleConfig("8080", "app", "http://r");
  ASSERT_EQ(result.errors.size(), 3U);
  EXPECT_FALSE(result.config.has_value());
  EXPECT_EQ(result.errors[0].ToString(),
            "--listen: \"8080\" is not an address to listen on; write 0.0.0.0:8080, [::]:8080, "
            ":8080 or unix:/path");
  EXPECT_EQ(result.errors[1].ToString(),
            "--upstream: \"app\" is not a server; write 127.0.0.1:3000, [::1]:3000, name:3000, "
            "dns:name:3000 or unix:/path");
  EXPECT_EQ(result.errors[2].ToString(),
            "--redis: has the unknown scheme \"http\"; write redis://host:6379/0, "
            "redis://user:password@host:6379/0, rediss:// for TLS, redis://host1,host2 for a "
            "cluster, sentinel://host1:26379,host2:26379/master-name or unix:///path");
}

TEST(ConfigParserTest, AllMistakesComeAtOnceInTheOrderOfTheFile) {
  EXPECT_EQ(
      ErrorsOf("version: 1\n"
               "wokers: 3\n"
               "listeners:\n"
               "  - name: web\n"
               "    address: 8080\n"
               "    keepalive: 75\n"
               "    keepalive: 75s\n"
               "upstreams:\n"
               "  app: {servers: [\"127.0.0.1:3000\"], balance: round-robin}\n"
               "rules:\n"
               "  - name: all\n"
               "    match: {}\n"
               "    upstream: ap\n"
               "    cache: {ttl: 5, swr: on, coalesce: yes}\n"),
      "rules.yaml:2:1: wokers: unknown key; did you mean \"workers\"?\n"
      "rules.yaml:5:14: listeners[0].address: \"8080\" is not an address to listen on; "
      "write 0.0.0.0:8080, [::]:8080, :8080 or unix:/path\n"
      "rules.yaml:6:16: listeners[0].keepalive: \"75\" has no unit; write ms, s, m, h or d "
      "behind it, as in 75s\n"
      "rules.yaml:7:5: listeners[0].keepalive: stands twice, first in line 6; keep one of "
      "them\n"
      "rules.yaml:9:47: upstreams.app.balance: \"round-robin\" is unknown; did you mean "
      "round_robin? (least_requests or round_robin)\n"
      "rules.yaml:13:15: rules[0].upstream: \"ap\" is not an upstream; did you mean app?\n"
      "rules.yaml:14:18: rules[0].cache.ttl: \"5\" has no unit; write ms, s, m, h or d behind "
      "it, as in 5s\n"
      "rules.yaml:14:26: rules[0].cache.swr: \"on\" is neither origin nor a duration; write "
      "origin or 30s\n"
      "rules.yaml:14:40: rules[0].cache.coalesce: \"yes\" is not a boolean; write true\n");
}

TEST(ConfigParserTest, WhatIsMissingIsNamedWithAnExample) {
  EXPECT_EQ(ErrorsOf("version: 1\n"),
            "rules.yaml:1:1: \"listeners\" is missing; write listeners: [{name: web, address: "
            "\"0.0.0.0:8080\"}]\n"
            "rules.yaml:1:1: \"upstreams\" is missing; write upstreams: {app: {servers: "
            "[\"127.0.0.1:3000\"]}}\n");
  EXPECT_EQ(ErrorsOf("listeners: [{address: \":80\"}]\nupstreams: {a: {}}\n"),
            "rules.yaml:1:1: \"version\" is missing; write version: 1\n"
            "rules.yaml:1:13: listeners[0]: \"name\" is missing; write name: web\n"
            "rules.yaml:2:16: upstreams.a: \"servers\" is missing; write servers: "
            "[\"127.0.0.1:3000\"]\n");
  EXPECT_EQ(ErrorsOf(""),
            "rules.yaml:1:1: is empty; write at least version, listeners and upstreams\n");
  EXPECT_EQ(ErrorsOf("- a\n"), "rules.yaml:1:1: is a list, not a configuration; write a map\n");
}

TEST(ConfigParserTest, ABlockThatIsEmptyAndOneOfTheWrongKindAreOneMistakeEach) {
  EXPECT_EQ(ErrorsOf("version: 1\nlisteners: []\nupstreams: {}\nrules: []\n"),
            "rules.yaml:2:12: listeners: is empty; write [{name: web, address: "
            "\"0.0.0.0:8080\"}]\n"
            "rules.yaml:3:12: upstreams: is empty; write {app: {servers: [\"127.0.0.1:3000\"]}}\n"
            "rules.yaml:4:8: rules: is empty; write at least one, or remove the key\n");
  EXPECT_EQ(ErrorsOf("version: 1\nlisteners: {web: {}}\nupstreams: [{name: a}]\nrules: {a: {}}\n"),
            "rules.yaml:2:12: listeners: is no list; write entries that begin with \"- \"\n"
            "rules.yaml:3:12: upstreams: is a list, not a map of upstreams; write a map\n"
            "rules.yaml:4:8: rules: is no list; write entries that begin with \"- \"\n");
  EXPECT_EQ(ErrorsOf("version: 1\nlisteners:\nupstreams:\nrules:\n"),
            "rules.yaml:2:1: listeners: has no value; write one or remove the key\n"
            "rules.yaml:3:1: upstreams: has no value; write one or remove the key\n"
            "rules.yaml:4:1: rules: has no value; write one or remove the key\n");
}

TEST(ConfigParserTest, AnotherVersionIsRefused) {
  EXPECT_EQ(ErrorsOf("version: 2\n" + std::string(kFrame.substr(11))),
            "rules.yaml:1:10: version: \"2\" is an unknown version; write version: 1\n");
}

TEST(ConfigParserTest, AKeyWithoutAValueIsAMistake) {
  EXPECT_EQ(ErrorsOf(Framed("workers:\nlog: ~\n")),
            "rules.yaml:4:1: workers: has no value; write one or remove the key\n"
            "rules.yaml:5:1: log: has no value; write one or remove the key\n");
}

TEST(ConfigParserTest, KeysOfFeaturesThatAreNotThereAreUnknown) {
  for (const char* text :
       {"alerts: {hit_rate_below: 70%}\n", "tests: []\n",
        "rules: [{name: a, on_success: {store_for_get: true}}]\n",
        "rules: [{name: a, write_behind: {merge: sum}}]\n",
        "rules: [{name: a, cache: {refresh: {every: 5m}}}]\n",
        "rules: [{name: a, cache: {sliding: {absolute: 5m}}}]\n"}) {
    EXPECT_NE(ErrorsOf(Framed(text)).find(": unknown key; "), std::string::npos) << text;
  }
}

TEST(ConfigParserTest, EarlyRefreshIsAWordOrAWeightAndTheLockADurationOrOff) {
  EXPECT_EQ(ErrorsOf(Framed("rules: [{name: a, cache: {early_refresh: 11, cluster_lock: on}}]\n")),
            "rules.yaml:4:42: rules[0].cache.early_refresh: \"11\" is no weight from 0 to 10; write "
            "auto, off or 1.0\n"
            "rules.yaml:4:60: rules[0].cache.cluster_lock: \"on\" is neither off nor a duration; "
            "write off or 10s\n");
  for (const char* good : {"auto", "off", "0", "0.5", "10"}) {
    EXPECT_EQ(ErrorsOf(Framed("rules: [{name: a, cache: {early_refresh: " + std::string(good) +
                              ", cluster_lock: off}}]\n")),
              "")
        << good;
  }
}

TEST(ConfigParserTest, UnknownKeysListWhatIsKnown) {
  EXPECT_EQ(ErrorsOf(Framed("shutdown: {grace: 5s}\n")),
            "rules.yaml:4:12: shutdown.grace: unknown key; known here: drain or not_ready_for\n");
}

TEST(ConfigParserTest, TextThatIsNotYamlIsPlaced) {
  const std::string errors = ErrorsOf("version: 1\nlisteners: [{name: web\nupstreams: }\n");
  EXPECT_TRUE(errors.starts_with("rules.yaml:3:")) << errors;
  EXPECT_NE(errors.find("not YAML: "), std::string::npos) << errors;
  EXPECT_EQ(ErrorsOf(std::string("a\0b", 3)),
            "rules.yaml: holds a NUL byte; write plain UTF-8 text\n");
  EXPECT_EQ(ErrorsOf(Framed("---\nversion: 1\n")),
            "rules.yaml:5:1: a second document begins; write one document per file\n");
}

TEST(ConfigParserTest, SizesDepthAndAliasesAreCapped) {
  EXPECT_EQ(ErrorsOf(std::string(kMaxConfigBytes + 1, ' ')),
            "rules.yaml: is larger than 1MiB; split it with include\n");
  EXPECT_EQ(ErrorsOf("a: " + std::string(40, '[') + std::string(40, ']')),
            "rules.yaml:1:35: nested deeper than 32 levels; flatten it\n");
  EXPECT_EQ(ErrorsOf(std::string(100'000, '[')),
            "rules.yaml:1:1: nested deeper than 32 levels; flatten it\n");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int j = 0; j < 9; ++j) bomb += ", " + last;
    bomb += "]\n";
  }
  EXPECT_NE(ErrorsOf(bomb).find("aliases expand to more than 100000 values; write fewer of them"),
            std::string::npos);
  EXPECT_EQ(ErrorsOf("a: &x [*x]\n"),
            "rules.yaml:1:8: an alias stands inside its own anchor; write the value out\n");
}

TEST(ConfigParserTest, AliasesAreFineWithinTheirCaps) {
  const Config config =
      MustParse(Framed("rules:\n"
                       "  - {name: a, match: {path: /a}, cache: &c {ttl: 5m}}\n"
                       "  - {name: b, match: {path: /b}, cache: *c}\n"));
  EXPECT_EQ(config.rules[1].cache.ttl, minutes(5));
}

TEST(ConfigParserTest, MergeKeysAreRefused) {
  EXPECT_EQ(ErrorsOf(Framed("log: {<<: {level: info}}\n")),
            "rules.yaml:4:7: log.<<: merge keys are not supported; write the keys out\n");
}

TEST(SubstitutionTest, VariablesDefaultsAndFilesAreFilledIn) {
  FakeLoader loader;
  loader.environment["PORT"] = "8081";
  loader.environment["EMPTY"] = "";
  loader.files["secrets/token"] = "s3cret\n";
  const Config config = MustParse(
      "version: 1\n"
      "listeners: [{name: web, address: \"${HOST:-127.0.0.1}:${PORT}\"}]\n"
      "upstreams: {app: {servers: \"${EMPTY:-app:80}\"}}\n"
      "admin: {address: \":9901\", token: \"${file:secrets/token}\"}\n"
      "rules: [{name: a, request_headers: {set: {X-A: \"$${PORT} $$ ${PORT}\"}}}]\n",
      loader);
  EXPECT_EQ(config.listeners[0].address.text, "127.0.0.1:8081");
  EXPECT_EQ(config.upstreams[0].servers[0].host, "app");
  EXPECT_EQ(config.admin.token, "s3cret");
  EXPECT_EQ(config.rules[0].request_headers.set[0].second, "${PORT} $$ 8081");
}

TEST(SubstitutionTest, AValueCannotInjectStructure) {
  FakeLoader loader;
  loader.environment["NAME"] = "web, address: \":1\"}, {name: evil";
  EXPECT_EQ(ErrorsOf("version: 1\n"
                     "listeners: [{name: \"${NAME}\", address: \":2\"}]\n"
                     "upstreams: {app: {servers: \"app:80\"}}\n",
                     loader),
            "rules.yaml:2:20: listeners[0].name: \"web, address: \":1\"}, {name: evil\" is not a "
            "name; write 1 to 64 of A-Z a-z 0-9 . _ -\n");
}

TEST(SubstitutionTest, WhatCannotBeFilledInIsAMistake) {
  EXPECT_EQ(ErrorsOf(Framed("workers: \"${CPUS}\"\n")),
            "rules.yaml:4:10: workers: the variable CPUS is not set; set it or write "
            "${CPUS:-default}\n");
  EXPECT_EQ(ErrorsOf(Framed("workers: \"${file:no}\"\n")),
            "rules.yaml:4:10: workers: cannot read \"no\": no such file; name a file that the "
            "process may read\n");
  EXPECT_EQ(ErrorsOf(Framed("workers: \"${CPUS\"\n")),
            "rules.yaml:4:10: workers: ${ without }; write ${NAME}, ${NAME:-default} or "
            "${file:path}, or $${ for the text\n");
  EXPECT_EQ(ErrorsOf(Framed("workers: \"${a b}\"\n")),
            "rules.yaml:4:10: workers: \"a b\" is not the name of a variable; write ${NAME}, "
            "${NAME:-default} or ${file:path}\n");
}

TEST(SubstitutionTest, SecretsAreNeverQuoted) {
  FakeLoader loader;
  loader.files["s"] = "hunter2";
  loader.environment["S"] = "hunter2";
  const std::string errors =
      ErrorsOf(Framed("workers: \"${file:s}\"\n"
                      "stores: {l2: {redis: \"redis://u:hunter2@host:bad\", deadline: \"${S}\"}}\n"
                      "rules: [{name: a, cache: {coalesce: \"${S}\", shared: \"${file:s}\"}}]\n"),
               loader);
  EXPECT_EQ(errors.find("hunter2"), std::string::npos) << errors;
  EXPECT_EQ(errors,
            "rules.yaml:4:10: workers: the value of \"${file:s}\" is not a number of threads; "
            "write auto or 1 to 256\n"
            "rules.yaml:5:22: stores.l2.redis: has a bad host or port; write redis://host:6379/0, "
            "redis://user:password@host:6379/0, rediss:// for TLS, redis://host1,host2 for a "
            "cluster, sentinel://host1:26379,host2:26379/master-name or unix:///path\n"
            "rules.yaml:5:62: stores.l2.deadline: the value of \"${S}\" is not a duration; write a "
            "number with ms, s, m, h or d, as in 30s\n"
            "rules.yaml:6:37: rules[0].cache.coalesce: the value of \"${S}\" is not a boolean; "
            "write true or false\n"
            "rules.yaml:6:53: rules[0].cache.shared: the value of \"${file:s}\" is none of the "
            "choices; write public_only or per_key\n");
}

TEST(IncludeTest, ListsAppendInNameOrderAndMapsJoin) {
  FakeLoader loader;
  loader.files["conf/rules.d/20.yaml"] = "rules: [{name: late, upstream: b}]\n";
  loader.files["conf/rules.d/10.yaml"] =
      "upstreams: {b: {servers: \"b:80\"}}\nrules: [{name: early, upstream: b, match: {path: "
      "/e}}]\n";
  const ParseResult result = ParseConfig(Framed("include: \"rules.d/*.yaml\"\nrules: [{name: "
                                                "first, upstream: app, match: {path: /f}}]\n"),
                                         "conf/main.yaml", loader);
  ASSERT_TRUE(result.config.has_value()) << result.errors[0].ToString();
  ASSERT_EQ(result.config->rules.size(), 3U);
  EXPECT_EQ(result.config->rules[0].name, "first");
  EXPECT_EQ(result.config->rules[1].name, "early");
  EXPECT_EQ(result.config->rules[2].name, "late");
  EXPECT_EQ(result.config->rules[1].file, "conf/rules.d/10.yaml");
  EXPECT_EQ(result.config->rules[1].upstream_index, 1U);
}

TEST(IncludeTest, ClashesNameTheFile) {
  FakeLoader loader;
  loader.files["more.yaml"] =
      "upstreams: {app: {servers: \"b:80\"}}\nlog: {level: info}\ninclude: x.yaml\nfoo: 1\n";
  EXPECT_EQ(ErrorsOf(Framed("include: [more.yaml, gone.yaml]\nlog: {level: warn}\n"), loader),
            "rules.yaml:4:10: include: \"gone.yaml\" does not exist; name a file that is there\n"
            "more.yaml:1:18: upstreams.app: stands in another file already; keep one of them\n"
            "more.yaml:2:6: log: stands in rules.yaml already; keep one of them\n"
            "more.yaml:3:10: include: stands in an included file; name all files in the main one\n"
            "more.yaml:4:1: foo: unknown key; known here: admin, defaults, include, listeners, "
            "log, plans, purge, rate_limits, rules, shutdown, stores, upstreams, version, warmup or workers\n");
}

}  // namespace
}  // namespace satchel::rules
