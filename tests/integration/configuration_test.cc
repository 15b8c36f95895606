// Checking and reloading a configuration.

#include <thread>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;

class CheckTest : public ::testing::Test {
 protected:
  CommandResult Check(const std::string& yaml, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"check", dir_.Write("c.yaml", yaml)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunSatchel(arguments);
  }
  static std::string Valid(const std::string& more = "") {
    return "version: 1\n"
           "listeners: [{name: web, address: \"127.0.0.1:8080\"}]\n"
           "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n" +
           more;
  }
  TempDir dir_;
};

TEST_F(CheckTest, AGoodFileIsFine) {
  CommandResult result = Check(Valid());
  EXPECT_EQ(result.status, 0) << result.err << result.out;
  EXPECT_EQ(result.err.find("error"), std::string::npos);
}

TEST_F(CheckTest, EveryMistakeIsReportedAtOnceWithItsPlace) {
  CommandResult result = Check(
      "version: 1\n"
      "listeners: [{name: web, address: \"127.0.0.1:8080\", max_heder: 1KiB}]\n"
      "upstreams: {app: {servers: [\"127.0.0.1:3000\"], keepalive: many}}\n"
      "stores:\n"
      "  l1: {size: 100}\n"
      "rules:\n"
      "  - name: a\n"
      "    match: {}\n"
      "    upstream: ap\n"
      "    cache: {ttl: 10}\n");
  EXPECT_EQ(result.status, 1);
  std::string text = result.err + result.out;
  EXPECT_THAT(text, HasSubstr("c.yaml:2:"));
  EXPECT_THAT(text, HasSubstr("max_heder"));
  EXPECT_THAT(text, HasSubstr("max_header"));  // did you mean
  EXPECT_THAT(text, HasSubstr("c.yaml:3:"));
  EXPECT_THAT(text, HasSubstr("c.yaml:5:"));
  EXPECT_THAT(text, HasSubstr("c.yaml:9:"));
  EXPECT_THAT(text, HasSubstr("app"));
  EXPECT_THAT(text, HasSubstr("c.yaml:10:"));
  EXPECT_THAT(text, HasSubstr("stores.l1.size"));
}

TEST_F(CheckTest, DuplicateKeysAndNamesAreErrors) {
  CommandResult keys = Check(Valid("admin: {address: \"127.0.0.1:9901\"}\nadmin: {}\n"));
  EXPECT_EQ(keys.status, 1);
  EXPECT_THAT(keys.err + keys.out, HasSubstr("c.yaml:5:1"));
  CommandResult names =
      Check(Valid("rules:\n  - {name: a, match: {path: /a}, upstream: app}\n"
                  "  - {name: a, match: {path: /b}, upstream: app}\n"));
  EXPECT_EQ(names.status, 1);
  EXPECT_THAT(names.err + names.out, HasSubstr("c.yaml:6:"));
}

TEST_F(CheckTest, KeysOfFeaturesThatDoNotExistAreUnknown) {
  EXPECT_EQ(Check(Valid("frobnicate: {}\n")).status, 1);
  EXPECT_EQ(Check(Valid("defaults: {cache: {frobnicate: 1s}}\n")).status, 1);
}

TEST_F(CheckTest, WordsThatLookLikeBooleansAreNotBooleans) {
  CommandResult result = Check(Valid("defaults: {cache: {coalesce: yes}}\n"));
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.err + result.out, HasSubstr("c.yaml:4:"));
}

TEST_F(CheckTest, VariablesAreSubstitutedInScalarsAndMissingOnesAreErrors) {
  std::string yaml =
      "version: 1\nlisteners: [{name: web, address: \"${ADDRESS:-127.0.0.1:8080}\"}]\n"
      "upstreams: {app: {servers: [\"${SERVER}\"]}}\n";
  std::string path = dir_.Write("c.yaml", yaml);
  CommandResult missing = RunSatchel({"check", path});
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.err + missing.out, HasSubstr("SERVER"));
  EXPECT_EQ(RunSatchel({"check", path}, {"SERVER=127.0.0.1:1"}).status, 0);
  EXPECT_EQ(RunSatchel({"check", "-c", path}, {"SERVER=127.0.0.1:1"}).status, 0);
  // A value never becomes structure.
  EXPECT_EQ(RunSatchel({"check", path}, {"SERVER=127.0.0.1:1\", \"127.0.0.1:2"}).status, 1);
}

TEST_F(CheckTest, AFileThatCannotBeReadIsAnotherKindOfFailure) {
  EXPECT_EQ(RunSatchel({"check", dir_.path("none.yaml")}).status, 2);
}

TEST_F(CheckTest, WhatIsNoYamlIsReportedWithItsPlace) {
  CommandResult result = Check("version: 1\nlisteners: [\n");
  EXPECT_GT(result.status, 0);
  EXPECT_LT(result.status, 3);
  EXPECT_THAT(result.err + result.out, HasSubstr("c.yaml:"));
}

