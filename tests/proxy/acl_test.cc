// The permissions that proxy/redis/README.md asks for, and none besides, are enough.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "proxy/net/sha256.h"
#include "proxy/rate_limiter.h"
#include "proxy/redis/client.h"
#include "proxy/redis/lua/limit_reset.lua.h"
#include "proxy/redis/lua/limit_switch.lua.h"
#include "proxy/redis/redis_store.h"
#include "tests/cache/memory_support.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

// The words of the line of the README that begins with "~satchel:*".
std::vector<std::string> DocumentedRights() {
  std::ifstream file(std::string(SATCHEL_SOURCE_DIR) + "/proxy/redis/README.md");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("~satchel:*")) continue;
    std::istringstream words(line);
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

// The rights of the second user of the file that is deployed, with every key and channel its own.
std::vector<std::string> DeployedRights() {
  std::ifstream file(std::string(SATCHEL_SOURCE_DIR) + "/deploy/redis/users.acl");
  std::vector<std::string> rights;
  for (std::string word; file >> word;) {
    if (word == "user") rights.clear();
    if (word == "resetchannels") continue;
    if (word.starts_with('~') || !rights.empty()) rights.push_back(word);
  }
  return rights;
}

TEST(RedisAclTest, TheDeployedRightsAreTheDocumentedOnes) {
  EXPECT_EQ(DeployedRights(), DocumentedRights());
}

TEST(RedisAclTest, TheDocumentedRightsSuffice) {
  std::vector<std::string> rule = {"ACL", "SETUSER", "satchel", "reset", "on", ">pw"};
  const std::vector<std::string> rights = DocumentedRights();
  ASSERT_GT(rights.size(), 10u);
  rule.insert(rule.end(), rights.begin(), rights.end());
  testing::RedisProcess server;
  ASSERT_EQ(server.Command(rule), "OK");

  net::EventLoop loop;
  net::Resolver resolver(loop);
  const net::Address address = *net::Address::Parse(server.address());
  Client::Options options;
  options.host = address.IpText();
  options.port = address.port();
  options.user = "satchel";
  options.password = "pw";
  options.database = 1;
  options.connect_timeout_ms = 10'000;
  options.limits.stall_ms = 60'000;
  options.clock_interval_ms = 20;
  Client client(loop, resolver, options);
  RedisStore store(loop, client, {.deadline_ms = 10'000});
  proxy::SharedLimits shared;
  proxy::RateLimiter limiter(loop, &client, shared, {.deadline_ms = 10'000});
  client.Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return client.ready(); }));

  // What was loaded by SCRIPT LOAD, and EVAL after a flush.
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = {{"fine", 2, std::chrono::milliseconds(20)},
                             {"coarse", 5000, std::chrono::seconds(2)}};
  policy.plans[0].concurrent = 3;  // slots are given back when the request goes
  policy.penalty = std::chrono::milliseconds(10);
  const auto ask = [&](int64_t cost) {
    proxy::LimitRequest request;
    request.checks() = {
        {.policy = &policy, .plan = &policy.plans[0], .id = net::Digest22("a"), .cost = cost}};
    bool done = false;
    if (request.Begin(limiter, [&done] { done = true; })) return;  // a remembered refusal
    ASSERT_TRUE(TurnUntil(loop, [&done] { return done; }));
    EXPECT_EQ(request.verdicts()[0].source, proxy::LimitVerdict::Source::kRedis);
  };
  for (int i = 0; i < 20; ++i) {
    if (i == 10) server.Command({"SCRIPT", "FLUSH"});
    ask(1 + i % 2);
    TurnFor(loop, 10);  // entries leave, so that pruning is tried as well
  }

  cache::StoredResponse::Parts parts = cache::testing::PartsOf({.body = "hello"});
  parts.facts.received =
      std::chrono::time_point_cast<cache::Millis>(std::chrono::system_clock::now());
  parts.vary.names = {"accept"};
  for (int i = 0; i < 70; ++i) {  // more than a list holds
    const auto request = cache::testing::GetWith("Accept", "text/" + std::to_string(i));
    parts.vary_values = cache::VaryValues(parts.vary, request, {});
    store.Put(cache::StoredResponse::Make(parts), {}, nullptr);
  }
  // What operators do about limits.
  static const Script turn(lua::kLimitSwitch);
  static const Script reset(lua::kLimitReset);
  int done = 0;
  const auto count = [&done](const cache::Result<Reply>& reply) { done += reply ? 1 : 0; };
  for (const char* change : {"-api", "+api", "+*"}) {
    ScriptArguments arguments;
    arguments.Key("satchel:rl:off").Arg("60000").Arg("satchel:rl:ctl").Arg(change);
    ASSERT_TRUE(client.SendScript(turn, std::move(arguments), 10'000, count));
  }
  ScriptArguments arguments;
  arguments.Key("satchel:rl:{a}:x").Arg("satchel:rl:ctl").Arg("reset a x");
  ASSERT_TRUE(client.SendScript(reset, std::move(arguments), 10'000, count));
  ASSERT_TRUE(TurnUntil(loop, [&] { return done == 4; }));

  std::optional<bool> confirmed;
  store.Remove(cache::testing::Key(), [&](bool ok) { confirmed = ok; });
  ASSERT_TRUE(TurnUntil(loop, [&] { return confirmed.has_value(); }));
  EXPECT_TRUE(*confirmed);
  EXPECT_EQ(client.counters().errors.Get(), 0u);
  EXPECT_EQ(server.Command({"ACL", "LOG"}), "");
  server.Command({"SELECT", "1"});
  for (const std::string& key : server.Keys()) EXPECT_TRUE(key.starts_with("satchel:rl:")) << key;
}

}  // namespace
}  // namespace satchel::redis
