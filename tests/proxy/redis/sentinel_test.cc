#include "proxy/redis/sentinel.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"

namespace satchel::redis {
namespace {

std::string Bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

ServerAddress AddressOf(const FakeRedis& server) {
  return {.host = server.address().IpText(), .port = server.address().port()};
}

std::string IsMaster(const FakeRedis& master) {
  return "*2\r\n" + Bulk("127.0.0.1") + Bulk(std::to_string(master.address().port()));
}

const char* const kMaster = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const char* const kReplica = "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";

class SentinelTest : public ::testing::Test {
 protected:
  SentinelTest() {
    for (FakeRedis* sentinel : {&first_, &second_}) {
      sentinel->answers = {{"PING", "+PONG\r\n"}, {"AUTH", "+OK\r\n"}};
    }
    old_.answers = {{"ROLE", kMaster}};
    new_.answers = {{"ROLE", kMaster}};
  }
  void Make(Access access = {}, int64_t ask_timeout_ms = 10'000) {
    sentinels_ = std::make_shared<SentinelLocator>(
        loop_, resolver_,
        SentinelLocator::Options{.sentinels = {AddressOf(first_), AddressOf(second_)},
                                 .master = "main",
                                 .access = std::move(access),
                                 .ask_timeout_ms = ask_timeout_ms});
  }
  std::string Locate() {
    std::optional<std::string> found;
    const auto pending = sentinels_->Locate([&](const cache::Result<ServerAddress>& result) {
      found = result ? result->ToString() : "!" + result.error().message;
    });
    EXPECT_FALSE(found.has_value());
    TurnUntil(loop_, [&] { return found.has_value(); });
    return found.value_or("nothing");
  }
  void StartClient() {
    Client::Options options;
    options.locator = sentinels_;
    options.must_be_master = true;
    options.connect_timeout_ms = 10'000;
    options.limits.stall_ms = 60'000;
    options.backoff = {.first_ms = 5, .max_ms = 20};
    client_ = std::make_unique<Client>(
        loop_, resolver_, options,
        [this](Client::Event, std::string_view detail) { details_ += std::string(detail) + "; "; },
        sentinels_);
    client_->Start();
  }

  net::EventLoop loop_;
  net::Resolver resolver_{loop_};
  FakeRedis first_{loop_};
  FakeRedis second_{loop_};
  FakeRedis old_{loop_};
  FakeRedis new_{loop_};
  std::shared_ptr<SentinelLocator> sentinels_;
  std::unique_ptr<Client> client_;
  std::string details_;
};

TEST_F(SentinelTest, OneThatDoesNotKnowIsPassedOver) {
  Make();
  first_.answers["SENTINEL"] = "*-1\r\n";
  second_.answers["SENTINEL"] = IsMaster(new_);
  EXPECT_EQ(Locate(), new_.address().ToString());
  EXPECT_EQ(first_.commands.back(), "SENTINEL GET-MASTER-ADDR-BY-NAME main");
}

TEST_F(SentinelTest, OneThatDoesNotAnswerInTimeIsPassedOver) {
  Make({}, 50);
  first_.answers.clear();
  second_.answers["SENTINEL"] = IsMaster(new_);
  EXPECT_EQ(Locate(), new_.address().ToString());
}

TEST_F(SentinelTest, WhenNobodyKnowsItSaysWhy) {
  Make();
  first_.answers["SENTINEL"] = "*-1\r\n";
  second_.answers["SENTINEL"] = "-IDONTKNOW me neither\r\n";
  const std::string found = Locate();
  EXPECT_TRUE(found.starts_with("!no sentinel told where the master is")) << found;
  EXPECT_NE(found.find("IDONTKNOW"), std::string::npos) << found;
}

TEST_F(SentinelTest, NonsenseIsNoAddress) {
  Make();
  for (const char* nonsense : {"*2\r\n$0\r\n\r\n$4\r\n6379\r\n", "*2\r\n$1\r\nh\r\n$5\r\n99999\r\n",
                               "*2\r\n$1\r\nh\r\n$1\r\n0\r\n", "*2\r\n$1\r\nh\r\n$2\r\n6x\r\n",
                               "+OK\r\n", ":1\r\n", "*2\r\n$6\r\nunix:/\r\n$1\r\n1\r\n"}) {
    first_.answers["SENTINEL"] = nonsense;
    second_.answers["SENTINEL"] = nonsense;
    EXPECT_TRUE(Locate().starts_with("!")) << nonsense;
  }
}

TEST_F(SentinelTest, SentinelsMayWantAPassword) {
  Make({.user = "s", .password = "t", .tls = nullptr});
  first_.answers["SENTINEL"] = IsMaster(new_);
  EXPECT_EQ(Locate(), new_.address().ToString());
  EXPECT_EQ(first_.commands.front(), "AUTH s t");
}

TEST_F(SentinelTest, WhoAsksTogetherIsAnsweredByOneQuestion) {
  Make();
  first_.answers["SENTINEL"] = IsMaster(new_);
  int answers = 0;
  const auto done = [&](const cache::Result<ServerAddress>&) { ++answers; };
  const auto a = sentinels_->Locate(done);
  const auto b = sentinels_->Locate(done);
  auto gone = sentinels_->Locate(done);
  gone.reset();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers >= 2; }));
  TurnFor(loop_, 20);
  EXPECT_EQ(answers, 2);
  EXPECT_EQ(first_.accepted, 1u);
  EXPECT_EQ(second_.accepted, 0u);
}

