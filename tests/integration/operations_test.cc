// Running it: start, admin listener, logs, metrics, drain.

#include <signal.h>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;
using OperationsTest = ProxyTest;

TEST_F(OperationsTest, WithoutAFileItIsACacheBeforeOneServer) {
  origin.On("/", Fresh("x"));
  PortReservation listen;
  PortReservation admin;
  ChildProcess process({SatchelBinary(), "run", "--listen", listen.address(), "--upstream",
                        origin.address(), "--admin", admin.address()});
  EXPECT_TRUE(Eventually([&] { return Fetch(listen.address(), "/").body == "x"; }))
      << process.err();
  EXPECT_TRUE(CacheStatus(Fetch(listen.address(), "/")).hit());
  EXPECT_EQ(origin.RequestCount(), 1u);
  process.Signal(SIGTERM);
  EXPECT_EQ(process.WaitForExit(), 0) << process.err();
}

TEST_F(OperationsTest, TheSmallestFileIsEnough) {
  origin.On("/", {.body = "x"});
  SatchelProcess process(
      "version: 1\n"
      "listeners: [{name: web, address: \"{listen}\"}]\n"
      "upstreams: {app: {servers: [\"" +
          origin.address() +
          "\"]}}\n"
          "admin: {address: \"{admin}\"}\n"
          "shutdown: {not_ready_for: 0s}\n",
      {});
  EXPECT_EQ(process.Get("/").body, "x");
}

TEST_F(OperationsTest, TheAdminListenerAnswersItsFourQuestions) {
  origin.On("/", Fresh("x"));
  Start();
  Get("/");
  EXPECT_EQ(satchel->Admin("/healthz").status, 200);
  EXPECT_EQ(satchel->Admin("/readyz").status, 200);
  Response metrics = satchel->Admin("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_THAT(metrics.Get("Content-Type"), HasSubstr("text/plain"));
  EXPECT_THAT(metrics.body, HasSubstr("# TYPE satchel_requests_total counter"));
  Response status = satchel->Admin("/status");
  EXPECT_THAT(status.Get("Content-Type"), HasSubstr("application/json"));
  EXPECT_TRUE(nlohmann::json::parse(status.body, nullptr, false).is_object()) << status.body;
  EXPECT_EQ(satchel->Admin("/nothing").status, 404);
  EXPECT_EQ(Fetch(satchel->admin(), "POST", "/metrics", {{"Host", satchel->admin()}}).status, 405);
  // A name of somebody else's may point here (DNS rebinding): it learns nothing.
  EXPECT_EQ(satchel->Admin("/status", {{"Host", "evil.example"}}).status, 403);
  // Never on the public listener.
  EXPECT_EQ(Get("/metrics").status, 404);
  EXPECT_EQ(origin.RequestCount("/metrics"), 1u);
}

TEST_F(OperationsTest, MetricsCountRequestsByOutcome) {
  origin.On("/", Fresh("12345"));
  origin.On("/stale", StaleSince(5, "x", "stale-while-revalidate=600"));
  origin.On("/tag", StaleSince(5, "x", "", {{"ETag", "\"1\""}}));
  Start();
  Get("/");
  for (int i = 0; i < 3; ++i) Get("/");
  Send("POST", "/other");
  Get("/stale");
  Get("/stale");
  Get("/tag");
  origin.On("/tag", {.status = 304, .fields = {{"ETag", "\"1\""}}});
  Get("/tag");
  RawClient bad = satchel->Connect();
  bad.Send("GET / HTTP/1.1\r\n\r\n");
  bad.Read();
  origin.Down();
  Get("/error");
  auto outcome = [&](const std::string& word) {
    return satchel->ReadMetrics().Sum("satchel_requests_total", {"outcome=\"" + word + "\""});
  };
  EXPECT_TRUE(Eventually([&] { return outcome("error") == 1; }));
  EXPECT_EQ(outcome("hit"), 3);
  EXPECT_EQ(outcome("miss"), 3);
  EXPECT_EQ(outcome("bypass"), 1);
  EXPECT_EQ(outcome("stale"), 1);
  EXPECT_EQ(outcome("revalidated"), 1);
  EXPECT_EQ(outcome("refused"), 1);
  Metrics metrics = satchel->ReadMetrics();
  EXPECT_EQ(metrics.Sum("satchel_tier_lookups_total", {"tier=\"l1\"", "result=\"hit\""}) >= 3,
            true);
  EXPECT_EQ(metrics.Sum("satchel_request_duration_seconds_count"),
            metrics.Sum("satchel_requests_total"));
  EXPECT_GT(metrics.Sum("satchel_client_sent_bytes_total"), 100);
  EXPECT_GE(metrics.Sum("satchel_l1_objects"), 2);
  EXPECT_GT(metrics.Sum("satchel_l1_bytes"), 0);
  EXPECT_LE(metrics.Sum("satchel_l1_bytes"), metrics.Sum("satchel_l1_capacity_bytes"));
  EXPECT_EQ(metrics.Sum("satchel_config_last_reload_successful"), 1);
}

TEST_F(OperationsTest, EveryExchangeIsOneJsonLineOnStdout) {
  origin.On("/page", Fresh("12345"));
  Start();
  Get("/page?a=1", {{"Host", "shop.example"}, {"User-Agent", "test \"quoted\" \\ \x7e"}});
  Get("/page?a=1", {{"Host", "shop.example"}});
  auto miss = satchel->WaitForLogEntry({{"target", "/page?a=1"}, {"cache", "miss"}});
  ASSERT_TRUE(miss) << satchel->process().out();
  EXPECT_EQ(miss->value("method", ""), "GET");
  EXPECT_EQ(miss->value("status", 0), 200);
  EXPECT_EQ(miss->value("host", ""), "shop.example");
  EXPECT_EQ(miss->value("client", ""), "127.0.0.1");
  EXPECT_EQ(miss->value("protocol", ""), "HTTP/1.1");
  EXPECT_EQ(miss->value("user_agent", ""), "test \"quoted\" \\ ~");
  EXPECT_EQ(miss->value("upstream", ""), "app");
  EXPECT_EQ(miss->value("upstream_address", ""), origin.address());
  EXPECT_EQ(miss->value("upstream_status", 0), 200);
  EXPECT_GT(miss->value("bytes_out", 0), 5);
  EXPECT_GE(miss->value("duration_us", -1), 0);
  EXPECT_FALSE(miss->value("time", "").empty());
  auto hit = satchel->WaitForLogEntry({{"target", "/page?a=1"}, {"cache", "hit"}});
  ASSERT_TRUE(hit);
  EXPECT_EQ(hit->value("tier", ""), "l1");
  EXPECT_EQ(hit->value("reason", ""), "fresh");
  EXPECT_FALSE(hit->contains("upstream_address"));
}

TEST_F(OperationsTest, FailuresAreLoggedWithTheirReason) {
  origin.On("/cut", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "100"}});
    exchange.Send("x");
    exchange.Close();
  });
  origin.On("/slow", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  Start();
  Get("/cut");
  auto cut = satchel->WaitForLogEntry({{"target", "/cut"}, {"cache", "error"}});
  ASSERT_TRUE(cut) << satchel->process().out();
  EXPECT_FALSE(cut->value("error", "").empty());
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/slow"));
  ASSERT_TRUE(origin.WaitForRequests("/slow", 1));
  client.Reset();
  EXPECT_TRUE(satchel->WaitForLogEntry({{"target", "/slow"}, {"cache", "aborted"}}))
      << satchel->process().out();
  origin.Down();
  Get("/down");
  EXPECT_TRUE(satchel->WaitForLogEntry({{"target", "/down"}, {"cache", "error"}, {"status", 502}}));
}

