// TLS towards an origin: who is believed, and which end of a body is one.

#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "tests/support/proxy_fixture.h"
#include "tests/support/tls.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;

class TlsUpstreamTest : public ProxyTest {
 protected:
  // Satchel before a TLS origin with this certificate; `tls` is the inside of the upstream's key.
  void StartWith(TlsSettings settings, const std::string& tls) {
    front = std::make_unique<TlsRelay>(TlsRelay::Role::kServer, origin.address(), settings);
    SatchelConfig config = Config();
    config.upstream = front->address();
    config.app = "tls: {" + tls + "}";
    Start(config);
  }
  std::string Ca() const { return "ca: \"" + authority.file() + "\""; }
  void ExpectRefused(const std::string& why) {
    origin.On("/", Fresh("x"));
    Response response = Get("/");
    EXPECT_EQ(response.status, 502) << Describe(response);
    nlohmann::json problem = Problem(response);
    ASSERT_TRUE(problem.is_object()) << Describe(response);
    EXPECT_EQ(problem.value("status", 0), 502);
    EXPECT_THAT(problem.value("detail", ""), HasSubstr("TLS")) << response.body;
    EXPECT_THAT(problem.value("detail", ""), HasSubstr(why)) << response.body;
    EXPECT_EQ(problem.value("reason", ""), "upstream-error");
    EXPECT_EQ(origin.RequestCount(), 0u);  // not a byte of ours went to a stranger
    EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_upstream_errors_total", {"kind=\"tls\""}), 1);
    auto entry = satchel->WaitForLogEntry({{"status", 502}});
    ASSERT_TRUE(entry);
    EXPECT_THAT(entry->dump(), HasSubstr(why));
  }

  TempDir dir;
  CertificateAuthority authority{dir, "authority"};
  Certificate by_ip = authority.Issue("by_ip", {"IP:127.0.0.1"});
  Certificate by_name = authority.Issue("by_name", {"DNS:app.test"});
  std::unique_ptr<TlsRelay> front;
};

TEST_F(TlsUpstreamTest, AnOriginIsVerifiedByItsAddress) {
  origin.On("/", Fresh("x"));
  StartWith({.certificate = by_ip}, Ca());
  EXPECT_EQ(Get("/").body, "x");
  Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit()) << Describe(hit);
  front.reset();
  EXPECT_EQ(Get("/").body, "x");
}

TEST_F(TlsUpstreamTest, AnOriginIsVerifiedByTheConfiguredNameWhichIsSentAsSni) {
  origin.On("/", Fresh("x"));
  StartWith({.certificate = by_name}, Ca() + ", sni: app.test");
  Response response = Get("/");
  EXPECT_EQ(response.body, "x") << Describe(response);
  satchel->Stop();
  ASSERT_TRUE(front->WaitForEnded(1));
  EXPECT_EQ(front->ended()[0].sni, "app.test");
}

TEST_F(TlsUpstreamTest, AnAddressIsNeverSentAsSni) {
  origin.On("/", Fresh("x"));
  StartWith({.certificate = by_ip}, Ca());
  EXPECT_EQ(Get("/").body, "x");
  satchel->Stop();
  ASSERT_TRUE(front->WaitForEnded(1));
  EXPECT_EQ(front->ended()[0].sni, "");  // RFC 6066 3
}