TEST_F(SentinelTest, AServerThatIsNoMasterIsNotTaken) {
  Make();
  first_.answers["SENTINEL"] = IsMaster(old_);  // it has not heard yet
  second_.answers["SENTINEL"] = IsMaster(new_);
  old_.answers["ROLE"] = kReplica;
  StartClient();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  EXPECT_NE(details_.find("expected the master, found: slave"), std::string::npos) << details_;
  EXPECT_EQ(std::count(new_.commands.begin(), new_.commands.end(), "ROLE"), 1);
}

TEST_F(SentinelTest, AFailOverThatIsToldOfMovesTheConnection) {
  Make();
  for (FakeRedis* sentinel : {&first_, &second_}) {
    sentinel->answers["SENTINEL"] = IsMaster(old_);
    sentinel->answers["SUBSCRIBE"] = "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n";
  }
  StartClient();
  ASSERT_TRUE(TurnUntil(loop_, [&] {
    return client_->ready() && std::count(first_.commands.begin(), first_.commands.end(),
                                          "SUBSCRIBE +switch-master") == 1;
  }));
  for (FakeRedis* sentinel : {&first_, &second_}) {
    sentinel->answers["SENTINEL"] = IsMaster(new_);
  }
  const auto tell = [&](const std::string& name, const FakeRedis& master) {
    const std::string port = std::to_string(master.address().port());
    first_.Say("*3\r\n" + Bulk("message") + Bulk("+switch-master") +
               Bulk(name + " 127.0.0.1 1 127.0.0.1 " + port));
  };
  tell("another", new_);  // not ours
  tell("main", old_);     // no news
  TurnFor(loop_, 20);
  EXPECT_TRUE(client_->ready());
  EXPECT_EQ(client_->generation(), 1u);
  tell("main", new_);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->generation() == 2 && client_->ready(); }));
  EXPECT_EQ(std::count(new_.commands.begin(), new_.commands.end(), "ROLE"), 1);
}

TEST_F(SentinelTest, AReadOnlyServerIsLeftForTheMaster) {
  Make();
  first_.answers["SENTINEL"] = second_.answers["SENTINEL"] = IsMaster(old_);
  StartClient();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  first_.answers["SENTINEL"] = second_.answers["SENTINEL"] = IsMaster(new_);
  old_.auto_replies = {"-READONLY You can't write against a read only replica.\r\n"};
  client_->Send("k", {"SET", "k", "v"}, 10'000);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->generation() == 2 && client_->ready(); }));
  EXPECT_EQ(std::count(new_.commands.begin(), new_.commands.end(), "ROLE"), 1);
}

}  // namespace
}  // namespace satchel::redis
