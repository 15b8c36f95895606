// The instruments measured: the scriptable origin against the raw client, with nothing between.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include "tests/support/child_process.h"
#include "tests/support/concurrency.h"
#include "tests/support/origin.h"
#include "tests/support/raw_client.h"
#include "tests/support/redis_process.h"
#include "tests/support/satchel_process.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;

TEST(SupportTest, TheOriginAnswersAndRecordsWhatItWasAsked) {
  Origin origin;
  origin.On("/a", {.fields = {{"X-A", "1"}, {"X-A", "2"}}, .body = "hello"});
  Response response = Fetch(origin.address(), "POST", "/a?q=1", {{"X-B", "z"}}, "body");
  EXPECT_EQ(response.status, 200) << Describe(response);
  EXPECT_EQ(response.body, "hello");
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.fields.All("x-a"), (std::vector<std::string>{"1", "2"}));
  OriginRequest request = origin.Last("/a?q=1");
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.fields.Get("X-B"), "z");
  EXPECT_EQ(request.body, "body");
  EXPECT_TRUE(request.body_complete);
}

TEST(SupportTest, OneConnectionServesManyRequestsAndPipelines) {
  Origin origin;
  origin.On("/1", {.body = "one"});
  origin.On("/2", {.body = "two", .framing = Reply::Framing::kChunked, .trailers = {{"T", "v"}}});
  RawClient client(origin.address());
  client.Send(Request("GET", "/1") + Request("GET", "/2"));
  EXPECT_EQ(client.Read().body, "one");
  Response two = client.Read();
  EXPECT_EQ(two.body, "two");
  EXPECT_EQ(two.trailers.Get("t"), "v");
  EXPECT_EQ(client.Get("/1").body, "one");
  EXPECT_EQ(origin.accepted(), 1u);
}

TEST(SupportTest, QueuedAnswersComeBeforeTheStandingOne) {
  Origin origin;
  origin.On("/", {.body = "standing"});
  origin.Next("/", {.body = "first"});
  origin.Next("/", {.status = 503, .body = "second"});
  EXPECT_EQ(Fetch(origin.address(), "/").body, "first");
  EXPECT_EQ(Fetch(origin.address(), "/").status, 503);
  EXPECT_EQ(Fetch(origin.address(), "/").body, "standing");
}

TEST(SupportTest, ABarrierHoldsTheRestOfABodyBack) {
  Origin origin;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}});
    exchange.Send("01234");
    exchange.Hold("half");
    exchange.Send("56789");
  });
  RawClient client(origin.address());
  client.Send(Request("GET", "/"));
  Response response = client.ReadHead();
  ASSERT_TRUE(client.ReadBodyUntil(&response, 5)) << Describe(response);
  EXPECT_EQ(response.body, "01234");
  EXPECT_FALSE(response.complete);
  EXPECT_TRUE(origin.WaitUntilHeld("half"));
  EXPECT_TRUE(client.Silent(milliseconds(20)));
  origin.Release("half");
  EXPECT_TRUE(client.ReadBody(&response));
  EXPECT_EQ(response.body, "0123456789");
  EXPECT_TRUE(response.complete);
}

TEST(SupportTest, AShortBodyIsReportedIncomplete) {
  Origin origin;
  origin.On("/length", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}});
    exchange.Send("0123");
    exchange.Close();
  });
  origin.On("/chunked", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Transfer-Encoding", "chunked"}});
    exchange.SendChunk("0123");
    exchange.Reset();
  });
  for (const char* target : {"/length", "/chunked"}) {
    Response response = Fetch(origin.address(), target);
    EXPECT_EQ(response.status, 200);
    EXPECT_FALSE(response.complete) << target;
    EXPECT_FALSE(response.error.empty()) << target;
  }
}

TEST(SupportTest, InterimHeadsAreKeptApartFromTheFinalOne) {
  Origin origin;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(103, {{"Link", "</x>"}});
    exchange.Respond({.body = "done"});
  });
  Response response = Fetch(origin.address(), "/");
  ASSERT_EQ(response.interim.size(), 1u);
  EXPECT_EQ(response.interim[0].fields.Get("Link"), "</x>");
  EXPECT_EQ(response.fields.Has("Link"), false);
  EXPECT_EQ(response.body, "done");
}

TEST(SupportTest, TheOriginAsksForABodyThatWaitsFor100) {
  Origin origin;
  origin.On("/", {.body = "ok"});
  RawClient client(origin.address());
  client.Send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  Deadline deadline = Deadline::In(kPatience);
  ASSERT_TRUE(WaitFor(client.fd(), POLLIN, deadline));
  client.Send("abc");
  Response response = client.Read("PUT");
  ASSERT_EQ(response.interim.size(), 1u);
  EXPECT_EQ(response.interim[0].part[1], "100");
  EXPECT_EQ(origin.Last("/").body, "abc");
}

