// satchel doctor against real servers with planted problems: each is found, with what to do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"
#include "tests/support/redis_topology.h"

namespace satchel::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

CommandResult Doctor(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "doctor");
  return RunSatchel(arguments);
}

CommandResult DoctorAt(const RedisProcess& redis, std::vector<std::string> more = {}) {
  more.insert(more.begin(), {"--redis", redis.url()});
  return Doctor(more);
}

const std::vector<std::string> kHealthy = {"--maxmemory", "64mb", "--maxmemory-policy",
                                           "allkeys-lfu"};

TEST(DoctorTest, AHealthyServerNeedsNothingAndIsLeftAsItWas) {
  RedisProcess redis(kHealthy);
  const CommandResult result = DoctorAt(redis);
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("reach: answers in"), HasSubstr("rights: every command"),
                                HasSubstr("memory: maxmemory 64 MiB"), HasSubstr("clock:")));
  EXPECT_TRUE(redis.Keys().empty());
}

TEST(DoctorTest, NobodyThereIsAnError) {
  const PortReservation nobody;
  const CommandResult result = Doctor({"--redis", "redis://" + nobody.address()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, AllOf(HasSubstr("reach: connect: Connection refused"),
                                HasSubstr("-> start Redis, or correct host and port")));
}

TEST(DoctorTest, AMissingAndAWrongPasswordAreToldApartAndNotShown) {
  RedisProcess redis(kHealthy);
  redis.Command({"CONFIG", "SET", "requirepass", "s3cret"});
  EXPECT_THAT(DoctorAt(redis).out, HasSubstr("-> give a password"));
  const CommandResult wrong = Doctor({"--redis", "redis://:guess4711@" + redis.address()});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.out, AllOf(HasSubstr("WRONGPASS"), HasSubstr("-> correct user and password"),
                               Not(HasSubstr("guess4711"))));
  EXPECT_EQ(Doctor({"--redis", "redis://:s3cret@" + redis.address()}).status, 0);
}

TEST(DoctorTest, RightsThatAreMissingAreNamed) {
  RedisProcess redis(kHealthy);
  EXPECT_EQ(
      redis.Command({"ACL", "SETUSER", "sam", "on", ">pw", "~satchel:*", "&satchel:*", "-@all",
                     "+ping", "+select", "+time", "+get", "+set", "+eval", "+evalsha"}),
      "OK");
  const CommandResult result = Doctor({"--redis", "redis://sam:pw@" + redis.address()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, AllOf(HasSubstr("the user may not: "), HasSubstr("getrange"),
                                HasSubstr("zadd"), HasSubstr("script|load"), HasSubstr("subscribe"),
                                HasSubstr("-> give it the rights of deploy/redis/users.acl"),
                                HasSubstr("note    "), HasSubstr("INFO is not allowed")));
  EXPECT_EQ(redis.Command({"ACL", "SETUSER", "sam", "resetkeys", "~other:*", "+@all"}), "OK");
  EXPECT_THAT(Doctor({"--redis", "redis://sam:pw@" + redis.address()}).out,
              HasSubstr("get (on the key satchel:doctor:{...})"));
  EXPECT_THAT(Doctor({"--redis", "redis://sam:pw@" + redis.address(), "--prefix", "other"}).out,
              Not(HasSubstr("on the key")));
}

TEST(DoctorTest, TheDeployedRightsSufficeForWhatSatchelNeeds) {
  RedisProcess redis(kHealthy);
  std::ifstream file(std::string(SATCHEL_SOURCE_DIR) + "/deploy/redis/users.acl");
  std::vector<std::string> rule = {"ACL", "SETUSER"};
  for (std::string word; file >> word;) {
    if (word == "user")
      rule.resize(2);
    else
      rule.push_back(word);
  }
  ASSERT_GT(rule.size(), 20u);
  ASSERT_EQ(redis.Command(rule), "OK");
  const CommandResult result = Doctor({"--redis", "redis://satchel:change-me@" + redis.address()});
  EXPECT_EQ(result.status, 0) << result.out;
  EXPECT_THAT(result.out, AllOf(HasSubstr("rights: every command"), HasSubstr("note    "),
                                HasSubstr("SCAN is not allowed")));
}

TEST(DoctorTest, MemoryWithoutABoundAndWithoutEvictionAreWarnings) {
  RedisProcess redis;
  CommandResult result = DoctorAt(redis);
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.out, AllOf(HasSubstr("maxmemory is not set"), HasSubstr("-> set maxmemory")));
  redis.Command({"CONFIG", "SET", "maxmemory", "64mb"});
  redis.Command({"CONFIG", "SET", "maxmemory-policy", "noeviction"});
  result = DoctorAt(redis);
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.out, HasSubstr("noeviction: when it is full nothing is stored"));
  redis.Command({"CONFIG", "SET", "maxmemory", "1mb"});
  result = DoctorAt(redis);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, AllOf(HasSubstr("OOM"), HasSubstr("-> raise maxmemory")));
}

