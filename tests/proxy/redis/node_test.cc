// One server, two connections: what goes where, and what may not overtake what.
#include "proxy/redis/node.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using Texts = std::vector<std::string>;

class NodeTest : public ::testing::Test {
 protected:
  void Start(const net::Address& address, Client::Options options = {}) {
    options = PatientOptions(address, options);
    options.limits.stall_ms = 60'000;
    client_ = std::make_unique<Client>(loop_, resolver_, options);
    client_->Start();
    ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  }
  // Both connections stand; the fake server has said all that greetings need.
  void StartBoth(Client::Options options = {}) {
    Start(server_.address(), std::move(options));
    Send({"SET", "{warm}", "x"}, Lane::kStore);
    server_.auto_replies = {"+OK\r\n"};
    ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->node().bulk_ready() && answers_ == 1; }));
    server_.commands.clear();
  }
  bool Send(Command command, Lane lane, std::string_view key = "{warm}") {
    return client_->Send(
        key, std::move(command), 60'000, [this](const cache::Result<Reply>&) { ++answers_; }, lane);
  }
  bool ServerSaw(const std::string& command) const {
    return std::find(server_.commands.begin(), server_.commands.end(), command) !=
           server_.commands.end();
  }

  net::EventLoop loop_;
  net::Resolver resolver_{loop_};
  FakeRedis server_{loop_};
  std::unique_ptr<Client> client_;
  int answers_ = 0;
};

TEST_F(NodeTest, TheBulkConnectionIsMadeWhenItIsNeeded) {
  Start(server_.address());
  Send({"GET", "{warm}"}, Lane::kFast);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("GET {warm}"); }));
  EXPECT_EQ(server_.accepted, 1u);
  Send({"GET", "{warm}:chunk"}, Lane::kBulkRead);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->node().bulk_ready(); }));
  EXPECT_EQ(server_.accepted, 2u);
}

TEST_F(NodeTest, SmallCallsDoNotWaitBehindLargeOnes) {
  StartBoth();
  Send({"GET", "{big}"}, Lane::kBulkRead, "{big}");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("GET {big}"); }));
  // No answer to it: another key's call is answered all the same.
  Send({"GET", "{small}"}, Lane::kFast, "{small}");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("GET {small}"); }));
  server_.Say("$1\r\ns\r\n");
  EXPECT_TRUE(TurnUntil(loop_, [&] { return answers_ == 2; }));
}

TEST_F(NodeTest, NothingOvertakesAStoreOfItsHashTag) {
  StartBoth();
  server_.Read(false);
  Send({"SET", "{k}:1", "v"}, Lane::kStore, "{k}:1");
  Send({"UNLINK", "{k}:1"}, Lane::kBulkWrite, "{k}:1");
  Send({"GET", "{k}"}, Lane::kFast, "{k}");          // behind the removal
  Send({"GET", "{other}"}, Lane::kFast, "{other}");  // on its way at once
  server_.Read(true);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 4; }));
  Texts of_k;
  for (const std::string& command : server_.commands) {
    if (command.find("{k}") != std::string::npos) of_k.push_back(command);
  }
  EXPECT_EQ(of_k, (Texts{"SET {k}:1 v", "UNLINK {k}:1", "GET {k}"}));
  // All three on the bulk connection: one read brought them.
  EXPECT_EQ(std::count_if(server_.reads.begin(), server_.reads.end(),
                          [](const std::string& read) {
                            return read.find("UNLINK") != std::string::npos &&
                                   read.find("{k}:1") < read.rfind("GET") &&
                                   read.find("{other}") == std::string::npos;
                          }),
            1);
}

