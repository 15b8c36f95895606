// satchel warm, and POST /warm of the admin listener.

#include "tests/support/fleet_fixture.h"

namespace satchel::testing {
namespace {

class WarmCommandTest : public FleetTest {
 protected:
  void SetUp() override {
    origin.Otherwise([](OriginExchange& exchange) {
      Fields fields;
      fields.Add("Vary", "Accept-Language");
      exchange.Respond(Fresh("page", 600, fields));
    });
  }
  CommandResult Warm(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"warm", "--admin", satchel->admin()});
    return RunSatchel(arguments);
  }
  Response Post(const nlohmann::json& body, Fields fields = {{"Host", "localhost"}}) const {
    return Fetch(satchel->admin(), "POST", "/warm", fields, body.dump());
  }
  bool Hits(const std::string& target, Fields fields = {}) const {
    fields.Add("Host", "shop.test");
    return CacheStatus(satchel->Get(target, fields)).hit();
  }
};

TEST_F(WarmCommandTest, UrlsAreWarmedAndSummedUp) {
  Start();
  const CommandResult first =
      Warm({"http://shop.test/a", "http://shop.test/b", "-H", "Accept-Language: en", "-H",
            "Accept-Language: de", "--rate", "1000"});
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_NE(first.out.find("4 request(s), 16 bytes, 4 fetched"), std::string::npos) << first.out;
  EXPECT_NE(first.err.find("4 of 4 done"), std::string::npos) << first.err;
  EXPECT_TRUE(Hits("/a", {{"Accept-Language", "en"}}));
  EXPECT_TRUE(Hits("/b", {{"Accept-Language", "de"}}));
  EXPECT_EQ(origin.RequestCount(), 4u);
  const CommandResult again = Warm({"http://shop.test/a", "-H", "Accept-Language: en", "--quiet"});
  EXPECT_NE(again.out.find("1 fresh"), std::string::npos) << again.out;
  EXPECT_EQ(again.err, "");
  EXPECT_NE(satchel->process().err().find("by admin request from 127.0.0.1: 2 URL(s)"), std::string::npos);
}

