// An origin that is away, slow, or dies: what the client sees, and what is never stored.

#include <csignal>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using UpstreamFailureTest = ProxyTest;

void ExpectProblem(const Response& response, int status) {
  ASSERT_EQ(response.status, status) << Describe(response);
  nlohmann::json problem = Problem(response);
  ASSERT_TRUE(problem.is_object()) << Describe(response);
  EXPECT_EQ(problem.value("status", 0), status) << response.body;
  EXPECT_FALSE(problem.value("title", "").empty()) << response.body;
  EXPECT_FALSE(problem.value("detail", "").empty()) << response.body;
  EXPECT_FALSE(problem.value("reason", "").empty()) << response.body;
}

TEST_F(UpstreamFailureTest, ARefusedConnectionIsABadGatewayWithAReason) {
  origin.Down();
  Start();
  RawClient client = satchel->Connect();
  Response response = client.Get("/");
  ExpectProblem(response, 502);
  // The client's connection is as good as before.
  ExpectProblem(client.Get("/"), 502);
  origin.Up();
  origin.On("/", {.body = "back"});
  EXPECT_TRUE(Eventually([&] { return Get("/").body == "back"; }));
}

TEST_F(UpstreamFailureTest, OurOwnErrorsLeaveTheConnectionInStep) {
  origin.Down();
  Start();
  RawClient client = satchel->Connect();
  Response head = client.Exchange("HEAD", "/");
  EXPECT_EQ(head.status, 502);
  Response post = client.Exchange("POST", "/", {}, std::string(5000, 'x'));
  EXPECT_EQ(post.status, 502) << Describe(post);
  if (post.Get("Connection") != "close") {
    EXPECT_EQ(client.Get("/").status, 502);
  }
  // A chunked upload whose end comes after the answer is no request of its own.
  RawClient late = satchel->Connect();
  late.Send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  Response early = late.Read("POST");
  EXPECT_EQ(early.status, 502) << Describe(early);
  late.Send("0\r\n\r\nGET /next HTTP/1.1\r\nHost: test\r\n\r\n");
  Response next = late.Read();
  EXPECT_TRUE(next.status == 502 || next.status == 0) << Describe(next);
}

TEST_F(UpstreamFailureTest, AConnectionResetBeforeTheAnswerIsABadGateway) {
  origin.On("/", [](OriginExchange& exchange) { exchange.Reset(); });
  Start();
  ExpectProblem(Send("POST", "/"), 502);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(UpstreamFailureTest, AConnectionClosedInsideTheHeadIsABadGateway) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send("HTTP/1.1 200 OK\r\nContent-Le");
    exchange.Close();
  });
  Start();
  ExpectProblem(Get("/"), 502);
}

TEST_F(UpstreamFailureTest, ASilentOriginIsAGatewayTimeoutAtItsDeadline) {
  origin.On("/", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  SatchelConfig config = Config();
  config.timeouts = "connect: 1s, first_byte: 300ms, idle: 5s";
  Start(config);
  auto began = std::chrono::steady_clock::now();
  ExpectProblem(Get("/"), 504);
  auto took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(took, std::chrono::milliseconds(250));
  EXPECT_LT(took, std::chrono::seconds(3));
  EXPECT_TRUE(Eventually([&] { return origin.open_connections() == 0; }));
}

TEST_F(UpstreamFailureTest, AnOriginThatStallsInTheBodyIsCutVisibly) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("01234");
    exchange.WaitForPeerToLeave();
  });
  SatchelConfig config = Config();
  config.timeouts = "connect: 1s, first_byte: 5s, idle: 400ms";
  Start(config);
  Response response = Get("/");
  EXPECT_EQ(response.status, 200);
  EXPECT_FALSE(response.complete);
  EXPECT_EQ(response.error.find("deadline"), std::string::npos) << Describe(response);
}