TEST_F(OperationsTest, SecretsStayOutOfTheLog) {
  origin.On("/", {.body = "x"});
  Start();
  Get("/?X-API-Key=hunter2&b=1",
      {{"Authorization", "Basic hunter2"}, {"Cookie", "sid=hunter2"}, {"X-API-Key", "hunter2"}});
  ASSERT_TRUE(satchel->WaitForLogEntry({{"status", 200}}));
  EXPECT_EQ(satchel->process().out().find("hunter2"), std::string::npos);
  EXPECT_EQ(satchel->process().err().find("hunter2"), std::string::npos);
}

TEST_F(OperationsTest, AStdoutNobodyReadsBlocksNobody) {
  origin.On("/", Fresh("x"));
  TempDir dir;
  PortReservation listen;
  PortReservation admin;
  std::string path = dir.Write("c.yaml", Config().Yaml(listen.address(), admin.address()));
  ChildProcess process({SatchelBinary(), "run", "-c", path}, {}, "",
                       ChildProcess::Output::kHeldBack);
  ASSERT_TRUE(Eventually([&] { return Fetch(listen.address(), "/").body == "x"; }));
  RawClient client(listen.address());
  std::string long_target = "/?" + std::string(1000, 'a');
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(client.Get(long_target).status, 200) << i;
  client.Close();
  process.Signal(SIGTERM);
  EXPECT_EQ(process.WaitForExit(), 0) << process.err();
}