TEST(DoctorTest, LimitsBesideEvictionAreAWarning) {
  RedisProcess redis(kHealthy);
  TempDir dir;
  const std::string file = dir.Write(
      "satchel.yaml",
      "version: 1\nlisteners: [{name: web, address: \"127.0.0.1:0\"}]\n"
      "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n"
      "stores: {l2: {redis: \"" +
          redis.url() +
          "\"}}\n"
          "plans: {free: {limits: [{name: hour, rate: 1000/1h}]}}\n"
          "rate_limits: [{name: api, match: {}, identify: {header: X-Key, missing: skip}, "
          "default_plan: free}]\n");
  const CommandResult result = Doctor({file});
  EXPECT_EQ(result.status, 1) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("an evicted key is a fresh quota"),
                                HasSubstr("-> give it so much memory")));
}

TEST(DoctorTest, KeysWithoutATimeToLiveLargeOnesAndSeveralFormatsAreFound) {
  RedisProcess redis(kHealthy);
  for (int i = 0; i < 1200; ++i) {
    redis.Command({"SET", "satchel:7:{" + std::to_string(i) + "}", "x", "PX", "600000"});
  }
  EXPECT_THAT(DoctorAt(redis).out, HasSubstr("all 1200 keys: each has a time to live"));
  redis.Command({"SET", "satchel:8:{a}", "x", "PX", "600000"});
  redis.Command({"SET", "satchel:forgotten", "x"});
  redis.Command({"SET", "satchel:7:{big}", std::string(2 << 20, 'x'), "PX", "600000"});
  redis.Command({"SET", "elsewhere", "x"});  // not ours
  const CommandResult result = DoctorAt(redis);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("1 keys of all 1203 keys have no time to live: satchel:forgotten"),
                    HasSubstr("large values: satchel:7:{big} (2097152)"),
                    HasSubstr("records of several formats: version 7: 1201, version 8: 1")));
}

TEST(DoctorTest, AReplicaIsNoPlaceToWrite) {
  RedisProcess master(kHealthy);
  const std::string port = master.address().substr(master.address().rfind(':') + 1);
  RedisProcess replica({"--replicaof", "127.0.0.1 " + port, "--maxmemory", "64mb"});
  const CommandResult result = DoctorAt(replica);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, AllOf(HasSubstr("role: this is a replica"),
                                HasSubstr("-> point stores.l2.redis to the master")));
}

TEST(DoctorTest, AClusterIsExaminedNodeByNode) {
  RedisCluster cluster(3, kHealthy);
  CommandResult result = Doctor({"--redis", cluster.url()});
  EXPECT_EQ(result.status, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("cluster: all slots are served, by 3 masters"));
  for (size_t i = 0; i < cluster.size(); ++i) {
    EXPECT_THAT(result.out, HasSubstr(cluster.node(i).address() + " rights: every command"));
  }
  // One of its nodes taken for a single server.
  result = DoctorAt(cluster.node(0));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, AllOf(HasSubstr("this is a node of a cluster"),
                                HasSubstr("-> write redis+cluster://host")));
  EXPECT_EQ(cluster.node(2).Command({"CLUSTER", "DELSLOTS", "16383"}), "OK");
  result = Doctor({"--redis", "redis+cluster://" + cluster.node(2).address()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, HasSubstr("1 of 16384 slots are unserved"));
}

TEST(DoctorTest, AServerThatIsNoClusterIsTold) {
  RedisProcess redis(kHealthy);
  const CommandResult result = Doctor({"--redis", "redis+cluster://" + redis.address()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, HasSubstr("cluster support disabled"));
}

TEST(DoctorTest, JsonSaysTheSame) {
  RedisProcess redis;
  const CommandResult result = DoctorAt(redis, {"--json"});
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["exit_code"], 1);
  EXPECT_EQ(result.status, 1);
  bool found = false;
  for (const auto& finding : json["findings"]) {
    if (finding["check"] != "memory") continue;
    found = true;
    EXPECT_EQ(finding["level"], "warning");
    EXPECT_EQ(finding["server"], redis.address());
    EXPECT_TRUE(finding.contains("advice"));
  }
  EXPECT_TRUE(found);
}

TEST(DoctorTest, BadArgumentsAreToldBeforeAnythingIsAsked) {
  EXPECT_THAT(Doctor({}).err, HasSubstr("needs a rule file, or --redis URL"));
  EXPECT_THAT(Doctor({"--redis", "http://x"}).err, HasSubstr("has the unknown scheme"));
  EXPECT_EQ(Doctor({"/nowhere.yaml"}).status, 2);
}

using DoctorInstanceTest = ProxyTest;

TEST_F(DoctorInstanceTest, ARunningInstanceIsAskedAsWell) {
  RedisProcess redis(kHealthy);
  SatchelConfig config = Config();
  config.l2 = "redis: \"" + redis.url() + "\"";
  Start(config);
  ASSERT_TRUE(satchel->WaitForRedis());
  CommandResult result = DoctorAt(redis, {"--admin", satchel->admin()});
  EXPECT_EQ(result.status, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("instance: is connected to"));
  satchel.reset();
  Start();
  result = DoctorAt(redis, {"--admin", satchel->admin()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.out, HasSubstr("runs without a Redis"));
}

}  // namespace
}  // namespace satchel::testing
