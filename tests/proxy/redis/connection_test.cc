#include "proxy/redis/connection.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/proxy/redis/fake_redis.h"

namespace satchel::redis {
namespace {

class ConnectionTest : public ::testing::Test {
 protected:
  void Connect(Connection::Limits limits = {}) {
    server_.greets = false;
    connection_ = std::make_unique<Connection>(
        loop_, server_.address(), limits,
        Connection::Hooks{
            .on_connected = [this] { connected_ = true; },
            .on_closed = [this](const std::string& reason) { closed_.push_back(reason); },
            .on_outcome =
                [this](const CallState& call, const Reply* reply) {
                  if (reply == nullptr) ++lost_;
                  if (reply != nullptr && call.late) ++late_;
                }});
    connection_->Open();
    ASSERT_TRUE(TurnUntil(loop_, [this] { return connected_ && server_.connected(); }));
  }

  // A call whose answer is written to answers_[name].
  std::shared_ptr<CallState> Send(const std::string& name, int64_t deadline_ms = 0) {
    auto call = std::make_shared<CallState>();
    call->done = [this, name](cache::Result<Reply> reply) {
      answers_.push_back(name + "=" + (reply ? reply->text : "!" + reply.error().message));
    };
    if (deadline_ms != 0) {
      call->deadline.OnFire([raw = call.get()] {
        raw->late = true;
        raw->Finish(cache::Fail(cache::ErrorSource::kStore, "late"));
      });
      loop_.SetTimer(call->deadline, deadline_ms);
    }
    if (!connection_->Send({"GET", name}, call)) return nullptr;
    return call;
  }

  net::EventLoop loop_;
  FakeRedis server_{loop_};
  std::unique_ptr<Connection> connection_;
  bool connected_ = false;
  std::vector<std::string> closed_;
  std::vector<std::string> answers_;
  size_t lost_ = 0;
  size_t late_ = 0;
};

using Texts = std::vector<std::string>;

TEST_F(ConnectionTest, CommandsOfOneTurnLeaveInOneWrite) {
  Connect();
  for (const char* name : {"a", "b", "c"}) ASSERT_NE(Send(name), nullptr);
  EXPECT_EQ(connection_->totals().writes, 0u);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 3; }));
  EXPECT_EQ(connection_->totals().writes, 1u);
  EXPECT_EQ(server_.reads.size(), 1u);
  EXPECT_EQ(server_.commands, (Texts{"GET a", "GET b", "GET c"}));
  server_.Say("$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 3; }));
  EXPECT_EQ(answers_, (Texts{"a=1", "b=2", "c=3"}));
}

TEST_F(ConnectionTest, ALateReplyIsDroppedAndTheNextStillMatches) {
  Connect();
  Send("slow", 20);
  Send("patient");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 1; }));
  EXPECT_EQ(answers_, (Texts{"slow=!late"}));
  EXPECT_EQ(connection_->waiting(), 2u);  // its place stays
  server_.Say("$4\r\nlate\r\n$4\r\nmine\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 2; }));
  EXPECT_EQ(answers_[1], "patient=mine");
  EXPECT_EQ(late_, 1u);
  EXPECT_EQ(connection_->waiting(), 0u);
}

TEST_F(ConnectionTest, ADroppedHandleCancelsAndKeepsTheOrder) {
  Connect();
  PendingReply dropped(Send("dropped"));
  PendingReply kept(Send("kept"));
  EXPECT_TRUE(dropped.waiting());
  dropped = PendingReply();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 2; }));
  server_.Say("$1\r\n1\r\n$1\r\n2\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !kept.waiting(); }));
  EXPECT_EQ(answers_, (Texts{"kept=2"}));
}

TEST_F(ConnectionTest, ErrorRepliesAreErrors) {
  Connect();
  Send("a");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 1; }));
  server_.Say("-OOM command not allowed\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 1; }));
  EXPECT_EQ(answers_[0], "a=!OOM command not allowed");
  EXPECT_FALSE(connection_->closed());
}

