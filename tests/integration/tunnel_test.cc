// Upgrade: after 101 the bytes belong to the two ends.

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

class TunnelTest : public ProxyTest {
 protected:
  void SetUp() override {
    // A server that answers in the spirit of WebSocket: what comes goes back in brackets.
    origin.On("/ws", [](OriginExchange& exchange) {
      if (!EqualsIgnoringCase(exchange.request().fields.Get("Upgrade"), "websocket")) {
        exchange.Respond({.status = 400, .body = "no upgrade"});
        return;
      }
      exchange.Close();
      exchange.Send(
          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Accept: x\r\n\r\nwelcome");
      for (std::string bytes = exchange.ReadRaw(); !bytes.empty(); bytes = exchange.ReadRaw()) {
        exchange.Send("[" + bytes + "]");
        if (bytes.ends_with("quit")) return;
      }
    });
    SatchelConfig config = Config();
    config.rules = "  - {name: all, match: {}, upstream: app, upgrade: [websocket]}\n";
    Start(config);
  }

  std::string Handshake() const {
    return Request("GET", "/ws",
                   {{"Connection", "keep-alive, Upgrade"},
                    {"Upgrade", "websocket"},
                    {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                    {"Sec-WebSocket-Version", "13"}});
  }
};

TEST_F(TunnelTest, BytesGoBothWaysAfter101) {
  RawClient client = satchel->Connect();
  client.Send(Handshake());
  Response response = client.ReadHead();
  ASSERT_EQ(response.status, 101) << Describe(response);
  EXPECT_TRUE(EqualsIgnoringCase(response.Get("Upgrade"), "websocket"));
  EXPECT_TRUE(EqualsIgnoringCase(response.Get("Connection"), "upgrade"));
  EXPECT_EQ(response.Get("Sec-WebSocket-Accept"), "x");
  EXPECT_EQ(client.ReadBytes(7), "welcome");
  // Bytes that a parser would choke on or take for a request.
  std::string bytes = std::string("\x81\x00\xff", 3) + "GET / HTTP/1.1\r\n\r\n";
  client.Send(bytes);
  EXPECT_EQ(client.ReadBytes(bytes.size() + 2), "[" + bytes + "]");
  EXPECT_EQ(origin.Last("/ws").fields.Get("Sec-WebSocket-Key"), "dGhlIHNhbXBsZSBub25jZQ==");
}

TEST_F(TunnelTest, BytesSentTogetherWithTheHandshakeReachTheTunnel) {
  RawClient client = satchel->Connect();
  client.Send(Handshake() + "early");
  ASSERT_EQ(client.ReadHead().status, 101);
  EXPECT_EQ(client.ReadBytes(14), "welcome[early]");
}

TEST_F(TunnelTest, TheOriginsEndEndsTheTunnel) {
  RawClient client = satchel->Connect();
  client.Send(Handshake());
  ASSERT_EQ(client.ReadHead().status, 101);
  client.Send("quit");
  EXPECT_EQ(client.ReadToEnd(), "welcome[quit]");
  EXPECT_TRUE(Eventually([&] { return origin.open_connections() == 0; }));
}

TEST_F(TunnelTest, TheClientsEndEndsTheTunnel) {
  RawClient client = satchel->Connect();
  client.Send(Handshake());
  ASSERT_EQ(client.ReadHead().status, 101);
  EXPECT_EQ(origin.open_connections(), 1u);
  client.Reset();
  EXPECT_TRUE(Eventually([&] { return origin.open_connections() == 0; }));
}

TEST_F(TunnelTest, AMegabyteEachWayArrivesUnchanged) {
  RawClient client = satchel->Connect();
  origin.On("/ws", [](OriginExchange& exchange) {
    exchange.Close();
    exchange.Send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    for (std::string bytes = exchange.ReadRaw(); !bytes.empty(); bytes = exchange.ReadRaw()) {
      exchange.Send(bytes);
    }
  });
  client.Send(Handshake());
  ASSERT_EQ(client.ReadHead().status, 101);
  std::string back;
  for (uint64_t at = 0; at < 1024 * 1024; at += 64 * 1024) {
    ASSERT_TRUE(client.Send(Pattern(at, 64 * 1024)));
    back += client.ReadBytes(64 * 1024);
  }
  EXPECT_TRUE(back == Pattern(0, 1024 * 1024));
}

TEST_F(TunnelTest, ARefusedUpgradeIsAnOrdinaryAnswer) {
  origin.On("/ws", {.status = 426, .body = "not here"});
  RawClient client = satchel->Connect();
  client.Send(Handshake());
  Response response = client.Read();
  EXPECT_EQ(response.status, 426) << Describe(response);
  EXPECT_EQ(response.body, "not here");
}

TEST_F(TunnelTest, OtherProtocolsAreNotAskedFor) {
  origin.On("/", {.body = "plain"});
  Response response = Get("/", {{"Connection", "Upgrade, HTTP2-Settings"},
                                {"Upgrade", "h2c"},
                                {"HTTP2-Settings", "AAMAAABkAAQAAP__"}});
  EXPECT_EQ(response.body, "plain") << Describe(response);
  EXPECT_FALSE(origin.Last("/").fields.Has("Upgrade"));
  EXPECT_FALSE(origin.Last("/").fields.Has("HTTP2-Settings"));
}

TEST_F(TunnelTest, AnUpgradeWithABodyIsRefused) {
  RawClient client = satchel->Connect();
  client.Send(
      "POST /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Content-Length: 4\r\n\r\nbody");
  Response response = client.Read("POST");
  EXPECT_EQ(response.status / 100, 4) << Describe(response);
  EXPECT_EQ(origin.RequestCount(), 0u);
}

TEST_F(TunnelTest, WithoutARuleThatAllowsItNoUpgradeIsForwarded) {
  satchel->Reload(Config());
  ASSERT_TRUE(Eventually([&] {
    return satchel->ReadMetrics().Sum("satchel_config_reloads_total", {"result=\"ok\""}) >= 1;
  }));
  RawClient client = satchel->Connect();
  client.Send(Handshake());
  EXPECT_EQ(client.Read().status, 400);  // what this origin says without the field
  EXPECT_FALSE(origin.Last("/ws").fields.Has("Upgrade"));
}

TEST_F(TunnelTest, ASwitchNobodyAskedForIsABadGateway) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n");
    exchange.WaitForPeerToLeave();
    exchange.Close();
  });
  EXPECT_EQ(Get("/").status, 502);
}

}  // namespace
}  // namespace satchel::testing
