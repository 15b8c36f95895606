// The shared tier in Redis: read by others, with the true age, and never in anybody's way.

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;

class RedisTierTest : public ProxyTest {
 protected:
  SatchelConfig WithRedis(const std::string& more = "") const {
    SatchelConfig config = Config();
    // Patient unless a test is about the deadline: a busy machine is no outage.
    const bool timed = more.find("deadline") != std::string::npos;
    config.l2 = "redis: \"" + redis.url() + "\"" + (timed ? "" : ", deadline: 2s") +
                (more.empty() ? "" : ", " + more);
    return config;
  }
  static void WaitForConnections(const SatchelProcess& process) {
    EXPECT_TRUE(process.WaitForRedis());
  }
  void StartConnected(const SatchelConfig& config) {
    Start(config);
    WaitForConnections(*satchel);
  }
  void StartConnected() { StartConnected(WithRedis()); }
  // Another instance with the same Redis.
  struct Another : SatchelProcess {
    explicit Another(const SatchelConfig& config) : SatchelProcess(config) {
      WaitForConnections(*this);
    }
  };
  // Until Redis holds a record: writing it is not part of the answer.
  bool WaitForRecords(size_t count = 1) {
    return Eventually([&] { return redis.Records().size() >= count; });
  }
  double L2(const SatchelProcess& process, const std::string& result) {
    return process.ReadMetrics().Sum("satchel_tier_lookups_total",
                                     {"tier=\"l2\"", "result=\"" + result + "\""});
  }

  RedisProcess redis;
};

TEST_F(RedisTierTest, AnotherInstanceReadsWhatTheFirstStoredWithItsTrueAge) {
  std::string body = Pattern(0, 100'000);
  origin.On(
      "/",
      Fresh(body, 100,
            {{"Age", "30"}, {"ETag", "\"1\""}, {"X-A", "1"}, {"X-A", "2"}, {"Set-Cookie", "a=b"}}));
  StartConnected();
  Another other(WithRedis());
  Response first = Get("/");
  ASSERT_TRUE(WaitForRecords());
  Response second = other.Get("/");
  EXPECT_TRUE(CacheStatus(second).hit()) << Describe(second);
  EXPECT_THAT(Age(second), AllOf(Ge(30), Le(40)));
  EXPECT_THAT(CacheStatus(second).ttl(), AllOf(Ge(60), Le(70)));
  EXPECT_TRUE(second.body == body);
  for (const char* name : {"ETag", "Date", "Cache-Control", "X-A", "Set-Cookie"}) {
    EXPECT_EQ(second.fields.All(name), first.fields.All(name)) << name;
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_GE(L2(other, "hit"), 1);
  // Promoted: the next one needs no Redis.
  redis.Kill();
  EXPECT_TRUE(CacheStatus(other.Get("/")).hit());
  EXPECT_THAT(Age(other.Get("/")), AllOf(Ge(30), Le(40)));
}

TEST_F(RedisTierTest, WhatIsTooLargeForThisMemoryComesFromRedisEachTime) {
  origin.On("/", Fresh("twelve bytes"));
  StartConnected();
  Get("/");
  ASSERT_TRUE(WaitForRecords());
  SatchelConfig config = WithRedis();
  config.l1 = "size: 1MiB, max_object: 11B";
  Another other(config);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(other.Get("/").body, "twelve bytes");
    EXPECT_EQ(L2(other, "hit"), i);
  }
  EXPECT_EQ(other.ReadMetrics().Sum("satchel_l1_objects"), 0);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(RedisTierTest, EveryRecordHasATtlAndNoKeyIsForeign) {
  origin.On("/", Fresh("x", 100));
  StartConnected(WithRedis("prefix: mine"));
  Get("/");
  ASSERT_TRUE(Eventually([&] { return !redis.Keys("mine:?:{*").empty(); }));
  for (const std::string& key : redis.Keys()) {
    EXPECT_EQ(key.rfind("mine:", 0), 0u) << key;
    // -1 is a key that stays for good; -2 one whose time ran out since KEYS, such as a lock.
    long ttl = std::strtol(redis.Command({"PTTL", key}).c_str(), nullptr, 10);
    EXPECT_NE(ttl, -1) << key;
    if (key.ends_with(":lock")) continue;
    EXPECT_GT(ttl, 0) << key;
  }
}

TEST_F(RedisTierTest, VariantsAreKeptApartInRedisToo) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(
        Fresh("in " + exchange.request().fields.Get("X-Lang"), 60, {{"Vary", "X-Lang"}}));
  });
  StartConnected();
  Another other(WithRedis());
  Get("/", {{"X-Lang", "de"}});
  Get("/", {{"X-Lang", "en"}});
  ASSERT_TRUE(WaitForRecords(2));
  EXPECT_TRUE(Eventually([&] {
    return satchel->ReadMetrics().Sum("satchel_l2_writes_total", {"result=\"hit\""}) >= 2;
  }));
  EXPECT_EQ(other.Get("/", {{"X-Lang", "de"}}).body, "in de");
  EXPECT_EQ(other.Get("/", {{"X-Lang", "en"}}).body, "in en");
  EXPECT_EQ(origin.RequestCount(), 2u);
  EXPECT_EQ(other.Get("/", {{"X-Lang", "fr"}}).body, "in fr");
}

