// The permissions that proxy/redis/README.md asks for, and none besides, are enough.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "proxy/local_limiter.h"
#include "proxy/net/sha256.h"
#include "proxy/rate_limiter.h"
#include "proxy/redis/client.h"
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
  proxy::LocalLimiter local;
  proxy::RateLimiter limiter(loop, &client, local, {.deadline_ms = 10'000});
  client.Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return client.ready(); }));

  // What was loaded by SCRIPT LOAD, and EVAL after a flush.
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = {{"fine", 2, std::chrono::milliseconds(20)},
                             {"coarse", 5000, std::chrono::seconds(2)}};
  const auto ask = [&](int64_t cost) {
    std::optional<proxy::LimitVerdict> verdict;
    const auto pending = limiter.Check(
        {.policy = &policy, .plan = &policy.plans[0], .id = net::Digest22("a"), .cost = cost},
        [&](const proxy::LimitVerdict& v) { verdict = v; });
    TurnUntil(loop, [&] { return verdict.has_value(); });
    EXPECT_EQ(verdict->source, proxy::LimitVerdict::Source::kRedis);
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
    store.Put(cache::StoredResponse::Make(parts), {});
  }
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