TEST_F(UpstreamFailureTest, ATotalDeadlineBoundsADrip) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Transfer-Encoding", "chunked"}});
    while (exchange.SendChunk("x")) PassTime(std::chrono::milliseconds(50));
  });
  SatchelConfig config = Config();
  config.timeouts = "connect: 1s, first_byte: 5s, idle: 5s, total: 800ms";
  Start(config);
  Response response = Get("/");
  EXPECT_EQ(response.status, 200);
  EXPECT_FALSE(response.complete);
  EXPECT_EQ(response.error.find("deadline"), std::string::npos) << Describe(response);
}

// Bodies cut short: before the client's eyes, and never from the store.
struct CutBody {
  const char* name;
  void (*send)(OriginExchange&);
};

class CutBodyTest : public ProxyTest, public ::testing::WithParamInterface<CutBody> {};

TEST_P(CutBodyTest, IsCutForTheClientAndNeverStored) {
  origin.Next("/", GetParam().send);
  origin.On("/", Fresh("whole"));
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  Response response = client.Read();
  if (response.status == 200) {
    EXPECT_FALSE(response.complete) << "silently completed: " << Describe(response);
    EXPECT_EQ(response.error.find("deadline"), std::string::npos)
        << "left hanging instead of cut: " << Describe(response);
    EXPECT_TRUE(client.ClosedByPeer());
  } else {
    EXPECT_EQ(response.status, 502) << Describe(response);
  }
  Response next = Get("/");
  EXPECT_EQ(next.body, "whole") << Describe(next);
  EXPECT_EQ(origin.RequestCount("/"), 2u);
}

// An answer on its way to one client may be stored all the same, where earlier ones of the URL
// could not be shared: if it is whole.
TEST_P(CutBodyTest, C2_IsNotStoredWhereItGoesAloneEither) {
  origin.Next("/", {.fields = {{"Cache-Control", "no-store"}}, .body = "mine"});
  origin.Next("/", GetParam().send);
  origin.On("/", Fresh("whole"));
  Start();
  EXPECT_EQ(Get("/").body, "mine");
  const Response cut = Get("/");
  EXPECT_FALSE(cut.status == 200 && cut.complete) << Describe(cut);
  EXPECT_EQ(Get("/").body, "whole");
  EXPECT_EQ(origin.RequestCount("/"), 3u);
}

const CutBody kCutBodies[] = {
    {"ShortOfItsLength",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Content-Length", "100"}, {"Cache-Control", "max-age=60"}});
       x.Send("only this");
       x.Close();
     }},
    {"ResetInTheMiddle",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Content-Length", "100"}, {"Cache-Control", "max-age=60"}});
       x.Send("only this");
       x.Reset();
     }},
    {"WithoutTheLastChunk",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
       x.SendChunk("only this");
       x.Close();
     }},
    {"InsideAChunk",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
       x.Send("100\r\nonly this");
       x.Close();
     }},
    {"WithABadChunkSize",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
       x.Send("4\r\ngood\r\nxyz\r\nbad\r\n0\r\n\r\n");
       x.Close();
     }},
    {"WithoutTheEndOfTheTrailers",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
       x.Send("4\r\ngood\r\n0\r\n");
       x.Close();
     }},
    {"ResetBeforeTheEndOfAnUnframedBody",
     [](OriginExchange& x) {
       x.SendHead(200, {{"Cache-Control", "max-age=60"}, {"Connection", "close"}});
       x.Send("only this");
       x.Reset();
     }},
};

INSTANTIATE_TEST_SUITE_P(Each, CutBodyTest, ::testing::ValuesIn(kCutBodies),
                         [](const auto& test) { return test.param.name; });

// A pooled connection may die in the very moment it is used again.
class DeadIdleConnectionTest : public ProxyTest {
 protected:
  void SetUp() override {
    // Dies on the second request of a connection, before any byte of an answer.
    origin.On("/", [this](OriginExchange& exchange) {
      if (!FirstTime(exchange.request().connection)) {
        exchange.Reset();
        return;
      }
      exchange.Respond({.body = "from " + std::to_string(exchange.request().connection)});
    });
    SatchelConfig config = Config();
    config.workers = "1";
    Start(config);
    ASSERT_EQ(Get("/").body, "from 1");
  }
  bool FirstTime(int connection) {
    std::lock_guard lock(mutex_);
    return seen_.insert(connection).second;
  }
  std::mutex mutex_;
  std::set<int> seen_;
};

