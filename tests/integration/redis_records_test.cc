// What stands in Redis: large bodies in chunks, times renewed in place, and what nobody else may
// read.

#include <algorithm>

#include "tests/support/fleet_fixture.h"

namespace satchel::testing {
namespace {

constexpr size_t kMiB = 1024 * 1024;
const std::string kFirstKey(64, '1');
const std::string kSecondKey(64, '2');

class RedisRecordsTest : public FleetTest {
 protected:
  bool WaitForWrites(const SatchelProcess& instance, double count = 1) {
    return Eventually([&] {
      return instance.ReadMetrics().Sum("satchel_l2_writes_total", {"result=\"hit\""}) >= count;
    });
  }
  std::vector<std::string> Chunks() {
    std::vector<std::string> chunks;
    for (const std::string& key : redis.Records()) {
      if (std::count(key.begin(), key.end(), ':') == 4) chunks.push_back(key);
    }
    return chunks;
  }
  long Ttl(const std::string& key) { return std::stol(redis.Command({"PTTL", key})); }
};

TEST_F(RedisRecordsTest, ALargeBodyStandsInChunksAndIsReadByOthers) {
  const std::string body = Pattern(0, 3 * kMiB + 17);
  origin.On("/", Fresh(body, 100, {{"ETag", "\"1\""}}));
  StartFleet(FleetConfig(), 2);
  ASSERT_EQ(fleet[0]->Get("/").body.size(), body.size());
  ASSERT_TRUE(WaitForWrites(*fleet[0]));
  ASSERT_TRUE(Eventually([&] { return redis.Records().size() == 14; }));
  EXPECT_EQ(Chunks().size(), 13u);
  for (const std::string& key : redis.Records()) {
    const bool chunk = std::count(key.begin(), key.end(), ':') == 4;
    EXPECT_GT(Ttl(key), chunk ? 130'000 : 100'000) << key;
    EXPECT_LE(std::stol(redis.Command({"STRLEN", key})), 256 * 1024 + 4) << key;
  }
  const Response read = fleet[1]->Get("/");
  EXPECT_TRUE(read.body == body);
  EXPECT_TRUE(CacheStatus(read).hit());
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(RedisRecordsTest, ALargeTextIsCompressedAndReadByOthers) {
  std::string body;
  for (int i = 0; body.size() < 3 * kMiB; ++i) body += "{\"id\":" + std::to_string(i * 7919) + "},";
  origin.On("/", Fresh(body, 100, {{"Content-Type", "application/json"}}));
  StartFleet(FleetConfig(), 2);
  ASSERT_TRUE(fleet[0]->Get("/").body == body);
  ASSERT_TRUE(WaitForWrites(*fleet[0]));
  const Metrics metrics = fleet[0]->ReadMetrics();
  EXPECT_EQ(metrics.Sum("satchel_l2_body_bytes_total"), static_cast<double>(body.size()));
  EXPECT_LT(metrics.Sum("satchel_l2_kept_bytes_total"), static_cast<double>(body.size() / 2));
  EXPECT_EQ(metrics.Sum("satchel_l2_sealing_bytes"), 0);
  const Response read = fleet[1]->Get("/");
  EXPECT_TRUE(read.body == body);
  EXPECT_TRUE(CacheStatus(read).hit());
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(RedisRecordsTest, AChunkThatIsMissingOrDamagedIsAMissAndNeverAShortBody) {
  const std::string body = Pattern(0, kMiB);
  origin.On("/", Fresh(body));
  StartFleet(FleetConfig(), 1);
  fleet[0]->Get("/");
  ASSERT_TRUE(Eventually([&] { return redis.Records().size() == 5; }));
  const std::vector<std::string> chunks = Chunks();
  ASSERT_EQ(chunks.size(), 4u);
  for (size_t i = 0; i < chunks.size(); ++i) {
    const std::string good = redis.Command({"GET", chunks[i]});
    std::vector<std::string> wrong = {"", good.substr(0, good.size() - 1), good + "x"};
    wrong.push_back(good);
    wrong.back()[100] = static_cast<char>(wrong.back()[100] ^ 4);
    const std::string& bad = wrong[i % wrong.size()];
    if (i == 3) {
      redis.Command({"DEL", chunks[i]});
    } else {
      redis.Command({"SET", chunks[i], bad, "PX", "60000"});
    }
    const size_t before = origin.RequestCount();
    SatchelProcess other(FleetConfig());
    ASSERT_TRUE(other.WaitForRedis());
    const Response read = other.Get("/");
    EXPECT_TRUE(read.body == body) << i;
    EXPECT_EQ(origin.RequestCount(), before + 1) << i;
    EXPECT_GE(other.ReadMetrics().Sum("satchel_l2_bad_records_total", {"cause=\"chunk\""}), 1) << i;
    ASSERT_TRUE(WaitForWrites(other));  // which puts the chunk right again
  }
}

TEST_F(RedisRecordsTest, A304RenewsTheTimesInPlaceAndOthersSeeThem) {
  const std::string date = "Mon, 05 Jan 2026 10:00:00 GMT";
  const std::string body = Pattern(0, kMiB);
  origin.Next("/", StaleSince(5, body, "stale-while-revalidate=600",
                              {{"ETag", "\"1\""}, {"Date", "Mon, 05 Jan 2026 09:00:00 GMT"}}));
  origin.On("/", {.status = 304, .fields = {{"ETag", "\"1\""}, {"Date", date}}});
  StartFleet(FleetConfig("ttl: 1h"), 2);
  fleet[0]->Get("/");
  ASSERT_TRUE(Eventually([&] { return redis.Records().size() == 5; }));
  const long sets = redis.Calls("set");
  ASSERT_EQ(fleet[0]->Get("/", {{"Cache-Control", "no-cache"}}).status, 200);
  ASSERT_TRUE(
      Eventually([&] { return fleet[0]->ReadMetrics().Sum("satchel_l2_renewals_total") == 1; }));
  EXPECT_EQ(redis.Calls("set"), sets);  // not one byte of the body went out again
  const Response read = fleet[1]->Get("/");
  EXPECT_TRUE(read.body == body);
  EXPECT_EQ(read.fields.Get("Date"), date);
  EXPECT_TRUE(CacheStatus(read).hit()) << Describe(read);
  EXPECT_EQ(origin.RequestCount(), 2u);
}

class EncryptionTest : public RedisRecordsTest {
 protected:
  std::string KeyFile(const std::string& name, const std::string& key) {
    return dir.Write(name, key + "\n");
  }
  SatchelConfig Encrypting(const std::string& files) const {
    return FleetConfig("encrypt: true", "encrypt_keys: [" + files + "]");
  }
  TempDir dir;
};

TEST_F(EncryptionTest, RedisSeesNeitherUrlNorFieldsNorBodyAndOthersRead) {
  origin.On("/account-17", Fresh("the secret body", 60, {{"X-Secret", "field"}}));
  origin.On("/vary", Fresh("another secret", 60, {{"Vary", "X-Lang"}}));
  const std::string large = Pattern(0, kMiB);
  origin.On("/large", Fresh(large));
  StartFleet(Encrypting(KeyFile("a", kFirstKey)), 2);
  const std::vector<std::string> targets = {"/account-17", "/vary", "/large"};
  for (const std::string& target : targets) fleet[0]->Get(target);
  ASSERT_TRUE(WaitForWrites(*fleet[0], 3));
  const std::string dump = redis.Dump();
  for (const char* secret : {"secret", "field", "account-17", "/vary", "x-lang"}) {
    EXPECT_EQ(dump.find(secret), std::string::npos) << secret;
  }
  EXPECT_EQ(dump.find(large.substr(1000, 64)), std::string::npos);
  for (const std::string& target : targets) {
    const Response read = fleet[1]->Get(target);
    EXPECT_TRUE(CacheStatus(read).hit()) << target;
  }
  EXPECT_TRUE(fleet[1]->Get("/large").body == large);
  EXPECT_EQ(origin.RequestCount(), 3u);
}

TEST_F(EncryptionTest, KeysAreReplacedWithoutLosingWhatTheOldOneEncrypted) {
  origin.Otherwise([](OriginExchange& exchange) { exchange.Respond(Fresh("x")); });
  const std::string first = KeyFile("first", kFirstKey);
  const std::string second = KeyFile("second", kSecondKey);
  const auto read = [&](const std::string& files, const std::string& target) {
    SatchelProcess instance(Encrypting(files));
    EXPECT_TRUE(instance.WaitForRedis());
    const bool hit = CacheStatus(instance.Get(target)).hit();
    EXPECT_TRUE(hit || WaitForWrites(instance));
    return hit;
  };
  EXPECT_FALSE(read(first, "/old"));
  EXPECT_TRUE(read(second + ", " + first, "/old"));
  EXPECT_FALSE(read(second + ", " + first, "/new"));
  EXPECT_TRUE(read(second, "/new"));
  EXPECT_FALSE(read(second, "/old"));
}

TEST_F(EncryptionTest, WhatStandsThereInTheClearIsNotBelieved) {
  origin.On("/", Fresh("x"));
  StartFleet(FleetConfig(), 1);
  fleet[0]->Get("/");
  ASSERT_TRUE(WaitForWrites(*fleet[0]));
  StartFleet(Encrypting(KeyFile("a", kFirstKey)), 1);
  EXPECT_FALSE(CacheStatus(fleet[1]->Get("/")).hit());
  EXPECT_GE(fleet[1]->ReadMetrics().Sum("satchel_l2_bad_records_total", {"cause=\"cipher\""}), 1);
}

TEST_F(EncryptionTest, WithoutAKeyTheConfigurationIsRefused) {
  const SatchelConfig config = FleetConfig("encrypt: true");
  const std::string path = dir.Write("rules.yaml", config.Yaml("127.0.0.1:1", "127.0.0.1:2"));
  const CommandResult result = RunSatchel({"check", path});
  EXPECT_NE(result.status, 0);
  EXPECT_NE((result.out + result.err).find("there is no key to encrypt with"), std::string::npos)
      << result.out << result.err;
}

}  // namespace
}  // namespace satchel::testing