TEST_F(WarmCommandTest, FilesAreReadAndALargeOneIsSentInParts) {
  Start();
  std::string list = "# the shop\n\n";
  for (int i = 0; i < 1200; ++i) {
    list += "  http://shop.test/" + std::string(50, 'a') + "/" + std::to_string(i) + "\r\n";
  }
  satchel->dir().Write("urls.txt", list);
  const CommandResult result =
      Warm({"--file", satchel->dir().path("urls.txt"), "--rate", "10000", "--concurrency", "32"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("1200 request(s), 4800 bytes, 1200 fetched"), std::string::npos)
      << result.out;
  EXPECT_NE(result.err.find("part 2 of"), std::string::npos) << result.err;
  EXPECT_EQ(origin.RequestCount(), 1200u);
}

TEST_F(WarmCommandTest, WhatFailsIsToldAndTheExitCodeSaysSo) {
  origin.On("/broken", [](OriginExchange& exchange) { exchange.Respond({.status = 500}); });
  Start();
  const CommandResult failed = Warm({"http://shop.test/broken", "http://shop.test/a"});
  EXPECT_EQ(failed.status, 1);
  EXPECT_NE(failed.out.find("1 fetched, 1 failed"), std::string::npos) << failed.out;
  EXPECT_NE(failed.err.find("first failure: http://shop.test/broken: status 500"), std::string::npos)
      << failed.err;
  EXPECT_EQ(Warm({"nonsense"}).status, 1);
  EXPECT_NE(Warm({"nonsense"}).err.find("\"nonsense\" is no URL; write https://host/path"),
            std::string::npos);
  EXPECT_EQ(Warm({"--entry", "none"}).status, 1);
  EXPECT_EQ(Warm({}).status, 2);
  EXPECT_EQ(Warm({"--file", "/nowhere/urls"}).status, 2);
  EXPECT_EQ(RunSatchel({"warm", "--admin", "127.0.0.1:1", "http://shop.test/"}).status, 1);
}

TEST_F(WarmCommandTest, AnEntryOfTheRulesAndWhatARuleIsAskedForAreWarmed) {
  SatchelConfig config = FleetConfig();
  config.rules =
      "  - {name: books, match: {path: \"/books/**\"}}\n"
      "  - {name: rest, match: {}}\n";
  config.rest =
      "warmup:\n"
      "  - {name: list, urls: [\"http://shop.test/list\"], at: \"0 0 1 1 *\"}\n"
      "  - {name: hot, from: history, at: \"0 0 1 1 *\"}\n";
  Start(config);
  ASSERT_TRUE(satchel->WaitForRedis());
  const auto hour = std::chrono::duration_cast<std::chrono::hours>(
                        std::chrono::system_clock::now().time_since_epoch())
                        .count();
  redis.Command({"ZADD", "satchel:pop:" + std::to_string(hour), "5", "1 GET http://shop.test/books/1",
                 "4", "1 GET http://shop.test/other"});
  EXPECT_NE(Warm({"--entry", "list"}).out.find("1 request(s)"), std::string::npos);
  EXPECT_TRUE(Hits("/list"));
  const CommandResult rule = Warm({"--rule", "books"});
  EXPECT_NE(rule.out.find("1 request(s), 4 bytes, 1 fetched"), std::string::npos) << rule.out << rule.err;
  EXPECT_TRUE(Hits("/books/1"));
  EXPECT_EQ(origin.RequestCount("/other"), 0u);
}

TEST_F(WarmCommandTest, OnlyWhoMayIsHeard) {
  SatchelConfig config = Config();
  const std::string yaml = config.Yaml("{listen}", "{admin}");
  SatchelProcess closed(
      yaml.substr(0, yaml.find("admin: {address: \"{admin}\"")) +
          "admin: {address: \"{admin}\", token: s3cret}\n" +
          yaml.substr(yaml.find("shutdown:")),
      {});
  EXPECT_EQ(Fetch(closed.admin(), "POST", "/warm", {{"Host", "localhost"}},
                  R"({"urls": "http://shop.test/a"})")
                .status,
            401);
  EXPECT_EQ(Fetch(closed.admin(), "POST", "/warm",
                  {{"Host", "localhost"}, {"Authorization", "Bearer s3cret"}},
                  R"({"urls": "http://shop.test/a"})")
                .status,
            202);
  EXPECT_EQ(RunSatchel({"warm", "--admin", closed.admin(), "--token", "s3cret", "http://shop.test/b"})
                .status,
            0);
  Start();
  EXPECT_EQ(Post({{"urls", "http://shop.test/c"}},
                 {{"Host", "localhost"}, {"Origin", "http://evil.test"}})
                .status,
            403);
  EXPECT_EQ(Post({{"urls", "http://shop.test/c"}}, {{"Host", "evil.test"}}).status, 403);
  EXPECT_EQ(Post({{"url", "http://shop.test/c"}}).status, 400);
  EXPECT_EQ(Fetch(satchel->admin(), "PUT", "/warm", {{"Host", "localhost"}}).status, 405);
  EXPECT_EQ(Fetch(satchel->admin(), "/warm?id=99", {{"Host", "localhost"}}).status, 404);
}

TEST_F(WarmCommandTest, ThereIsAnEndToHowMuchIsWarmedAtOnce) {
  origin.Otherwise([](OriginExchange& exchange) {
    if (exchange.Hold("origin")) exchange.Respond(Fresh("page", 600));
  });
  Start();
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(Post({{"urls", "http://shop.test/" + std::to_string(i)}}).status, 202) << i;
  }
  const Response full = Post({{"urls", "http://shop.test/more"}});
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.fields.Get("Retry-After"), "10");
  EXPECT_EQ(satchel->Status()["warm"]["runs"].size(), 16u);
  origin.Release("origin");
  EXPECT_TRUE(Eventually([&] { return Post({{"urls", "http://shop.test/more"}}).status == 202; }));
}

}  // namespace
}  // namespace satchel::testing