TEST_F(ConnectionTest, SilenceClosesIt) {
  Connect({.stall_ms = 60});
  const int64_t start = net::EventLoop::ReadClockMs();
  Send("a", 20);
  Send("b");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  EXPECT_GE(net::EventLoop::ReadClockMs() - start, 58);
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_EQ(answers_[0], "a=!late");
  EXPECT_TRUE(answers_[1].starts_with("b=!connection lost: no reply")) << answers_[1];
  EXPECT_EQ(lost_, 1u);
  EXPECT_EQ(closed_.size(), 1u);
  EXPECT_EQ(Send("c"), nullptr);
}

TEST_F(ConnectionTest, SlowProgressIsNoSilenceUntilItLastsTooLong) {
  Connect({.stall_ms = 60});
  Send("a");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !server_.commands.empty(); }));
  server_.Say("$100000\r\n");
  const int64_t start = net::EventLoop::ReadClockMs();
  net::Timer drip;
  drip.OnFire([&] {
    if (server_.connected()) server_.Say("x");
    loop_.SetTimer(drip, 10);
  });
  loop_.SetTimer(drip, 1);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  EXPECT_GE(net::EventLoop::ReadClockMs() - start, 250);
}

TEST_F(ConnectionTest, AnIdleConnectionStaysOpen) {
  Connect({.stall_ms = 20});
  Send("a");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !server_.commands.empty(); }));
  server_.Say("$1\r\n1\r\n");
  TurnFor(loop_, 100);
  EXPECT_TRUE(closed_.empty());
  EXPECT_EQ(answers_, (Texts{"a=1"}));
}

TEST_F(ConnectionTest, TheQueueOfCallsIsBounded) {
  Connect({.max_calls = 3});
  EXPECT_NE(Send("a", 10), nullptr);
  EXPECT_NE(Send("b"), nullptr);
  EXPECT_NE(Send("c"), nullptr);
  EXPECT_EQ(Send("d"), nullptr);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 1; }));
  EXPECT_EQ(Send("d"), nullptr);  // the late one still has its place
  server_.Say("$1\r\n1\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return connection_->waiting() == 2; }));
  EXPECT_NE(Send("d"), nullptr);
}

TEST_F(ConnectionTest, UnsentBytesAreBoundedAndAllArriveInTheEnd) {
  Connect({.max_calls = 10'000, .max_unsent = 8 << 20, .stall_ms = 60'000});
  server_.Read(false);
  const std::string payload(1 << 20, 'p');
  size_t taken = 0;
  for (int i = 0; i < 64; ++i) {  // more than the kernel's buffers and ours together
    auto call = std::make_shared<CallState>();
    call->done = [](const auto&) {};
    Command command{"SET", "k"};
    command.Payload(std::string(payload));
    if (!connection_->Send(std::move(command), call)) break;
    ++taken;
    loop_.Turn(false);
    EXPECT_LE(connection_->unsent(), size_t{8} << 20);
  }
  EXPECT_GE(taken, 7u);
  EXPECT_LT(taken, 64u);
  server_.Read(true);
  ASSERT_TRUE(TurnUntil(loop_, [&] {
    server_.reads.clear();
    return server_.commands.size() == taken;
  }));
  EXPECT_EQ(connection_->unsent(), 0u);
}

TEST_F(ConnectionTest, AnAnswerNobodyAskedForClosesIt) {
  Connect();
  server_.Say("+OK\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  EXPECT_TRUE(closed_[0].starts_with("protocol")) << closed_[0];
}

TEST_F(ConnectionTest, GarbageClosesItAndFailsWhoWaits) {
  Connect();
  Send("a");
  Send("b");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 2; }));
  server_.Say("$1\r\n1\r\nHTTP/1.1 200 OK\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_EQ(answers_[0], "a=1");
  EXPECT_TRUE(answers_[1].starts_with("b=!connection lost: protocol")) << answers_[1];
}

TEST_F(ConnectionTest, ADroppedConnectionFailsWhoWaitsOnceAndInOrder) {
  Connect();
  Send("a");
  Send("b");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 2; }));
  server_.Drop();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_TRUE(answers_[0].starts_with("a=!connection lost"));
  EXPECT_TRUE(answers_[1].starts_with("b=!connection lost"));
}