TEST_F(CheckTest, HostileFilesAreRefusedQuickly) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) bomb += ", " + before;
    bomb += "]\n";
  }
  auto began = std::chrono::steady_clock::now();
  EXPECT_GT(Check(bomb).status, 0);
  EXPECT_GT(Check(std::string(100'000, '[')).status, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
}

TEST_F(CheckTest, TheEffectiveConfigurationIsPrinted) {
  CommandResult result = Check(Valid(), {"--effective"});
  EXPECT_EQ(result.status, 0);
  for (const char* text : {"max_header", "first_byte", "keepalive", "127.0.0.1:3000"}) {
    EXPECT_THAT(result.out, HasSubstr(text));
  }
}

TEST_F(CheckTest, ARunWithABadFileFailsWithTheSameWords) {
  std::string path = dir_.Write("c.yaml", Valid("frobnicate: 1\n"));
  CommandResult result = RunSatchel({"run", "-c", path});
  EXPECT_GT(result.status, 0);
  EXPECT_THAT(result.err + result.out, HasSubstr("c.yaml:4:1"));
}

class ReloadTest : public ProxyTest {
 protected:
  double Reloads(const std::string& result) {
    return satchel->ReadMetrics().Sum("satchel_config_reloads_total",
                                      {"result=\"" + result + "\""});
  }
  bool ReloadAndWait(const SatchelConfig& config) {
    double before = Reloads("ok");
    satchel->Reload(config);
    return Eventually([&] { return Reloads("ok") > before; });
  }
};

TEST_F(ReloadTest, ANewFileTakesEffectAndTheCacheSurvives) {
  origin.On("/kept", Fresh("kept"));
  origin.On("/", {.body = "first"});
  Origin second;
  second.Otherwise([](OriginExchange& exchange) { exchange.Respond({.body = "second"}); });
  Start();
  Get("/kept");
  EXPECT_EQ(Get("/").body, "first");
  SatchelConfig config = Config();
  config.upstream = second.address();
  ASSERT_TRUE(ReloadAndWait(config));
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "second"; }));
  EXPECT_TRUE(CacheStatus(Get("/kept")).hit());
  EXPECT_EQ(Get("/kept").body, "kept");
}

TEST_F(ReloadTest, ABadFileKeepsTheLastGoodOne) {
  origin.On("/", {.body = "x"});
  Start();
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_config_last_reload_successful"), 1);
  satchel->Reload(Config().Yaml("{listen}", "{admin}") + "frobnicate: 1\n");
  ASSERT_TRUE(Eventually(
      [&] { return satchel->ReadMetrics().Sum("satchel_config_last_reload_successful") == 0; }));
  EXPECT_EQ(Get("/").body, "x");
  EXPECT_THAT(satchel->Status().dump(), HasSubstr("frobnicate"));
  EXPECT_THAT(satchel->process().err() + satchel->process().out(), HasSubstr("frobnicate"));
  ASSERT_TRUE(ReloadAndWait(Config()));
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_config_last_reload_successful"), 1);
  EXPECT_EQ(satchel->Status().dump().find("frobnicate"), std::string::npos);
}

TEST_F(ReloadTest, ARequestInFlightFinishesOnTheConfigurationItBeganWith) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("01234");
    exchange.Hold("rest");
    exchange.Send("56789");
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  Response response = client.ReadHead();
  ASSERT_TRUE(client.ReadBodyUntil(&response, 5));
  Origin second;
  SatchelConfig config = Config();
  config.upstream = second.address();
  ASSERT_TRUE(ReloadAndWait(config));
  origin.Release("rest");
  ASSERT_TRUE(client.ReadBody(&response));
  EXPECT_EQ(response.body, "0123456789");
  // The same connection serves the next request, by the new one.
  EXPECT_EQ(client.Get("/new").status, 404);
  EXPECT_EQ(second.RequestCount("/new"), 1u);
}

TEST_F(ReloadTest, ListenersComeAndGo) {
  origin.On("/", {.body = "x"});
  Start();
  PortReservation extra;
  SatchelConfig with = Config();
  with.more_listeners = ", {name: extra, address: \"" + extra.address() + "\"}";
  EXPECT_FALSE(RawClient(extra.address()).connected());
  ASSERT_TRUE(ReloadAndWait(with));
  EXPECT_TRUE(Eventually([&] { return Fetch(extra.address(), "/").body == "x"; }));
  EXPECT_EQ(Get("/").body, "x");
  ASSERT_TRUE(ReloadAndWait(Config()));
  EXPECT_TRUE(Eventually([&] { return !RawClient(extra.address()).connected(); }));
  EXPECT_EQ(Get("/").body, "x");
}

TEST_F(ReloadTest, AChangedFileIsNoticedWithoutASignal) {
  Start();
  SatchelConfig config = Config();
  config.rules = "  - {name: only, match: {path: /only}, upstream: app}\n";
  std::string yaml = config.Yaml(satchel->address(), satchel->admin());
  EXPECT_EQ(Get("/other").status, 404);
  EXPECT_EQ(origin.RequestCount(), 1u);
  ReplaceFile(satchel->config_path(), yaml);
  EXPECT_TRUE(Eventually([&] { return Reloads("ok") >= 1; }));
}

TEST_F(ReloadTest, FiftyReloadsUnderLoadFailNoRequest) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh("body of " + exchange.request().target, 1));
  });
  Start();
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      RawClient client = satchel->Connect();
      for (int i = 0; !stop; ++i) {
        std::string target = "/" + std::to_string((i + t) % 50);
        if (client.Get(target).body != "body of " + target) ++wrong;
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    SatchelConfig config = Config();
    config.cache = i % 2 == 0 ? "swr: 5s" : "swr: 6s";
    if (!ReloadAndWait(config)) {
      ADD_FAILURE() << "reload " << i;
      break;
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace satchel::testing
