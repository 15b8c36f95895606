#include "proxy/redis/client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using Event = Client::Event;
using testing::RedisProcess;

class ClientTest : public ::testing::Test {
 protected:
  static Client::Options At(const std::string& address) {
    const net::Address parsed = *net::Address::Parse(address);
    auto options = PatientOptions<Client::Options>(parsed);
    if (parsed.is_unix()) options.host = address;
    options.breaker = {.failures = 5, .open_ms = 50, .max_open_ms = 200};
    options.limits.stall_ms = 60'000;
    return options;
  }
  void Make(Client::Options options) {
    client_.reset();
    client_ = std::make_unique<Client>(loop_, resolver_, std::move(options),
                                       [this](Event event, std::string_view detail) {
                                         events_.push_back(event);
                                         details_.emplace_back(detail);
                                       });
  }
  void Start(Client::Options options) {
    Make(std::move(options));
    client_->Start();
    ASSERT_TRUE(TurnUntil(loop_, [this] { return client_->ready(); })) << Details();
  }
  std::string Details() const {
    std::string all;
    for (const std::string& detail : details_) all += detail + "; ";
    return all;
  }
  // The answer as text; an error with "!" before it.
  std::string Ask(Command command, int64_t deadline_ms = 5000) {
    std::optional<std::string> answer;
    const PendingReply pending =
        client_->Call({}, std::move(command), deadline_ms, [&](cache::Result<Reply> reply) {
          answer = reply ? (reply->IsInteger() ? std::to_string(reply->integer) : reply->text)
                         : "!" + reply.error().message;
        });
    EXPECT_FALSE(answer.has_value());  // never inside the call
    TurnUntil(loop_, [&] { return answer.has_value(); });
    return answer.value_or("nothing");
  }
  bool Saw(Event event) const {
    return std::find(events_.begin(), events_.end(), event) != events_.end();
  }

  net::EventLoop loop_;
  net::Resolver resolver_{loop_};
  std::vector<Event> events_;
  std::vector<std::string> details_;
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, TalksToARealServer) {
  RedisProcess server;
  Start(At(server.address()));
  EXPECT_EQ(Ask({"SET", "k", "v"}), "OK");
  EXPECT_EQ(Ask({"GET", "k"}), "v");
  EXPECT_EQ(Ask({"INCR", "k"}), "!ERR value is not an integer or out of range");
  EXPECT_NE(server.Command({"CLIENT", "LIST"}).find("name=satchel"), std::string::npos);
  EXPECT_EQ(client_->counters().connected.Get(), 1u);
  EXPECT_EQ(client_->counters().errors.Get(), 1u);
  EXPECT_GT(client_->counters().latency_us.Get(), 0u);
  EXPECT_EQ(client_->generation(), 1u);
}

TEST_F(ClientTest, CallsMadeBeforeTheConnectionStandsAreAnswered) {
  RedisProcess server;
  Make(At(server.address()));
  client_->Start();
  EXPECT_TRUE(client_->available({}));
  EXPECT_EQ(Ask({"ECHO", "early"}), "early");
}

TEST_F(ClientTest, AHostNameAndAUnixSocketWorkToo) {
  testing::TempDir dir;
  RedisProcess server({"--unixsocket", dir.path("r.sock")});
  Client::Options options = At(server.address());
  options.host = "localhost";  // its IPv6 address is refused or follows: both are tried
  Start(options);
  EXPECT_EQ(Ask({"ECHO", "x"}), "x");
  Start(At("unix:" + dir.path("r.sock")));
  EXPECT_EQ(Ask({"ECHO", "y"}), "y");
}