TEST_F(NodeTest, OnceTheStoreIsAnsweredItsKeyIsFastAgain) {
  StartBoth();
  Send({"SET", "{k}", "v"}, Lane::kStore, "{k}");
  server_.auto_replies = {"+OK\r\n"};
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_ == 2; }));
  // A reply that does not come keeps the bulk connection busy.
  Send({"GET", "{big}"}, Lane::kBulkRead, "{big}");
  Send({"GET", "{k}"}, Lane::kFast, "{k}");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("GET {k}") && ServerSaw("GET {big}"); }));
  const auto with_both =
      std::any_of(server_.reads.begin(), server_.reads.end(), [](const std::string& read) {
        return read.find("{big}") != std::string::npos && read.find("{k}") != std::string::npos;
      });
  EXPECT_FALSE(with_both);
}

TEST_F(NodeTest, AStoreWhoseDeadlinePassedStillHoldsItsPlace) {
  StartBoth();
  bool late = false;
  client_->Send(
      "{k}", {"SET", "{k}", "v"}, 10,
      [&](const cache::Result<Reply>& reply) { late = !reply && IsDeadline(reply.error()); },
      Lane::kStore);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return late; }));
  server_.reads.clear();
  Send({"PING"}, Lane::kBulkWrite, "{other}");
  Send({"GET", "{k}"}, Lane::kFast, "{k}");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("GET {k}") && ServerSaw("PING"); }));
  EXPECT_EQ(server_.reads.size(), 1u);  // the same connection
}

TEST_F(NodeTest, ScriptsWhoseOrderMattersCarryTheirText) {
  StartBoth();
  const Script script("return 1");
  for (const Lane lane : {Lane::kStore, Lane::kBulkWrite, Lane::kFast}) {
    ScriptArguments arguments;
    arguments.Key("{k}");
    client_->SendScript(script, arguments, 60'000, {}, lane);
  }
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 3; }));
  EXPECT_EQ(server_.commands[0], "EVAL return 1 1 {k}");
  EXPECT_EQ(server_.commands[1], "EVAL return 1 1 {k}");
  EXPECT_TRUE(server_.commands[2].starts_with("EVALSHA ")) << server_.commands[2];
}

TEST_F(NodeTest, AFullQueueDropsTheOldestStoresAndNoRemoval) {
  Client::Options options;
  options.limits.max_unsent = 4 << 20;
  options.limits.ahead = 64 << 10;
  StartBoth(options);
  server_.Read(false);
  const std::string payload(256 << 10, 'p');
  std::vector<std::string> dropped;
  for (int i = 0; i < 100; ++i) {
    const std::string key = "{" + std::to_string(i) + "}";
    Command set{"SET", key};
    set.Payload(std::string(payload));
    EXPECT_TRUE(client_->Send(
        key, std::move(set), 60'000,
        [&dropped, key](const cache::Result<Reply>& reply) {
          if (!reply) dropped.push_back(key);
        },
        Lane::kStore));
    if (i == 50) Send({"UNLINK", "{removed}"}, Lane::kBulkWrite, "{removed}");
    loop_.Turn(false);
  }
  EXPECT_GT(dropped.size(), 10u);
  EXPECT_EQ(client_->counters().dropped.Get(), dropped.size());
  EXPECT_TRUE(std::is_sorted(dropped.begin(), dropped.end(),
                             [](const std::string& a, const std::string& b) {
                               return std::stoi(a.substr(1)) < std::stoi(b.substr(1));
                             }));
  EXPECT_EQ(std::count(dropped.begin(), dropped.end(), "{99}"), 0);
  server_.Read(true);
  ASSERT_TRUE(TurnUntil(loop_, [&] {
    server_.reads.clear();
    return server_.commands.size() == 101 - dropped.size();
  }));
  EXPECT_TRUE(ServerSaw("UNLINK {removed}"));
}

TEST_F(NodeTest, AQueueOfCallsThatMayNotBeDroppedRefusesTheNext) {
  Client::Options options;
  options.limits.max_calls = 8;
  StartBoth(options);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(Send({"UNLINK", "{k}"}, Lane::kBulkWrite, "{k}"));
  EXPECT_FALSE(Send({"UNLINK", "{k}"}, Lane::kBulkWrite, "{k}"));
  EXPECT_EQ(client_->counters().rejected.Get(), 1u);
}