TEST_F(ConnectionTest, CloseNeverAnswersInsideTheCall) {
  Connect();
  Send("a");
  connection_->Close("test");
  connection_->Close("again");
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(closed_.empty());
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  EXPECT_EQ(answers_, (Texts{"a=!connection lost: test"}));
  EXPECT_EQ(closed_, (Texts{"test"}));
}

TEST_F(ConnectionTest, ACallerMayDestroyItFromItsFunction) {
  Connect();
  auto call = std::make_shared<CallState>();
  bool called = false;
  call->done = [&](const auto&) {
    called = true;
    connection_.reset();
  };
  ASSERT_TRUE(connection_->Send({"GET", "x"}, call));
  Send("never");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 2; }));
  server_.Say("+OK\r\n+OK\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return called; }));
  loop_.Turn(false);
  EXPECT_TRUE(answers_.empty());
}

TEST_F(ConnectionTest, ACallerMayDestroyItWhileCallsAreFailed) {
  Connect();
  auto call = std::make_shared<CallState>();
  call->done = [&](const auto&) { connection_.reset(); };
  ASSERT_TRUE(connection_->Send({"GET", "x"}, call));
  Send("never");
  connection_->Close("test");
  TurnUntil(loop_, [&] { return connection_ == nullptr; });
  loop_.Turn(false);
  EXPECT_EQ(connection_, nullptr);
  EXPECT_TRUE(answers_.empty());
  EXPECT_TRUE(closed_.empty());
}

TEST_F(ConnectionTest, ANewCallFromAnAnswerGoesOut) {
  Connect();
  auto call = std::make_shared<CallState>();
  call->done = [&](const auto&) { Send("second"); };
  connection_->Send({"GET", "first"}, call);
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 1; }));
  server_.Say("+OK\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 2; }));
  server_.Say("$1\r\n2\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 1; }));
  EXPECT_EQ(answers_[0], "second=2");
}

TEST_F(ConnectionTest, HeldCallsGoOutWhenOpenedButNotThoseAlreadyLate) {
  server_.greets = false;
  connection_ = std::make_unique<Connection>(loop_, server_.address(), Connection::Limits{},
                                             Connection::Hooks{});
  Send("late", 10);
  PendingReply cancelled(Send("cancelled"));
  Send("kept");
  cancelled.Cancel();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 1; }));
  EXPECT_TRUE(server_.commands.empty());
  connection_->Open();
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !server_.commands.empty(); }));
  EXPECT_EQ(server_.commands, (Texts{"GET kept"}));
}

TEST_F(ConnectionTest, NoscriptIsAskedAgainWithTheTextInTheSameCall) {
  Connect();
  const Script script("return 1");
  auto call = std::make_shared<CallState>();
  call->script = &script;
  call->arguments.Key("k").Arg("v");
  call->done = [&](cache::Result<Reply> reply) {
    answers_.push_back(reply ? reply->text : reply.error().message);
  };
  ASSERT_TRUE(connection_->Send(call->arguments.EvalSha(script), call));
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 1; }));
  server_.Say("-NOSCRIPT No matching script.\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return server_.commands.size() == 2; }));
  EXPECT_EQ(server_.commands[1], "EVAL return 1 1 k v");
  server_.Say("-NOSCRIPT still not\r\n");
  ASSERT_TRUE(TurnUntil(loop_, [&] { return answers_.size() == 1; }));
  EXPECT_EQ(answers_[0], "NOSCRIPT still not");  // once is enough
}

TEST_F(ConnectionTest, ARefusedConnectIsTold) {
  net::Address nobody;
  {
    const FakeRedis gone(loop_);
    nobody = gone.address();
  }
  connection_ = std::make_unique<Connection>(
      loop_, nobody, Connection::Limits{},
      Connection::Hooks{.on_closed = [this](const std::string& why) { closed_.push_back(why); }});
  EXPECT_TRUE(closed_.empty());
  ASSERT_TRUE(TurnUntil(loop_, [&] { return !closed_.empty(); }));
  EXPECT_TRUE(closed_[0].starts_with("connect: ")) << closed_[0];
}

}  // namespace
}  // namespace satchel::redis
