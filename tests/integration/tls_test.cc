// TLS on listeners and towards origins: handshakes, certificates, and the ends of bodies.

#include "tests/support/tls.h"

#include <openssl/ssl.h>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using std::chrono::milliseconds;

constexpr size_t kMiB = 1024 * 1024;

class TlsTest : public ProxyTest {
 protected:
  static std::string Files(const Certificate& certificate) {
    return "{cert: \"" + certificate.cert + "\", key: \"" + certificate.key + "\"}";
  }
  // The listener's key, for these certificates.
  static std::string Tls(const std::vector<Certificate>& certificates,
                         const std::string& more = "") {
    std::string list;
    for (const Certificate& certificate : certificates) {
      list += (list.empty() ? "" : ", ") + Files(certificate);
    }
    return "tls: {certificates: [" + list + "]" + more + "}";
  }
  SatchelConfig TlsConfig(const std::string& more = "") {
    SatchelConfig config = Config();
    config.listener = Tls({own}) + more;
    return config;
  }
  // A way in for clients that speak no TLS.
  std::unique_ptr<TlsRelay> Entrance(TlsSettings settings = {}) {
    return std::make_unique<TlsRelay>(TlsRelay::Role::kClient, satchel->address(), settings);
  }
  Handshake Try(const TlsSettings& settings = {}) {
    return TryHandshake(satchel->address(), settings);
  }
  double Handshakes() { return satchel->ReadMetrics().Sum("satchel_tls_handshakes_total"); }
  double FailedHandshakes() {
    return satchel->ReadMetrics().Sum("satchel_tls_handshake_errors_total");
  }
  double Reloads(const std::string& result) {
    return satchel->ReadMetrics().Sum("satchel_config_reloads_total", {"result=\"" + result + "\""});
  }

  TempDir dir;
  CertificateAuthority authority{dir, "authority"};
  Certificate own = authority.Issue("own", {"DNS:own.test"});
};

TEST_F(TlsTest, BothVersionsCarryAMissAndAHit) {
  origin.On("/12", Fresh("twelve"));
  origin.On("/13", Fresh("thirteen"));
  Start(TlsConfig());
  EXPECT_EQ(Try({.max_version = TLS1_2_VERSION}).version, "TLSv1.2");
  EXPECT_EQ(Try().version, "TLSv1.3");
  struct {
    int version;
    const char* target;
    const char* body;
  } cases[] = {{TLS1_2_VERSION, "/12", "twelve"}, {TLS1_3_VERSION, "/13", "thirteen"}};
  for (const auto& each : cases) {
    auto entrance = Entrance({.max_version = each.version});
    RawClient client(entrance->address());
    for (bool hit : {false, true}) {
      Response response = client.Get(each.target);
      EXPECT_EQ(response.body, each.body) << Describe(response);
      EXPECT_EQ(CacheStatus(response).hit(), hit) << Describe(response);
    }
    EXPECT_EQ(origin.RequestCount(each.target), 1u);
  }
  EXPECT_EQ(Handshakes(), 4);
  EXPECT_EQ(FailedHandshakes(), 0);
}

TEST_F(TlsTest, AMinimumOf13Refuses12) {
  SatchelConfig config = Config();
  config.listener = Tls({own}, ", min_version: \"1.3\"");
  Start(config);
  Handshake old = Try({.max_version = TLS1_2_VERSION});
  EXPECT_FALSE(old.done);
  EXPECT_THAT(old.error, HasSubstr("protocol version"));
  EXPECT_TRUE(Eventually([&] { return FailedHandshakes() == 1; }));
  EXPECT_EQ(Try().version, "TLSv1.3");
}

TEST_F(TlsTest, VersionsBefore12AreRefused) {
  Start(TlsConfig());
  EXPECT_FALSE(Try({.max_version = TLS1_1_VERSION}).done);
  EXPECT_TRUE(Try().done);
}

TEST_F(TlsTest, TheNamePicksTheCertificate) {
  Certificate first = authority.Issue("first", {"DNS:first.test"});
  Certificate second = authority.Issue("second", {"DNS:other.test", "DNS:second.test"});
  Certificate wild = authority.Issue("wild", {"DNS:*.wild.test"});
  SatchelConfig config = Config();
  config.listener = Tls({first, second, wild});
  Start(config);
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto subject = [&](const std::string& name) {
      return Try({.sni = name, .max_version = version}).subject;
    };
    EXPECT_EQ(subject("first.test"), "first");
    EXPECT_EQ(subject("second.test"), "second");
    EXPECT_EQ(subject("SECOND.Test"), "second");
    EXPECT_EQ(subject("other.test"), "second");
    EXPECT_EQ(subject("a.wild.test"), "wild");
    // A wildcard stands for one label, neither none nor two (RFC 6125 6.4.3).
    EXPECT_EQ(subject("wild.test"), "first");
    EXPECT_EQ(subject("a.b.wild.test"), "first");
    EXPECT_EQ(subject("unknown.test"), "first");
    EXPECT_EQ(subject(""), "first");
  }
}