TEST_F(RedisTierTest, PrivateAnswersNeverReachRedis) {
  origin.On("/private", {.fields = {{"Cache-Control", "private, max-age=60"}}, .body = "secret-1"});
  origin.On("/nostore", {.fields = {{"Cache-Control", "no-store"}}, .body = "secret-2"});
  origin.On("/auth", Fresh("secret-3"));
  origin.On("/cut", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "100"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("secret-4");
    exchange.Close();
  });
  origin.On("/last", Fresh("open"));
  StartConnected(WithRedis("compress: {min: 1MiB}"));
  Get("/private");
  Get("/nostore");
  Get("/auth", {{"Authorization", "Basic eA=="}});
  Get("/cut");
  Get("/last");
  ASSERT_TRUE(WaitForRecords());
  std::string dump = redis.Dump();
  EXPECT_NE(dump.find("open"), std::string::npos);
  EXPECT_EQ(dump.find("secret"), std::string::npos);
}

TEST_F(RedisTierTest, AThousandMissesOfOneKeyAreOneLookup) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.Respond(Fresh("x"));
  });
  StartConnected();
  std::vector<RawClient> clients;
  long before = redis.Calls("get") + redis.Calls("mget");
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(satchel->address());
    clients.back().Send(Request("GET", "/"));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  origin.Release("head");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_LE(redis.Calls("get") + redis.Calls("mget") - before, 4);
}

TEST_F(RedisTierTest, AForeignOrBrokenRecordIsAMiss) {
  origin.On("/", Fresh("right"));
  StartConnected();
  Get("/");
  ASSERT_TRUE(WaitForRecords());
  std::vector<std::string> keys = redis.Records();
  std::vector<std::string> wrong = {"", "garbage", std::string(64, '\0'), std::string(5000, 'x')};
  std::string good = redis.Command({"GET", keys[0]});
  wrong.push_back(good.substr(0, good.size() / 2));  // cut
  std::string flipped = good;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
  wrong.push_back(flipped);
  wrong.push_back(good + "tail");
  for (size_t i = 0; i < wrong.size(); ++i) {
    for (const std::string& key : keys) redis.Command({"SET", key, wrong[i]});
    Another other(WithRedis());
    Response response = other.Get("/");
    EXPECT_EQ(response.body, "right") << i << Describe(response);
    EXPECT_FALSE(CacheStatus(response).hit()) << i;
  }
  // A value of another type is no value either.
  for (const std::string& key : keys) {
    redis.Command({"DEL", key});
    redis.Command({"LPUSH", key, "x"});
  }
  Another other(WithRedis());
  EXPECT_EQ(other.Get("/").body, "right");
}

TEST_F(RedisTierTest, ARecordMovedToAnotherKeyIsNotBelieved) {
  origin.On("/a", Fresh("for a"));
  origin.On("/b", Fresh("for b"));
  StartConnected();
  Get("/a");
  ASSERT_TRUE(WaitForRecords(1));
  std::string key_a = redis.Records()[0];
  Get("/b");
  ASSERT_TRUE(WaitForRecords(2));
  for (const std::string& key : redis.Records()) {
    if (key != key_a) redis.Command({"SET", key, redis.Command({"GET", key_a})});
  }
  Another other(WithRedis());
  EXPECT_EQ(other.Get("/b").body, "for b");
}

