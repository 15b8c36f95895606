// How Redis is entered: TLS, certificates, logins, sockets; and what a reload changes.

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"
#include "tests/support/redis_topology.h"
#include "tests/support/tls.h"

namespace satchel::testing {
namespace {

class RedisAccessTest : public ProxyTest {
 protected:
  // A server that speaks TLS on tls_port_ and plainly to the test.
  RedisProcess& StartTls(const std::vector<std::string>& more = {}) {
    std::vector<std::string> options = {"--tls-port",         std::to_string(tls_port_.port()),
                                        "--tls-cert-file",    server_certificate_.cert,
                                        "--tls-key-file",     server_certificate_.key,
                                        "--tls-ca-cert-file", authority_.file(),
                                        "--tls-auth-clients", "no"};
    options.insert(options.end(), more.begin(), more.end());
    redis_ = std::make_unique<RedisProcess>(options);
    return *redis_;
  }
  SatchelConfig With(const std::string& l2) const {
    SatchelConfig config = Config();
    config.l2 = l2 + ", deadline: 2s";
    return config;
  }
  std::string Tls(const std::string& more) const {
    return "redis: \"rediss://" + tls_port_.address() + "\", tls: {" + more + "}";
  }
  std::string Ca() const { return "ca: \"" + authority_.file() + "\""; }
  bool Connected() {
    return satchel->WaitForRedis();
  }
  bool Logged(const std::string& text) {
    return Eventually([&] { return satchel->process().err().find(text) != std::string::npos; });
  }
  bool StoresARecord() {
    origin.On("/", Fresh("kept"));
    EXPECT_EQ(Get("/").body, "kept");
    return Eventually([&] { return !redis_->Records().empty(); });
  }