TEST_F(ClientTest, PasswordsUsersAndDatabasesAreGreetedWith) {
  RedisProcess server;
  server.Command({"CONFIG", "SET", "requirepass", "s3cret"});
  Client::Options options = At(server.address());
  options.password = "s3cret";
  options.database = 3;
  Start(options);
  EXPECT_EQ(Ask({"SET", "k", "v"}), "OK");
  EXPECT_NE(Ask({"CLIENT", "INFO"}).find("db=3"), std::string::npos);
  EXPECT_EQ(Ask({"ACL", "SETUSER", "sam", "on", ">pw", "~*", "+@all"}), "OK");
  options.user = "sam";
  options.password = "pw";
  Start(options);
  EXPECT_EQ(Ask({"ACL", "WHOAMI"}), "sam");
}

TEST_F(ClientTest, AWrongPasswordIsToldWithoutThePassword) {
  RedisProcess server;
  server.Command({"CONFIG", "SET", "requirepass", "s3cret"});
  Client::Options options = At(server.address());
  options.password = "guess-4711";
  Make(options);
  client_->Start();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return Saw(Event::kConnectFailed); }));
  EXPECT_NE(Details().find("WRONGPASS"), std::string::npos) << Details();
  EXPECT_EQ(Details().find("guess-4711"), std::string::npos);
  EXPECT_FALSE(client_->ready());
}

TEST_F(ClientTest, MeasuresTheServersClock) {
  FakeRedis server(loop_);  // always says 1700000000.123456
  Start(At(server.address().ToString()));
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  EXPECT_NEAR(static_cast<double>(client_->clock_offset_us({})),
              static_cast<double>(1'700'000'000'123'456 - now), 1e6);
}

TEST_F(ClientTest, AHungServerCostsTheDeadlineThenNothingAndRecoversByItself) {
  RedisProcess server;
  Client::Options options = At(server.address());
  Start(options);
  ASSERT_EQ(Ask({"SET", "k", "before"}), "OK");
  server.Pause();
  for (int i = 0; i < 5; ++i) {
    const int64_t start = net::EventLoop::ReadClockMs();
    EXPECT_EQ(Ask({"GET", "k"}, 20), "!deadline passed");
    EXPECT_GE(net::EventLoop::ReadClockMs() - start, 20);
    EXPECT_LT(net::EventLoop::ReadClockMs() - start, 200);
  }
  EXPECT_TRUE(Saw(Event::kBreakerOpened));
  EXPECT_FALSE(client_->available({}));
  const int64_t start = net::EventLoop::ReadClockMs();
  EXPECT_EQ(Ask({"GET", "k"}, 5000), "!not available");
  EXPECT_LT(net::EventLoop::ReadClockMs() - start, 20);
  server.Continue();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->available({}); }));
  EXPECT_TRUE(Saw(Event::kBreakerClosed));
  // The late replies were dropped, and replies still go to their own calls.
  EXPECT_EQ(Ask({"ECHO", "mine"}), "mine");
  EXPECT_EQ(client_->counters().deadline_misses.Get() >= 5, true);
  EXPECT_GE(client_->counters().late_replies.Get(), 5u);
  EXPECT_EQ(client_->generation(), 1u);  // the same connection
}

TEST_F(ClientTest, SilenceBreaksTheConnectionAndANewOneComes) {
  RedisProcess server;
  Client::Options options = At(server.address());
  options.limits.stall_ms = 300;
  Start(options);
  server.Pause();
  EXPECT_EQ(Ask({"GET", "k"}, 20), "!deadline passed");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return Saw(Event::kDisconnected); }));
  server.Continue();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready() && client_->available({}); }));
  EXPECT_GE(client_->generation(), 2u);
  EXPECT_EQ(Ask({"ECHO", "back"}), "back");
}

TEST_F(ClientTest, ComesBackAfterARestartAndFailsAtOnceMeanwhile) {
  RedisProcess server;
  Start(At(server.address()));
  std::optional<std::string> lost;
  server.Pause();
  const PendingReply waiting = client_->Call(
      {}, {"GET", "k"}, 5000, [&](cache::Result<Reply> reply) { lost = reply.error().message; });
  loop_.Turn(true);
  server.Kill();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return lost.has_value(); }));
  EXPECT_TRUE(lost->starts_with("connection lost: ")) << *lost;
  ASSERT_TRUE(TurnUntil(loop_, [&] { return Saw(Event::kConnectFailed); }));
  const int64_t start = net::EventLoop::ReadClockMs();
  EXPECT_TRUE(Ask({"GET", "k"}).starts_with("!"));
  EXPECT_LT(net::EventLoop::ReadClockMs() - start, 300);
  server.Restart();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  EXPECT_EQ(Ask({"ECHO", "again"}), "again");
}