TEST_F(DeadIdleConnectionTest, IsReplacedOnceForAnIdempotentRequest) {
  for (const char* method : {"GET", "PUT", "DELETE", "OPTIONS"}) {
    Response response = Send(method, "/");
    EXPECT_EQ(response.status, 200) << method << Describe(response);  // RFC 9110 9.2.2
  }
}

TEST_F(DeadIdleConnectionTest, IsNotTriedAgainForAPost) {
  Response response = Send("POST", "/", {}, "once");
  EXPECT_EQ(response.status, 502) << Describe(response);
  EXPECT_EQ(origin.RequestCount(), 2u);
}

TEST_F(UpstreamFailureTest, IdleConnectionsThatTheOriginClosedDoNotSurface) {
  origin.On("/", {.body = "x"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(Send("POST", "/").status, 200) << i;
    origin.CloseIdleConnections();
  }
  EXPECT_EQ(origin.RequestCount(), 20u);
}

TEST_F(UpstreamFailureTest, AnUnsolicitedAnswerOnAnIdleConnectionIsGivenToNobody) {
  origin.On("/first", [](OriginExchange& exchange) {
    exchange.Respond({.body = "first"});
    exchange.Hold("poison");
    exchange.Send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    exchange.Hold("keep");
  });
  origin.On("/second", {.body = "second"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  EXPECT_EQ(Send("POST", "/first").body, "first");
  origin.Release("poison");
  ASSERT_TRUE(origin.WaitUntilHeld("keep"));  // on loopback, what was sent has arrived
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Send("POST", "/second").body, "second");
  origin.Release("keep");
}

TEST_F(UpstreamFailureTest, AConnectionWithUnreadBytesIsNotUsed) {
  origin.On("/first", [](OriginExchange& exchange) {
    exchange.Respond({.body = "first"});
    exchange.Hold("poison");
    exchange.Send(
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nCache-Control: max-age=60\r\n\r\npoison");
    EXPECT_TRUE(Eventually([&] { return exchange.Delivered(); }));
    exchange.Hold("keep");
  });
  origin.On("/second", {.body = "second"});
  SatchelConfig config = Config();
  config.workers = "1";
  Start(config);
  RawClient client = satchel->Connect();
  EXPECT_EQ(client.Get("/first").body, "first");
  // Asleep, it finds both at once when it wakes, and the request first.
  satchel->process().Signal(SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return satchel->process().Stopped(); }));
  client.Send(Request("GET", "/second"));
  ASSERT_TRUE(Eventually([&] { return Delivered(client.fd()); }));
  origin.Release("poison");
  ASSERT_TRUE(origin.WaitUntilHeld("keep"));
  satchel->process().Signal(SIGCONT);
  EXPECT_EQ(client.Read().body, "second");
  EXPECT_EQ(Get("/second").body, "second");
  origin.Release("keep");
}

TEST_F(UpstreamFailureTest, AServerErrorPassesAndIsNotStoredWithoutALifetime) {
  origin.On("/", {.status = 500, .body = "oops"});
  Start();
  EXPECT_EQ(Get("/").status, 500);
  EXPECT_EQ(Get("/").body, "oops");
  EXPECT_EQ(origin.RequestCount("/"), 2u);
}

TEST_F(UpstreamFailureTest, AClientThatLeavesFreesTheOriginsConnection) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.Respond({.body = "x"});
  });
  origin.On("/post", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("POST", "/post"));
  ASSERT_TRUE(origin.WaitForRequests("/post", 1));
  client.Reset();
  EXPECT_TRUE(Eventually([&] { return origin.open_connections() == 0; }));
}

}  // namespace
}  // namespace satchel::testing
