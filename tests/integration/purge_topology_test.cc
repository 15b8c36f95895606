// Purges over a cluster and over sentinels: in the middle another server takes over, and what was
// confirmed is served nowhere any more.

#include "tests/support/purge_fixture.h"
#include "tests/support/redis_topology.h"
#include "tests/support/tls.h"

namespace satchel::testing {
namespace {

constexpr std::chrono::milliseconds kFailOver(40'000);

class PurgeOverAClusterTest : public PurgeFixture {
 protected:
  PurgeOverAClusterTest() {
    ServeVersions("/");
    StartThree(Sharing("redis: \"" + cluster_.url() + "\", deadline: 2s"));
  }

  static constexpr size_t kMasters = 3;
  RedisCluster cluster_{kMasters, {}, true};
  // Who has the log.
  const size_t owner_ = cluster_.OwnerOf("satchel:{p}");
  const size_t replica_ = owner_ + kMasters;
};

TEST_F(PurgeOverAClusterTest, TheLogMovesToAnotherMasterAndNothingIsLost) {
  EXPECT_TRUE(PurgeAndLook(5));
  const size_t to = (owner_ + 1) % kMasters;
  const long slot = cluster_.SlotOf("satchel:{p}");
  ASSERT_TRUE(cluster_.BeginMigration(slot, owner_, to));
  // Before the key has moved, and after: ASK.
  EXPECT_TRUE(PurgeAndLook(3));
  cluster_.MoveKeys(slot, owner_, to);
  EXPECT_TRUE(PurgeAndLook(3));
  ASSERT_TRUE(cluster_.EndMigration(slot, owner_, to));
  EXPECT_TRUE(PurgeAndLook(5));
  EXPECT_EQ(cluster_.OwnerOf("satchel:{p}"), to);
  for (const auto& one : all) {
    EXPECT_EQ(one->ReadMetrics().Sum("satchel_purge_log_losses_total"), 0);
  }
}

TEST_F(PurgeOverAClusterTest, AMasterThatHandsOverTakesTheLogWithIt) {
  EXPECT_TRUE(PurgeAndLook(5));
  ASSERT_EQ(cluster_.node(replica_).Command({"CLUSTER", "FAILOVER"}), "OK");
  ASSERT_TRUE(Eventually([&] {
    return PurgeAndLook(1) && cluster_.IsMaster(replica_) && !cluster_.IsMaster(owner_);
  }));
  EXPECT_TRUE(PurgeAndLook(5));
}

TEST_F(PurgeOverAClusterTest, AMasterThatIsLostHasASuccessorAndItsPurgesHold) {
  EXPECT_TRUE(PurgeAndLook(5));
  cluster_.node(owner_).Kill();
  // While nobody has the log a purge holds where it was asked for.
  ++version;
  const Response alone = Purge(*all[0], {{"tags", "v"}});
  EXPECT_EQ(alone.status, 202) << Describe(alone);
  EXPECT_EQ(At(*all[0], "/").body, std::to_string(version));
  ASSERT_TRUE(Eventually([&] { return cluster_.IsMaster(replica_); }, kFailOver));
  ASSERT_TRUE(Coherent(kFailOver));
  for (const auto& one : all) {
    EXPECT_TRUE(Eventually([&] { return At(*one, "/").body == std::to_string(version); }));
  }
  EXPECT_TRUE(PurgeAndLook(5));
}

class PurgeOverSentinelTest : public PurgeFixture {
 protected:
  PurgeOverSentinelTest() {
    ServeVersions("/");
    StartThree(Sharing("redis: \"" + redis_.url() + "\", deadline: 2s"));
  }

  SentinelTopology redis_;
};

TEST_F(PurgeOverSentinelTest, AFailOverInTheMiddleLosesNoPurge) {
  EXPECT_TRUE(PurgeAndLook(5));
  redis_.master().Kill();
  ++version;
  const Response alone = Purge(*all[0], {{"tags", "v"}});
  EXPECT_EQ(alone.status, 202) << Describe(alone);
  EXPECT_EQ(At(*all[0], "/").body, std::to_string(version));
  ASSERT_TRUE(redis_.WaitForFailOver());
  ASSERT_TRUE(Coherent(kFailOver));
  for (const auto& one : all) {
    EXPECT_TRUE(Eventually([&] { return At(*one, "/").body == std::to_string(version); }));
  }
  EXPECT_TRUE(PurgeAndLook(5));
}

// The same servers, and not a byte in the clear.
class EncryptedTopologyTest : public PurgeFixture {
 protected:
  std::string Tls() const { return "tls: {ca: \"" + authority_.file() + "\"}, deadline: 2s"; }

  TempDir dir_;
  CertificateAuthority authority_{dir_, "redis-ca"};
  const Certificate certificate_ = authority_.Issue("redis", {"IP:127.0.0.1"});
  const TlsFiles files_{certificate_, authority_.file()};
};

TEST_F(EncryptedTopologyTest, AClusterIsUsedOverTls) {
  RedisCluster cluster(3, {}, true, &files_);
  ServeVersions("/");
  StartThree(Sharing("redis: \"" + cluster.url() + "\", " + Tls()));
  EXPECT_TRUE(PurgeAndLook(5));
  // Records on all masters, and a slot that moves: the nodes tell their TLS ports.
  for (int i = 0; i < 30; ++i) {
    const std::string target = "/" + std::to_string(i);
    origin.On(target, Fresh("page"));
    At(*all[0], target);
  }
  ASSERT_TRUE(Eventually([&] { return cluster.Records().size() >= 30; }));
  const size_t owner = cluster.OwnerOf("satchel:{p}");
  ASSERT_EQ(cluster.node(owner + 3).Command({"CLUSTER", "FAILOVER"}), "OK");
  ASSERT_TRUE(Eventually([&] { return cluster.IsMaster(owner + 3); }));
  EXPECT_TRUE(PurgeAndLook(5));
  ASSERT_TRUE(Coherent(kFailOver));  // or the shared store would be passed over
  for (int i = 0; i < 30; ++i) At(*all[1], "/" + std::to_string(i));
  EXPECT_GE(
      all[1]->ReadMetrics().Sum("satchel_tier_lookups_total", {"tier=\"l2\"", "result=\"hit\""}),
      20);
}

TEST_F(EncryptedTopologyTest, SentinelsAndTheirMasterAreUsedOverTls) {
  SentinelTopology redis(&files_);
  ServeVersions("/");
  StartThree(Sharing("redis: \"" + redis.url() + "\", " + Tls()));
  EXPECT_TRUE(PurgeAndLook(5));
  redis.master().Kill();
  ASSERT_TRUE(redis.WaitForFailOver());
  ASSERT_TRUE(Coherent(kFailOver));
  EXPECT_TRUE(PurgeAndLook(5));
}

}  // namespace
}  // namespace satchel::testing