TEST_F(RedisTierTest, InvalidationReachesRedis) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(exchange.request().method == "GET" ? Fresh("x") : Reply{.body = "done"});
  });
  StartConnected();
  Get("/");
  ASSERT_TRUE(WaitForRecords());
  EXPECT_EQ(Send("POST", "/").body, "done");
  // Before the client saw the answer, so at once (HTTP.md I1).
  Another other(WithRedis());
  EXPECT_FALSE(CacheStatus(other.Get("/")).hit());
}

TEST_F(RedisTierTest, AStaleRecordIsServedWithinItsWindowAndValidatedWithItsTag) {
  origin.Next("/", StaleSince(5, "old", "stale-while-revalidate=60", {{"ETag", "\"1\""}}));
  origin.On("/", {.status = 304, .fields = {{"ETag", "\"1\""}, {"Cache-Control", "max-age=60"}}});
  StartConnected();
  Get("/");
  ASSERT_TRUE(WaitForRecords());
  Another other(WithRedis());
  Response response = other.Get("/");
  EXPECT_EQ(response.body, "old") << Describe(response);
  EXPECT_GE(Age(response), 15);
  ASSERT_TRUE(origin.WaitForRequests(2));
  EXPECT_EQ(origin.Last("/").fields.Get("If-None-Match"), "\"1\"");
  EXPECT_TRUE(Eventually([&] { return Age(other.Get("/")) < 10; }));
}

TEST_F(RedisTierTest, WithoutRedisFromTheStartRequestsGoOn) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = WithRedis();
  redis.Kill();
  Start(config);
  EXPECT_EQ(Get("/").body, "x");
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_redis_connections_up"), 0);
}

TEST_F(RedisTierTest, AHungRedisCostsNoMoreThanItsDeadlineAndRecovers) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond(Fresh("x")); });
  StartConnected(WithRedis("deadline: 50ms"));
  ASSERT_EQ(Get("/warm").status, 200);
  redis.Pause();
  int number = 0;
  std::vector<std::chrono::steady_clock::duration> times;
  for (int i = 0; i < 40; ++i) {
    auto began = std::chrono::steady_clock::now();
    Response response = Get("/cold/" + std::to_string(number++));
    times.push_back(std::chrono::steady_clock::now() - began);
    ASSERT_EQ(response.status, 200) << i << Describe(response);
  }
  // Any one of them may meet a busy machine, not most.
  std::ranges::sort(times);
  EXPECT_LT(times[times.size() / 2], milliseconds(600));
  redis.Continue();
  // By itself, within the breaker's pause: what is stored now can be read by another.
  EXPECT_TRUE(Eventually([&] {
    Get("/again/" + std::to_string(number++));
    return satchel->ReadMetrics().Sum("satchel_redis_connections_up") >= 1 &&
           redis.Records().size() > 1;
  }));
}

TEST_F(RedisTierTest, AStoppedRedisUnderLoadFailsNoRequest) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh("body of " + exchange.request().target, 60));
  });
  StartConnected(WithRedis("deadline: 20ms"));
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      RawClient client = satchel->Connect();
      for (int i = 0; !stop; ++i) {
        std::string target = "/" + std::to_string((i * 7 + t * 13) % 5000);
        Response response = client.Get(target);
        if (response.body != "body of " + target) ++wrong;
        ++done;
      }
    });
  }
  auto after = [&](int more) {
    int goal = done + more;
    return Eventually([&] { return done >= goal; });
  };
  EXPECT_TRUE(after(300));
  redis.Pause();
  EXPECT_TRUE(after(300));
  redis.Continue();
  EXPECT_TRUE(after(300));
  redis.Kill();
  EXPECT_TRUE(after(300));
  redis.Restart();
  EXPECT_TRUE(after(300));
  EXPECT_TRUE(satchel->WaitForRedis(1));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(RedisTierTest, ARedisThatWantsAPasswordGetsIt) {
  RedisProcess locked({"--requirepass", "s3cret"});
  origin.On("/", Fresh("x"));
  SatchelConfig config = Config();
  config.l2 = "redis: \"" + locked.url() + "\", password: s3cret";
  Start(config);
  Get("/");
  EXPECT_TRUE(satchel->WaitForRedis(1));
  EXPECT_EQ(satchel->process().err().find("s3cret"), std::string::npos);
  EXPECT_EQ(satchel->process().out().find("s3cret"), std::string::npos);
  EXPECT_EQ(satchel->ReadMetrics().text().find("s3cret"), std::string::npos);
  EXPECT_EQ(satchel->Status().dump().find("s3cret"), std::string::npos);
}

}  // namespace
}  // namespace satchel::testing