TEST_F(ClientTest, AnAbsentServerIsToldOnceAndOpensTheBreaker) {
  std::string nobody;
  {
    FakeRedis gone(loop_);
    nobody = gone.address().ToString();
  }
  Make(At(nobody));
  client_->Start();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return Saw(Event::kBreakerOpened); }));
  EXPECT_EQ(std::count(events_.begin(), events_.end(), Event::kConnectFailed), 1);
  EXPECT_FALSE(client_->available({}));
}

TEST_F(ClientTest, AServerThatIsLoadingIsNotReady) {
  FakeRedis server(loop_);
  server.greets = false;
  server.auto_replies = {"+OK\r\n", "-LOADING Redis is loading the dataset in memory\r\n"};
  Make(At(server.address().ToString()));
  client_->Start();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return Saw(Event::kConnectFailed); }));
  EXPECT_NE(Details().find("LOADING"), std::string::npos);
  server.greets = true;
  EXPECT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
}

TEST_F(ClientTest, ErrorsThatMeanDownOpenTheBreakerOthersDoNot) {
  FakeRedis server(loop_);
  Client::Options options = At(server.address().ToString());
  options.breaker.open_ms = 60'000;
  Start(options);
  for (int i = 0; i < 20; ++i) {
    server.auto_replies = {"-WRONGTYPE no\r\n"};
    EXPECT_EQ(Ask({"GET", "k"}), "!WRONGTYPE no");
  }
  EXPECT_TRUE(client_->available({}));
  for (int i = 0; i < 5; ++i) {
    server.auto_replies = {"-BUSY running a script\r\n"};
    EXPECT_EQ(Ask({"GET", "k"}), "!BUSY running a script");
  }
  EXPECT_FALSE(client_->available({}));
}

TEST_F(ClientTest, AFailedProbeKeepsTheBreakerOpen) {
  FakeRedis server(loop_);
  Client::Options options = At(server.address().ToString());
  options.connect_timeout_ms = 30;  // of the probe too
  Start(options);
  for (int i = 0; i < 5; ++i) Ask({"GET", "k"}, 10);
  ASSERT_FALSE(client_->available({}));
  server.commands.clear();
  ASSERT_TRUE(
      TurnUntil(loop_, [&] { return server.commands.size() == 2; }));  // two probes, no answer
  EXPECT_EQ(server.commands, (std::vector<std::string>{"PING", "PING"}));
  EXPECT_FALSE(client_->available({}));
  for (int i = 0; i < 7; ++i) server.Say("+OK\r\n");  // all the late ones
  server.auto_replies = {"+PONG\r\n"};
  EXPECT_TRUE(TurnUntil(loop_, [&] { return client_->available({}); }));
}

TEST_F(ClientTest, ScriptsAreLoadedAtConnectAndSurviveAFlush) {
  RedisProcess server;
  const Script script("return {KEYS[1], ARGV[1]}");
  Make(At(server.address()));
  client_->AddScript(script);
  client_->Start();
  const auto run = [&] {
    std::optional<std::string> answer;
    ScriptArguments arguments;
    arguments.Key("k").Arg("v");
    const PendingReply pending =
        client_->CallScript(script, arguments, 5000, [&](cache::Result<Reply> reply) {
          answer =
              reply ? reply->items.at(0).text + reply->items.at(1).text : reply.error().message;
        });
    TurnUntil(loop_, [&] { return answer.has_value(); });
    return answer.value_or("nothing");
  };
  EXPECT_EQ(run(), "kv");
  EXPECT_EQ(server.Calls("eval"), 0);
  EXPECT_EQ(client_->counters().script_reloads.Get(), 0u);
  server.Command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(run(), "kv");
  EXPECT_EQ(server.Calls("eval"), 1);
  EXPECT_EQ(run(), "kv");
  EXPECT_EQ(server.Calls("eval"), 1);  // EVAL brought it back
  EXPECT_EQ(client_->counters().script_reloads.Get(), 1u);
}