  TempDir dir_;
  CertificateAuthority authority_{dir_, "redis-ca"};
  CertificateAuthority other_authority_{dir_, "other-ca"};
  Certificate server_certificate_ = authority_.Issue("redis", {"IP:127.0.0.1", "DNS:redis.test"});
  PortReservation tls_port_;
  std::unique_ptr<RedisProcess> redis_;
};

TEST_F(RedisAccessTest, TlsIsVerifiedAndWorks) {
  StartTls();
  Start(With(Tls(Ca())));
  ASSERT_TRUE(Connected());
  EXPECT_TRUE(StoresARecord());
}

TEST_F(RedisAccessTest, AnAuthorityThatIsNotOursIsRefusedAndRequestsGoOn) {
  StartTls();
  Start(With(Tls("ca: \"" + other_authority_.file() + "\"")));
  EXPECT_TRUE(Logged("certificate verify failed"));
  origin.On("/", Fresh("served"));
  EXPECT_EQ(Get("/").body, "served");
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_redis_connections_up"), 0);
  EXPECT_TRUE(redis_->Records().empty());
}

TEST_F(RedisAccessTest, AnotherNameIsRefusedUnlessItIsTheOneConfigured) {
  server_certificate_ = authority_.Issue("elsewhere", {"DNS:redis.test"});
  StartTls();
  Start(With(Tls(Ca())));
  EXPECT_TRUE(Logged("certificate verify failed"));
  satchel.reset();
  Start(With(Tls(Ca() + ", sni: redis.test")));
  EXPECT_TRUE(Connected());
}

TEST_F(RedisAccessTest, WithoutVerificationAnyCertificateWill) {
  StartTls();
  Start(With(Tls("verify: false")));
  ASSERT_TRUE(Connected());
  EXPECT_TRUE(StoresARecord());
}

TEST_F(RedisAccessTest, AClientCertificateIsShown) {
  const Certificate ours = authority_.Issue("satchel", {"DNS:satchel.test"});
  StartTls({"--tls-auth-clients", "yes"});
  Start(With(Tls(Ca())));
  EXPECT_TRUE(Logged("cannot connect"));
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_redis_connections_up"), 0);
  satchel.reset();
  Start(With(Tls(Ca() + ", cert: \"" + ours.cert + "\", key: \"" + ours.key + "\"")));
  ASSERT_TRUE(Connected());
  EXPECT_TRUE(StoresARecord());
}

TEST_F(RedisAccessTest, CertificatesAreReadAgainWhenTheirFilesChange) {
  // Our own: first from an authority that the server does not know.
  const Certificate wrong = other_authority_.Issue("satchel", {"DNS:satchel.test"});
  StartTls({"--tls-auth-clients", "yes"});
  Start(With(Tls(Ca() + ", cert: \"" + wrong.cert + "\", key: \"" + wrong.key + "\"")));
  EXPECT_TRUE(Logged("cannot connect"));
  const Certificate right = authority_.Issue("satchel", {"DNS:satchel.test"});
  ASSERT_EQ(right.cert, wrong.cert);  // the same files, written anew
  EXPECT_TRUE(Connected());
  EXPECT_TRUE(StoresARecord());
}

TEST_F(RedisAccessTest, LargeBodiesPassTls) {
  StartTls();
  Start(With(Tls(Ca())));
  ASSERT_TRUE(Connected());
  const std::string body = Pattern(0, 3 << 20);
  origin.On("/large", Fresh(body));
  EXPECT_EQ(Get("/large").body, body);
  ASSERT_TRUE(Eventually([&] { return !redis_->Records().empty(); }));
  SatchelProcess other(With(Tls(Ca())));
  ASSERT_TRUE(other.WaitForRedis());
  EXPECT_EQ(other.Get("/large").body, body);
  EXPECT_EQ(origin.RequestCount("/large"), 1u);
}

TEST_F(RedisAccessTest, APasswordFileIsReadAgainWhenItChanges) {
  RedisProcess redis;
  EXPECT_EQ(redis.Command({"ACL", "SETUSER", "sam", "on", ">first", "~*", "&*", "+@all"}), "OK");
  const std::string secret = dir_.Write("secret", "wrong\n");
  Start(
      With("redis: \"redis://sam@" + redis.address() + "\", password: \"${file:" + secret + "}\""));
  EXPECT_TRUE(Logged("WRONGPASS"));
  ReplaceFile(secret, "first\n");
  EXPECT_TRUE(Connected());
  // A change takes no connection down: it holds from the next one on.
  EXPECT_EQ(redis.Command({"ACL", "SETUSER", "sam", "resetpass", ">second"}), "OK");
  ReplaceFile(secret, "second\n");
  ASSERT_TRUE(
      Eventually([&] { return satchel->ReadMetrics().Sum("satchel_config_generation") >= 3; }));
  EXPECT_EQ(redis.Command({"CLIENT", "KILL", "USER", "sam"}).find("ERR"), std::string::npos);
  EXPECT_TRUE(Eventually([&] {
    return redis.Command({"CLIENT", "LIST"}).find("user=sam") != std::string::npos &&
           satchel->ReadMetrics().Sum("satchel_redis_connections_up") == 2;
  }));
  EXPECT_EQ(satchel->process().err().find("second"), std::string::npos);
}

TEST_F(RedisAccessTest, AReloadThatNamesNoRedisLeavesTheOneThereIs) {
  redis_ = std::make_unique<RedisProcess>();
  // By sentinels, so that a server is known by the URL alone.
  SentinelProcess sentinel(redis_->address(), 1);
  Start(With("redis: \"sentinel://" + sentinel.address() + "/main\""));
  ASSERT_TRUE(Connected());
  satchel->Reload(Config());
  ASSERT_TRUE(
      Eventually([&] { return satchel->ReadMetrics().Sum("satchel_config_generation") >= 2; }));
  // Numbers are gathered on.
  const double calls = satchel->ReadMetrics().Sum("satchel_redis_calls_total");
  int page = 0;
  EXPECT_TRUE(Eventually([&] {
    const std::string target = "/" + std::to_string(page++);
    origin.On(target, Fresh("body"));
    EXPECT_EQ(Get(target).body, "body");
    return satchel->ReadMetrics().Sum("satchel_redis_calls_total") > calls;
  }));
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_redis_connections_up"), 2);
}

TEST_F(RedisAccessTest, ASocketWithALoginAndADatabaseWorks) {
  const std::string socket = dir_.path("redis.sock");
  redis_ = std::make_unique<RedisProcess>(std::vector<std::string>{"--unixsocket", socket});
  EXPECT_EQ(redis_->Command({"ACL", "SETUSER", "sam", "on", ">pw", "~*", "&*", "+@all"}), "OK");
  Start(With("redis: \"unix://sam:pw@" + socket + "?db=3\""));
  ASSERT_TRUE(Connected());
  EXPECT_EQ(redis_->Command({"SELECT", "3"}), "OK");
  EXPECT_TRUE(StoresARecord());
}

}  // namespace
}  // namespace satchel::testing