TEST_F(TlsTest, Http11IsChosenAndNothingElseIsOffered) {
  Certificate second = authority.Issue("second", {"DNS:second.test"});
  SatchelConfig config = Config();
  config.listener = Tls({own, second});
  Start(config);
  for (const char* name : {"own.test", "second.test"}) {
    Handshake both = Try({.sni = name, .alpn = {"h2", "http/1.1"}});
    EXPECT_TRUE(both.done) << both.error;
    EXPECT_EQ(both.alpn, "http/1.1");
    Handshake none = Try({.sni = name});
    EXPECT_TRUE(none.done) << none.error;
    EXPECT_EQ(none.alpn, "");
    Handshake h2 = Try({.sni = name, .alpn = {"h2"}});
    EXPECT_FALSE(h2.done);
    EXPECT_THAT(h2.error, HasSubstr("no application protocol"));  // RFC 7301 3.2
  }
}

TEST_F(TlsTest, TheSchemeIsPartOfTheKeyAndIsForwarded) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().fields.Get("X-Forwarded-Proto")));
  });
  PortReservation port;
  SatchelConfig config = Config();
  config.more_listeners =
      ", {name: secure, address: \"" + port.address() + "\", " + Tls({own}) + "}";
  Start(config);
  TlsRelay entrance(TlsRelay::Role::kClient, port.address());
  for (bool hit : {false, true}) {
    Response plain = Get("/");
    EXPECT_EQ(plain.body, "http") << Describe(plain);
    EXPECT_EQ(CacheStatus(plain).hit(), hit) << Describe(plain);
    Response secure = Fetch(entrance.address(), "/");
    EXPECT_EQ(secure.body, "https") << Describe(secure);
    EXPECT_EQ(CacheStatus(secure).hit(), hit) << Describe(secure);
  }
  ASSERT_EQ(origin.RequestCount(), 2u);
  // A client's own word about it is not believed.
  Response forged = Fetch(entrance.address(), "/other", {{"X-Forwarded-Proto", "http"}});
  OriginRequest request = origin.Last("/other");
  EXPECT_EQ(request.fields.Joined("X-Forwarded-Proto"), "https") << request.raw_head;
  if (request.fields.Has("Forwarded")) {
    EXPECT_THAT(request.fields.Joined("Forwarded"), HasSubstr("proto=https"));
  }
}

TEST_F(TlsTest, ABigBodyReachesASlowReaderWhole) {
  const std::string body = Pattern(0, kMiB);
  origin.On("/", Fresh(body));
  Start(TlsConfig());
  auto entrance = Entrance();
  for (bool hit : {false, true}) {
    RawClient client(entrance->address(), /*receive_buffer=*/4096);
    client.Send(Request("GET", "/"));
    Response response = client.ReadHead();
    EXPECT_EQ(CacheStatus(response).hit(), hit) << Describe(response);
    for (uint64_t size = 1; size < kMiB; size += 65521) {
      ASSERT_TRUE(client.ReadBodyUntil(&response, size)) << response.error;
      PassTime(milliseconds(5));
    }
    ASSERT_TRUE(client.ReadBody(&response)) << response.error;
    EXPECT_TRUE(response.complete);
    EXPECT_TRUE(response.body == body);
  }
}

TEST_F(TlsTest, ABigUploadArrivesWhole) {
  origin.On("/", {.body = "taken"});
  Start(TlsConfig());
  auto entrance = Entrance();
  const std::string body = Pattern(0, 3 * kMiB, 5);
  EXPECT_EQ(Fetch(entrance->address(), "PUT", "/", {}, body).body, "taken");
  EXPECT_TRUE(origin.Last("/").body == body);
}

