// Redis in every bad mood: requests go on, no body is wrong, and it is used again by itself.

#include "tests/support/fault_relay.h"
#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;

class RedisFaultsTest : public ProxyTest {
 protected:
  RedisFaultsTest() {
    SatchelConfig config = Config();
    config.workers = "1";
    config.l2 = "redis: \"redis://" + relay_.address() +
                "\", deadline: 100ms, breaker: {failures: 5, open_for: 200ms}";
    Start(config);
    EXPECT_TRUE(Eventually([&] { return Up() == 1; }));
  }
  double Up() { return satchel->ReadMetrics().Sum("satchel_redis_connections_up"); }
  double Open() { return satchel->ReadMetrics().Sum("satchel_redis_breaker_open"); }
  double Opened() { return satchel->ReadMetrics().Sum("satchel_redis_breaker_opened_total"); }

  // A page nobody has asked for yet: it is looked up in Redis, fetched and stored.
  void AskForANewPage() {
    const std::string target = "/" + std::to_string(number_++);
    const std::string body = Pattern(0, 2000, static_cast<unsigned>(number_));
    origin.On(target, Fresh(body, 300));
    const Response response = Get(target);
    EXPECT_EQ(response.status, 200) << target;
    EXPECT_EQ(response.body, body) << target;
  }
  // New pages until the condition holds.
  bool AskUntil(const std::function<bool()>& holds) {
    return Eventually([&] {
      AskForANewPage();
      return holds();
    });
  }
  bool Recovers() {
    const size_t stored = redis_.Records().size();
    return AskUntil(
        [&] { return Up() == 1 && Open() == 0 && redis_.Records().size() > stored; });
  }
  static FaultRelay::Faults Error(const std::string& text, std::vector<std::string> names = {}) {
    return {.error = [text, names](const std::string& name) -> std::optional<std::string> {
      const bool meant =
          names.empty() || std::find(names.begin(), names.end(), name) != names.end();
      return meant ? std::optional(text) : std::nullopt;
    }};
  }

  RedisProcess redis_;
  FaultRelay relay_{redis_.address()};
  int number_ = 0;
};

TEST_F(RedisFaultsTest, AServerThatSaysNotNowIsLeftAloneAndUsedAgainLater) {
  for (const char* error :
       {"LOADING Redis is loading the dataset in memory", "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down", "READONLY You can't write against a read only replica.",
        "NOAUTH Authentication required.", "BUSY Redis is busy running a script."}) {
    SCOPED_TRACE(error);
    ASSERT_TRUE(Recovers());
    const double before = Opened();
    relay_.Set(Error(error));
    EXPECT_TRUE(AskUntil([&] { return Opened() > before && Open() == 1; }));
    // While it is open nobody asks: only probes and greetings go out.
    const size_t gets = relay_.commands("GET");
    for (int i = 0; i < 10; ++i) AskForANewPage();
    EXPECT_EQ(relay_.commands("GET"), gets);
    relay_.Clear();
  }
  EXPECT_TRUE(Recovers());
}

TEST_F(RedisFaultsTest, AFullServerLosesStoresNotReads) {
  ASSERT_TRUE(Recovers());
  relay_.Set(Error("OOM command not allowed when used memory > 'maxmemory'.", {"SET", "EVAL"}));
  for (int i = 0; i < 20; ++i) AskForANewPage();
  EXPECT_EQ(Opened(), 0);
  EXPECT_EQ(Open(), 0);
  relay_.Clear();
  EXPECT_TRUE(Recovers());
}

TEST_F(RedisFaultsTest, ASlowServerCostsItsDeadlineUntilTheBreakerOpensThenNothing) {
  relay_.Set({.delay = milliseconds(200)});
  EXPECT_TRUE(AskUntil([&] { return Open() == 1; }));
  // A PING that takes 200 ms closes no breaker whose calls have 100 ms.
  const size_t pings = relay_.commands("PING");
  const size_t gets = relay_.commands("GET");
  EXPECT_TRUE(AskUntil([&] { return relay_.commands("PING") >= pings + 2; }));
  EXPECT_EQ(relay_.commands("GET"), gets);
  EXPECT_GT(satchel->ReadMetrics().Sum("satchel_redis_deadline_misses_total"), 0);
  relay_.Clear();
  EXPECT_TRUE(Recovers());
}

TEST_F(RedisFaultsTest, AServerThatHangsIsLeftAloneAndUsedAgainLater) {
  relay_.Set({.hold = true});
  EXPECT_TRUE(AskUntil([&] { return Open() == 1; }));
  for (int i = 0; i < 20; ++i) AskForANewPage();
  relay_.Clear();
  EXPECT_TRUE(Recovers());
}

TEST_F(RedisFaultsTest, ConnectionsCutInMidReplyGiveNoWrongBody) {
  // What the first instance keeps in memory the second must read from Redis.
  for (int i = 0; i < 10; ++i) AskForANewPage();
  ASSERT_TRUE(Eventually([&] { return redis_.Records().size() >= 10; }));
  for (const size_t after : {0, 1, 100, 700, 1500, 2100}) {
    relay_.Set({.cut_after = after});
    for (int i = 0; i < 5; ++i) AskForANewPage();
    satchel->Send("PUT", "/0", {}, "");  // takes page 0 from memory
    origin.On("/0", Fresh("new", 300));
    EXPECT_EQ(Get("/0").body, "new");
  }
  EXPECT_TRUE(Eventually([&] {
    AskForANewPage();
    return relay_.cuts() > 0;
  }));
  relay_.Clear();
  EXPECT_TRUE(Recovers());
}

TEST_F(RedisFaultsTest, FlippedBitsGiveNoWrongBody) {
  std::vector<std::pair<std::string, std::string>> pages;
  for (int i = 0; i < 30; ++i) {
    pages.emplace_back("/p" + std::to_string(i), Pattern(0, 3000, static_cast<unsigned>(i)));
    origin.On(pages.back().first, Fresh(pages.back().second, 300));
    Get(pages.back().first);
  }
  ASSERT_TRUE(Eventually([&] { return redis_.Records().size() >= 30; }));
  SatchelConfig config = Config();
  config.l2 = "redis: \"redis://" + relay_.address() + "\", deadline: 2s";
  SatchelProcess reader(config);
  ASSERT_TRUE(reader.WaitForRedis());
  relay_.Set({.flip_every = 701});
  for (const auto& [target, body] : pages) EXPECT_EQ(reader.Get(target).body, body) << target;
}

TEST_F(RedisFaultsTest, AServerThatIsGoneAndComesBackEmptyIsUsedAgain) {
  for (int i = 0; i < 5; ++i) AskForANewPage();
  relay_.Set({.refuse = true});
  relay_.ResetAll();
  EXPECT_TRUE(AskUntil([&] { return Up() == 0; }));
  redis_.Restart();
  EXPECT_TRUE(redis_.Keys().empty());
  relay_.Clear();
  EXPECT_TRUE(Recovers());
}

}  // namespace
}  // namespace satchel::testing