TEST(SupportTest, AnOriginCanGoDownAndComeBackAtTheSameAddress) {
  Origin origin;
  origin.On("/", {.body = "ok"});
  RawClient client(origin.address());
  EXPECT_EQ(client.Get("/").status, 200);
  origin.Down();
  EXPECT_TRUE(client.ClosedByPeer());
  EXPECT_FALSE(RawClient(origin.address()).connected());
  origin.Up();
  EXPECT_EQ(Fetch(origin.address(), "/").status, 200);
}

TEST(SupportTest, IdleConnectionsCloseAndOthersStay) {
  Origin origin;
  origin.On("/", {.body = "ok"});
  origin.On("/busy", [](OriginExchange& exchange) {
    exchange.Hold("busy");
    exchange.Respond({.body = "late"});
  });
  RawClient idle(origin.address());
  EXPECT_EQ(idle.Get("/").status, 200);
  RawClient busy(origin.address());
  busy.Send(Request("GET", "/busy"));
  ASSERT_TRUE(origin.WaitUntilHeld("busy"));
  origin.CloseIdleConnections();
  EXPECT_TRUE(idle.ClosedByPeer());
  origin.Release("busy");
  EXPECT_EQ(busy.Read().body, "late");
}

TEST(SupportTest, UnixSocketsAndIpv6Work) {
  TempDir dir;
  Origin by_path("unix:" + dir.path("o.sock"));
  by_path.On("/", {.body = "path"});
  EXPECT_EQ(Fetch(by_path.address(), "/").body, "path");
  Origin by_six("[::1]:0");
  by_six.On("/", {.body = "six"});
  EXPECT_EQ(Fetch(by_six.address(), "/").body, "six");
}

TEST(SupportTest, ALargePatternCrossesUnchanged) {
  Origin origin;
  constexpr uint64_t kSize = 8 * 1024 * 1024 + 17;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", std::to_string(kSize)}});
    exchange.SendPattern(0, kSize);
  });
  Response response = Fetch(origin.address(), "/");
  EXPECT_TRUE(response.complete);
  EXPECT_TRUE(response.body == Pattern(0, kSize));
  EXPECT_NE(Pattern(0, 1000), Pattern(1, 1000));
}

TEST(SupportTest, ManyClientsAtOnceAreCountedExactly) {
  Origin origin;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Respond({.body = "x"});
  });
  std::atomic<int> good = 0;
  std::thread releaser([&] {
    origin.WaitUntilHeld("all", 100);
    origin.Release("all");
  });
  RunTogether(100, [&](size_t) { good += Fetch(origin.address(), "/").status == 200; });
  releaser.join();
  EXPECT_EQ(good, 100);
  EXPECT_EQ(origin.RequestCount(), 100u);
}

TEST(SupportTest, AReservedPortIsGivenToNobodyElse) {
  PortReservation mine;
  std::vector<PortReservation> others(200);
  for (const PortReservation& other : others) EXPECT_NE(other.port(), mine.port());
  EXPECT_TRUE(ListenOn(mine.address()));
  EXPECT_FALSE(RawClient(mine.address()).connected());
}

TEST(SupportTest, AChildsOutputAndEndAreSeen) {
  CommandResult result = RunCommand({"/bin/sh", "-c", "echo out; echo $X >&2; exit 3"}, {"X=err"});
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
  ChildProcess sleeper({"/bin/sleep", "100"});
  EXPECT_TRUE(sleeper.Running());
  EXPECT_GT(sleeper.OpenDescriptors(), 0u);
  EXPECT_GT(sleeper.ResidentBytes(), 0u);
  sleeper.Signal(SIGTERM);
  EXPECT_EQ(sleeper.WaitForExit(), 128 + SIGTERM);
}

TEST(SupportTest, RedisStopsHangsAndComesBack) {
  RedisProcess redis;
  EXPECT_EQ(redis.Command({"SET", "k", "v"}), "OK");
  EXPECT_EQ(redis.Keys(), std::vector<std::string>{"k"});
  EXPECT_NE(redis.Dump().find("v"), std::string::npos);
  EXPECT_EQ(redis.Calls("set"), 1);
  redis.Pause();
  RawClient held(redis.address());
  EXPECT_TRUE(held.connected());
  held.Send("PING\r\n");
  EXPECT_TRUE(held.Silent(milliseconds(50)));
  redis.Continue();
  EXPECT_EQ(held.ReadBytes(7), "+PONG\r\n");
  redis.Kill();
  EXPECT_FALSE(RawClient(redis.address()).connected());
  redis.Restart();
  EXPECT_EQ(redis.Command({"GET", "k"}), "");
}

TEST(SupportTest, MetricsAreSummedByNameAndLabel) {
  Metrics metrics("# HELP x\nx_total{a=\"1\",b=\"2\"} 3\nx_total{a=\"2\",b=\"2\"} 4\ny 1.5\n");
  EXPECT_EQ(metrics.Sum("x_total"), 7);
  EXPECT_EQ(metrics.Sum("x_total", {"a=\"2\""}), 4);
  EXPECT_EQ(metrics.Sum("y"), 1.5);
  EXPECT_TRUE(metrics.Has("x_total"));
  EXPECT_FALSE(metrics.Has("x"));
}

}  // namespace
}  // namespace satchel::testing