TEST_F(TlsTest, PipelinedRequestsAreAnsweredInOrder) {
  Start(TlsConfig());
  const std::string big = Pattern(0, 100'000, 3);
  std::string wire;
  for (int i = 0; i < 30; ++i) {
    const std::string target = "/" + std::to_string(i);
    origin.On(target, Fresh(target + big));
    wire += Request("GET", target);
  }
  auto entrance = Entrance();
  for (bool hit : {false, true}) {
    RawClient client(entrance->address());
    ASSERT_TRUE(client.Send(wire));
    for (int i = 0; i < 30; ++i) {
      Response response = client.Read();
      ASSERT_TRUE(response.body == "/" + std::to_string(i) + big) << i << " " << Describe(response);
      EXPECT_EQ(CacheStatus(response).hit(), hit) << i;
    }
  }
  EXPECT_EQ(Handshakes(), 2);
}

TEST_F(TlsTest, PlainHttpOnATlsPortIsClosedAndOthersGoOn) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = TlsConfig();
  config.workers = "1";
  Start(config);
  auto entrance = Entrance();
  RawClient good(entrance->address());
  EXPECT_EQ(good.Get("/").body, "x");
  RawClient plain = satchel->Connect();
  plain.Send(Request("GET", "/"));
  EXPECT_THAT(plain.ReadToEnd(milliseconds(5000)), Not(HasSubstr("HTTP/1.")));
  EXPECT_TRUE(plain.ClosedByPeer(milliseconds(0)) || plain.ClosedByPeer(milliseconds(1000)));
  EXPECT_EQ(FailedHandshakes(), 1);
  EXPECT_EQ(good.Get("/").body, "x");
  EXPECT_TRUE(Try().done);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(TlsTest, AHalfDoneHandshakeEndsAtTheHeaderTimeoutAndKeepsNobodyOut) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = TlsConfig(", header_timeout: 1s");
  config.workers = "1";
  Start(config);
  const auto began = std::chrono::steady_clock::now();
  RawClient silent = satchel->Connect();
  RawClient half = satchel->Connect();
  // The first bytes of a ClientHello of 512 bytes.
  ASSERT_TRUE(half.Send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)));
  auto entrance = Entrance();
  EXPECT_EQ(Fetch(entrance->address(), "/").body, "x");
  EXPECT_TRUE(half.ClosedByPeer(milliseconds(5000)));
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(900));
  EXPECT_TRUE(silent.ClosedByPeer(milliseconds(5000)));
  EXPECT_EQ(Fetch(entrance->address(), "/").body, "x");
}

TEST_F(TlsTest, AClientThatLeavesInTheMiddleOfABodyHurtsNobody) {
  origin.On("/big", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Cache-Control", "no-store"},
                            {"Content-Length", std::to_string(1024 * kMiB)}});
    exchange.SendPattern(0, 1024 * kMiB);
  });
  origin.On("/", Fresh("x"));
  SatchelConfig config = TlsConfig();
  config.workers = "1";
  Start(config);
  auto entrance = Entrance();
  RawClient reset(entrance->address());
  RawClient close(entrance->address());
  for (RawClient* client : {&reset, &close}) {
    client->KeepAtMost(0);
    client->Send(Request("GET", "/big"));
    Response response = client->ReadHead();
    ASSERT_TRUE(client->ReadBodyUntil(&response, kMiB)) << Describe(response);
  }
  reset.Reset();
  close.Close();
  // Both transfers are given up, the origin's as well.
  EXPECT_TRUE(entrance->WaitForEnded(2));
  EXPECT_TRUE(Eventually([&] { return origin.open_connections() == 0; }));
  EXPECT_EQ(Fetch(entrance->address(), "/").body, "x");
}

TEST_F(TlsTest, OurOwnEndIsAnOrderlyOne) {
  origin.On("/", Fresh("x"));
  Start(TlsConfig());
  auto entrance = Entrance();
  RawClient client(entrance->address());
  EXPECT_EQ(client.Get("/", {{"Connection", "close"}}).body, "x");
  EXPECT_TRUE(client.ClosedByPeer());
  client.Close();
  ASSERT_TRUE(entrance->WaitForEnded(1));
  EXPECT_TRUE(entrance->ended()[0].orderly);  // close_notify (RFC 8446 6.1)
}

TEST_F(TlsTest, ABodyCutByTheOriginIsNoOrderlyEnd) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\npart");
    exchange.Hold("cut");
    exchange.Reset();
  });
  Start(TlsConfig());
  auto entrance = Entrance();
  RawClient client(entrance->address());
  client.Send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
  Response response = client.ReadHead();
  ASSERT_TRUE(client.ReadBodyUntil(&response, 4)) << Describe(response);
  origin.Release("cut");
  EXPECT_FALSE(client.ReadBody(&response));
  ASSERT_TRUE(entrance->WaitForEnded(1));
  EXPECT_FALSE(entrance->ended()[0].orderly);
}