TEST_F(ClientTest, GoesAwayWhileCallsWait) {
  RedisProcess server;
  Start(At(server.address()));
  server.Pause();
  bool called = false;
  const PendingReply pending =
      client_->Call({}, {"GET", "k"}, 10, [&](const auto&) { called = true; });
  client_->Send({}, {"SET", "k", "v"}, 10);
  loop_.Turn(false);
  client_.reset();
  TurnFor(loop_, 40);
  EXPECT_FALSE(called);
}

TEST_F(ClientTest, ACallerMayDestroyTheClientFromItsFunction) {
  RedisProcess server;
  Start(At(server.address()));
  bool called = false;
  client_->Send({}, {"PING"}, 1000, [&](const auto&) {
    called = true;
    client_.reset();
  });
  client_->Send({}, {"PING"}, 1000);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return called; }));
  loop_.Turn(false);
}

TEST_F(ClientTest, ADeadlineMayDestroyTheClient) {
  RedisProcess server;
  Start(At(server.address()));
  server.Pause();
  client_->Send({}, {"PING"}, 10, [&](const auto&) { client_.reset(); });
  client_->Send({}, {"PING"}, 10);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_ == nullptr; }));
  loop_.Turn(false);
}

TEST_F(ClientTest, ManyCallsOfManyTurnsAllMeetTheirReplies) {
  RedisProcess server;
  Start(At(server.address()));
  size_t right = 0;
  size_t answered = 0;
  std::vector<PendingReply> pending;
  for (int turn = 0; turn < 50; ++turn) {
    for (int i = 0; i < 20; ++i) {
      const std::string word = std::to_string(turn) + "." + std::to_string(i);
      auto handle =
          client_->Call({}, {"ECHO", word}, 10'000, [&, word](cache::Result<Reply> reply) {
            ++answered;
            if (reply && reply->text == word) ++right;
          });
      if (i % 5 == 0) handle.Cancel();
      pending.push_back(std::move(handle));
    }
    loop_.Turn(false);
  }
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answered == 800; }));
  EXPECT_EQ(right, 800u);
  EXPECT_LE(client_->counters().writes.Get(), 60u);  // about one for each turn
}

TEST(ClientOptionsTest, AreTakenFromTheConfiguration) {
  rules::L2Config config;
  config.servers.resize(1);
  config.servers[0].kind = rules::Endpoint::Kind::kUnix;
  config.servers[0].path = "/run/redis.sock";
  config.user = "u";
  config.password = "p";
  config.database = 2;
  config.breaker = {.failures = 7, .open_for = std::chrono::milliseconds(1500)};
  config.max_object = 1 << 20;
  const auto options = Client::Options::From(config);
  EXPECT_EQ(options.host, "unix:/run/redis.sock");
  EXPECT_EQ(options.user, "u");
  EXPECT_EQ(options.password, "p");
  EXPECT_EQ(options.database, 2u);
  EXPECT_EQ(options.breaker.failures, 7u);
  EXPECT_EQ(options.breaker.open_ms, 1500);
  EXPECT_GT(options.limits.reply.max_bytes, config.max_object);
  config.servers[0] = {};
  config.servers[0].kind = rules::Endpoint::Kind::kName;
  config.servers[0].host = "redis.svc";
  config.servers[0].port = 6380;
  EXPECT_EQ(Client::Options::From(config).host, "redis.svc");
  EXPECT_EQ(Client::Options::From(config).port, 6380);
}

}  // namespace
}  // namespace satchel::redis