TEST_F(NodeTest, ConnectionsThatBreakAtEachReplyOpenTheBreaker) {
  Client::Options options;
  options.breaker.open_ms = 60'000;
  Start(server_.address(), options);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->available({}) && client_->ready(); }));
    server_.commands.clear();
    Send({"GET", "k"}, Lane::kFast, "k");
    ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("GET k"); }));
    server_.Say("$100\r\nhalf");
    server_.Drop();
    ASSERT_TRUE(TurnUntil(loop_, [&] { return !client_->ready(); }));
  }
  // A greeting proves little: only a PING that is answered in time closes the breaker again.
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  EXPECT_FALSE(client_->available({}));
  server_.auto_replies = {"+PONG\r\n"};
  ASSERT_TRUE(TurnUntil(loop_, [&] {
    if (ServerSaw("PING") && server_.auto_replies.size() == 1) server_.Say("+PONG\r\n");
    return client_->available({});
  }));
}

class ProbeTest : public NodeTest {
 protected:
  // The breaker is open, and its probe has been sent; the server has answered nothing yet.
  void SendProbe() {
    Client::Options options;
    options.breaker = {.failures = 1, .open_ms = 10, .max_open_ms = 10};
    options.probe_deadline_ms = kDeadlineMs;
    Start(server_.address(), options);
    client_->Send("k", {"GET", "k"}, 1, [](const cache::Result<Reply>&) {}, Lane::kFast);
    ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("PING"); }));
    EXPECT_FALSE(client_->available({}));
    server_.commands.clear();
  }

  static constexpr int64_t kDeadlineMs = 250;
};

TEST_F(ProbeTest, AnAnswerThatIsReadAfterItsTimeIsFollowedByTheNextProbe) {
  SendProbe();
  // The loop is busy elsewhere, so that the answer and the deadline are due in the same turn.
  const int64_t end = net::EventLoop::ReadClockMs() + kDeadlineMs + 10;
  while (net::EventLoop::ReadClockMs() < end) {
  }
  server_.Say("$-1\r\n+PONG\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("PING"); }));
  EXPECT_FALSE(client_->available({}));
  server_.Say("+PONG\r\n");
  EXPECT_TRUE(TurnUntil(loop_, [&] { return client_->available({}); }));
}

TEST_F(ProbeTest, AServerThatRefusesTheProbeItselfIsThere) {
  SendProbe();
  server_.Say("$-1\r\n-NOPERM this user has no permissions to run the 'ping' command\r\n");
  EXPECT_TRUE(TurnUntil(loop_, [&] { return client_->available({}); }));
}

TEST_F(ProbeTest, AServerThatIsStillLoadingIsProbedAgain) {
  SendProbe();
  server_.Say("$-1\r\n-LOADING Redis is loading the dataset in memory\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return ServerSaw("PING"); }));
  server_.Say("+PONG\r\n");
  EXPECT_TRUE(TurnUntil(loop_, [&] { return client_->available({}); }));
}

TEST_F(NodeTest, AReadOnlyServerIsLookedUpAgain) {
  Start(server_.address());
  auto options = PatientOptions<Client::Options>(server_.address());
  options.host = "localhost";  // a name: it may mean another server by now
  client_ = std::make_unique<Client>(loop_, resolver_, options);
  client_->Start();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  const size_t before = server_.accepted;
  server_.auto_replies = {"-READONLY You can't write against a read only replica.\r\n"};
  Send({"SET", "{k}", "v"}, Lane::kFast, "{k}");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.accepted > before; }));
  EXPECT_TRUE(TurnUntil(loop_, [&] { return client_->ready(); }));
  EXPECT_EQ(client_->generation(), 2u);
}

}  // namespace
}  // namespace satchel::redis