class TlsFilesTest : public TlsTest {
 protected:
  // What `check` and `run` say about a listener with these files.
  void ExpectRefused(const Certificate& files, const std::vector<std::string>& words) {
    SatchelConfig config = Config();
    config.listener = Tls({own, files});
    const std::string path = dir.Write("c.yaml", config.Yaml("127.0.0.1:0", "127.0.0.1:0"));
    for (const char* command : {"check", "run"}) {
      std::vector<std::string> arguments = {command};
      if (std::string(command) == "run") arguments.push_back("-c");
      arguments.push_back(path);
      CommandResult result = RunSatchel(arguments);
      EXPECT_GT(result.status, 0) << command;
      EXPECT_LT(result.status, 128) << command;
      for (const std::string& word : words) {
        EXPECT_THAT(result.out + result.err, HasSubstr(word)) << command;
      }
    }
  }
};

TEST_F(TlsFilesTest, GoodFilesPassTheCheck) {
  SatchelConfig config = TlsConfig();
  const std::string path = dir.Write("c.yaml", config.Yaml("127.0.0.1:0", "127.0.0.1:0"));
  CommandResult result = RunSatchel({"check", path});
  EXPECT_EQ(result.status, 0) << result.out << result.err;
}

TEST_F(TlsFilesTest, AMissingCertificateIsNamed) {
  ExpectRefused({dir.path("none.crt"), own.key}, {dir.path("none.crt"), "No such file"});
}

TEST_F(TlsFilesTest, AMissingKeyIsNamed) {
  ExpectRefused({own.cert, dir.path("none.key")}, {dir.path("none.key"), "No such file"});
}

TEST_F(TlsFilesTest, AKeyOfAnotherCertificateIsNamed) {
  Certificate other = authority.Issue("other", {});
  ExpectRefused({own.cert, other.key}, {other.key, own.cert, "key values mismatch"});
}

TEST_F(TlsFilesTest, WhatIsNoCertificateIsNamed) {
  const std::string text = dir.Write("text.crt", "hello\n");
  ExpectRefused({text, own.key}, {text, "no start line"});
}

TEST_F(TlsFilesTest, AReloadBringsTheNewCertificateToNewConnections) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = TlsConfig();
  Start(config);
  auto entrance = Entrance();
  RawClient old(entrance->address());
  EXPECT_EQ(old.Get("/").body, "x");
  EXPECT_EQ(Try().subject, "own");
  own = authority.Issue("renewed", {"DNS:own.test"});
  satchel->Reload(TlsConfig());
  EXPECT_TRUE(Eventually([&] { return Try().subject == "renewed"; }));
  EXPECT_EQ(old.Get("/").body, "x");
  EXPECT_EQ(Reloads("ok"), 1);
}

TEST_F(TlsFilesTest, AChangedCertificateFileIsNoticedWithoutASignal) {
  Start(TlsConfig());
  Certificate renewed = authority.Issue("renewed", {"DNS:own.test"});
  EXPECT_EQ(Try().subject, "own");
  // The key first: together they are whole again only after the second rename.
  std::filesystem::rename(renewed.key, own.key);
  std::filesystem::rename(renewed.cert, own.cert);
  EXPECT_TRUE(Eventually([&] { return Try().subject == "renewed"; }));
}

TEST_F(TlsFilesTest, AReloadWithABrokenCertificateKeepsTheOldOne) {
  origin.On("/", Fresh("x"));
  Start(TlsConfig());
  SatchelConfig config = Config();
  config.listener = Tls({{dir.path("none.crt"), own.key}});
  satchel->Reload(config);
  EXPECT_TRUE(Eventually(
      [&] { return satchel->ReadMetrics().Sum("satchel_config_last_reload_successful") == 0; }));
  EXPECT_THAT(satchel->Status().dump(), HasSubstr("none.crt"));
  EXPECT_EQ(Try().subject, "own");
  EXPECT_EQ(Fetch(Entrance()->address(), "/").body, "x");
}

TEST_F(TlsFilesTest, AHandshakeThatBeganBeforeAReloadGoesOnWithTheOldCertificates) {
  Certificate second = authority.Issue("second", {"DNS:second.test"});
  SatchelConfig config = Config();
  config.workers = "1";
  config.listener = Tls({own, second});
  Start(config);
  RawClient early = satchel->Connect();
  RawClient late = satchel->Connect();
  ASSERT_TRUE(Try().done);  // accepted after the two
  Certificate renewed = authority.Issue("renewed", {"DNS:own.test"});
  config.listener = Tls({renewed});
  satchel->Reload(config);
  ASSERT_TRUE(Eventually([&] { return Try().subject == "renewed"; }));
  EXPECT_EQ(TryHandshake(early.fd(), {.sni = "second.test"}).subject, "second");
  EXPECT_EQ(TryHandshake(late.fd(), {.sni = "own.test"}).subject, "own");
}

}  // namespace
}  // namespace satchel::testing