TEST_F(TlsUpstreamTest, AConnectionIsUsedAgain) {
  origin.On("/", {.fields = {{"Cache-Control", "no-store"}}, .body = Pattern(0, 100'000)});
  SatchelConfig config;
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const size_t before = origin.accepted();
    satchel.reset();
    front = std::make_unique<TlsRelay>(
        TlsRelay::Role::kServer, origin.address(),
        TlsSettings{.max_version = version, .certificate = by_ip});
    config.upstream = front->address();
    config.workers = "1";
    config.app = "tls: {" + Ca() + "}";
    Start(config);
    RawClient client = satchel->Connect();
    for (int i = 0; i < 5; ++i) {
      Response response = client.Get("/");
      EXPECT_TRUE(response.body == Pattern(0, 100'000)) << Describe(response);
    }
    EXPECT_EQ(origin.accepted() - before, 1u) << version;
  }
}

TEST_F(TlsUpstreamTest, AWrongNameIsABadGatewayWithItsReason) {
  StartWith({.certificate = by_name}, Ca() + ", sni: other.test");
  ExpectRefused("hostname mismatch");
}

TEST_F(TlsUpstreamTest, AWrongAddressIsABadGatewayWithItsReason) {
  StartWith({.certificate = by_name}, Ca());
  ExpectRefused("IP address mismatch");
}

TEST_F(TlsUpstreamTest, AnUnknownAuthorityIsABadGatewayWithItsReason) {
  CertificateAuthority stranger(dir, "stranger");
  StartWith({.certificate = stranger.Issue("by_ip_too", {"IP:127.0.0.1"})}, Ca());
  ExpectRefused("unable to get local issuer certificate");
}

TEST_F(TlsUpstreamTest, TheSystemsAuthoritiesDoNotKnowOurs) {
  StartWith({.certificate = by_ip}, "verify: true");
  ExpectRefused("unable to get local issuer certificate");
}

TEST_F(TlsUpstreamTest, AnOriginThatSpeaksNoTlsIsABadGatewayWithItsReason) {
  UniqueFd listening = ListenOn("127.0.0.1:0");
  std::thread server([&] {
    UniqueFd taken;
    if (WaitFor(listening.get(), POLLIN, Deadline::In(kPatience))) {
      taken.Reset(::accept(listening.get(), nullptr, nullptr));
    }
    ByteReader in(taken.get());
    in.Fill(Deadline::In(kPatience));
    SendAll(taken.get(), "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            Deadline::In(kPatience));
    in.Fill(Deadline::In(kPatience));
  });
  SatchelConfig config = Config();
  config.upstream = "127.0.0.1:" + std::to_string(BoundPort(listening.get()));
  config.app = "tls: {" + Ca() + "}";
  Start(config);
  ExpectRefused("wrong version number");
  server.join();
}

TEST_F(TlsUpstreamTest, AnOriginThatIsAwayIsNoMatterOfTls) {
  StartWith({.certificate = by_ip}, Ca());
  front.reset();
  Response response = Get("/");
  EXPECT_EQ(response.status, 502) << Describe(response);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_upstream_errors_total", {"kind=\"tls\""}), 0);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_upstream_errors_total", {"kind=\"connect\""}), 1);
}

TEST_F(TlsUpstreamTest, VerificationCanBeTurnedOff) {
  origin.On("/", Fresh("x"));
  StartWith({.certificate = by_name}, "verify: false");
  Response response = Get("/");
  EXPECT_EQ(response.body, "x") << Describe(response);
}

TEST_F(TlsUpstreamTest, ABodyUntilCloseEndsWithCloseNotify) {
  Reply reply = Fresh("whole");
  reply.framing = Reply::Framing::kUntilClose;
  origin.On("/", reply);
  StartWith({.certificate = by_ip}, Ca());
  for (bool hit : {false, true}) {
    Response response = Get("/");
    EXPECT_EQ(response.body, "whole") << Describe(response);
    EXPECT_TRUE(response.complete);
    EXPECT_EQ(CacheStatus(response).hit(), hit) << Describe(response);
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(TlsUpstreamTest, ABodyUntilCloseWithoutCloseNotifyIsCutAndNotStored) {
  Reply reply = Fresh("perhaps a part");
  reply.framing = Reply::Framing::kUntilClose;
  origin.On("/", reply);
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    satchel.reset();
    const size_t before = origin.RequestCount();
    StartWith({.max_version = version, .certificate = by_ip, .close_notify = false}, Ca());
    for (size_t i = 1; i <= 2; ++i) {
      Response response = Get("/");
      // RFC 9112 9.8: a message without length and without a proper end is incomplete.
      EXPECT_FALSE(response.status == 200 && response.complete) << Describe(response);
      EXPECT_EQ(origin.RequestCount() - before, i);
    }
  }
}

TEST_F(TlsUpstreamTest, ABodyOfKnownLengthNeedsNoCloseNotify) {
  Reply reply = Fresh("whole");
  reply.close = true;
  origin.On("/", reply);
  StartWith({.certificate = by_ip, .close_notify = false}, Ca());
  for (bool hit : {false, true}) {
    Response response = Get("/");
    EXPECT_EQ(response.body, "whole") << Describe(response);
    EXPECT_TRUE(response.complete);
    EXPECT_EQ(CacheStatus(response).hit(), hit) << Describe(response);
  }
}

TEST_F(TlsUpstreamTest, BigBodiesPassInBothDirections) {
  const std::string body = Pattern(0, 3'000'000, 7);
  origin.On("/", {.body = body});
  StartWith({.certificate = by_ip}, Ca());
  Response response = Send("PUT", "/", {}, body);
  EXPECT_TRUE(response.body == body) << Describe(response).substr(0, 600);
  EXPECT_TRUE(origin.Last("/").body == body);
}

TEST_F(TlsUpstreamTest, AMissingAuthorityFileIsNamedByTheCheck) {
  SatchelConfig config = Config();
  config.app = "tls: {ca: \"" + dir.path("none.pem") + "\"}";
  CommandResult result =
      RunSatchel({"check", dir.Write("c.yaml", config.Yaml("127.0.0.1:0", "127.0.0.1:0"))});
  EXPECT_GT(result.status, 0);
  EXPECT_THAT(result.out + result.err, HasSubstr(dir.path("none.pem")));
  EXPECT_THAT(result.out + result.err, HasSubstr("No such file"));
}

}  // namespace
}  // namespace satchel::testing