TEST_F(OperationsTest, SigtermDrainsAndExitsClean) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}});
    exchange.Send("01234");
    exchange.Hold("rest");
    exchange.Send("56789");
  });
  origin.On("/quick", {.body = "q"});
  SatchelConfig config = Config();
  config.shutdown = "not_ready_for: 1s, drain: 20s";
  Start(config);
  RawClient idle = satchel->Connect();
  EXPECT_EQ(idle.Get("/quick").status, 200);
  RawClient busy = satchel->Connect();
  busy.Send(Request("GET", "/"));
  Response response = busy.ReadHead();
  ASSERT_TRUE(busy.ReadBodyUntil(&response, 5));
  satchel->process().Signal(SIGTERM);
  // First it says that it is not ready, and still serves who comes.
  EXPECT_TRUE(Eventually([&] { return satchel->Admin("/readyz").status == 503; }));
  EXPECT_EQ(satchel->Admin("/healthz").status, 200);
  EXPECT_EQ(Get("/quick").body, "q");
  // Then it accepts no more, and waits for what is in flight.
  EXPECT_TRUE(Eventually([&] { return !RawClient(satchel->address()).connected(); }));
  EXPECT_TRUE(satchel->process().Running());
  EXPECT_TRUE(idle.ClosedByPeer());
  origin.Release("rest");
  EXPECT_TRUE(busy.ReadBody(&response));
  EXPECT_EQ(response.body, "0123456789");
  EXPECT_EQ(satchel->process().WaitForExit(), 0) << satchel->process().err();
}

TEST_F(OperationsTest, ADrainEndsAtItsDeadline) {
  origin.On("/", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  SatchelConfig config = Config();
  config.shutdown = "not_ready_for: 0s, drain: 1s";
  Start(config);
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitForRequests(1));
  auto began = std::chrono::steady_clock::now();
  satchel->process().Signal(SIGTERM);
  EXPECT_TRUE(satchel->process().WaitForExit().has_value());
  auto took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(took, std::chrono::milliseconds(900));
  EXPECT_LT(took, std::chrono::seconds(6));
  satchel->ExpectNoCleanExit();
}

TEST_F(OperationsTest, AnswersDuringTheDrainCloseTheirConnection) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.Respond({.body = "x"});
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  satchel->process().Signal(SIGTERM);
  EXPECT_TRUE(Eventually([&] { return !RawClient(satchel->address()).connected(); }));
  origin.Release("head");
  Response response = client.Read();
  EXPECT_EQ(response.body, "x");
  EXPECT_THAT(response.Get("Connection"), HasSubstr("close"));
  EXPECT_EQ(satchel->process().WaitForExit(), 0);
}

TEST_F(OperationsTest, AnAddressThatCannotBeHadIsSaidAndFails) {
  PortReservation admin;
  TempDir dir;
  // An address of the documentation range (RFC 5737) belongs to no interface.
  std::string path = dir.Write("c.yaml", Config().Yaml("192.0.2.1:8080", admin.address()));
  CommandResult result = RunSatchel({"run", "-c", path});
  EXPECT_GT(result.status, 0);
  EXPECT_LT(result.status, 128);
  EXPECT_THAT(result.err + result.out, HasSubstr("192.0.2.1:8080"));
}

TEST_F(OperationsTest, TheAdminTokenIsAskedFor) {
  SatchelProcess process(
      "version: 1\nlisteners: [{name: web, address: \"{listen}\"}]\n"
      "upstreams: {app: {servers: [\"" +
          origin.address() +
          "\"]}}\n"
          "admin: {address: \"{admin}\", token: s3cret}\nshutdown: {not_ready_for: 0s}\n",
      {});
  EXPECT_EQ(process.Admin("/readyz").status, 200);  // probes carry no token
  EXPECT_EQ(process.Admin("/metrics").status, 401);
  EXPECT_EQ(process.Admin("/status", {{"Authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(process.Admin("/metrics", {{"Authorization", "Bearer s3cret"}}).status, 200);
  Response status = process.Admin("/status", {{"Authorization", "Bearer s3cret"}});
  EXPECT_EQ(status.status, 200);
  EXPECT_EQ(status.body.find("s3cret"), std::string::npos);
}

TEST_F(OperationsTest, VersionAndHelpAreThere) {
  CommandResult version = RunSatchel({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, ::testing::ContainsRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  CommandResult help = RunSatchel({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* word : {"run", "check", "satchel run --listen", "--upstream"}) {
    EXPECT_THAT(help.out, HasSubstr(word));
  }
  EXPECT_EQ(RunSatchel({"run", "--help"}).status, 0);
  CommandResult unknown = RunSatchel({"frobnicate"});
  EXPECT_NE(unknown.status, 0);
  EXPECT_FALSE((unknown.err + unknown.out).empty());
}

}  // namespace
}  // namespace satchel::testing
