// Parts in the shared tier: what one instance stored of a response, another one serves and
// completes.

#include "tests/support/range_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

using ::testing::HasSubstr;

class PartialTierTest : public PartialTest {
 protected:
  SatchelConfig WithRedis() const {
    SatchelConfig config = Config();
    config.l2 = "redis: \"" + redis.url() + "\", deadline: 2s";
    return config;
  }
  static void WaitForConnections(const SatchelProcess& process) {
    EXPECT_TRUE(process.WaitForRedis());
  }
  bool WaitForRecords() {
    return Eventually([&] { return !redis.Records().empty(); });
  }
  void StoreAPart() {
    Start(WithRedis());
    WaitForConnections(*satchel);
    GetRange("4-12");
    ASSERT_TRUE(WaitForRecords());
  }
  RedisProcess redis;
};

TEST_F(PartialTierTest, ARangeAndAHeadAreAnsweredFromTheSharedTier) {
  ServeRanges();
  Start(WithRedis());
  WaitForConnections(*satchel);
  Get("/");
  ASSERT_TRUE(WaitForRecords());
  for (const char* method : {"GET", "HEAD"}) {
    SatchelProcess other(WithRedis());
    WaitForConnections(other);
    const Response response = other.Send(method, "/", {{"Range", "bytes=2-4"}});
    EXPECT_TRUE(CacheStatus(response).hit()) << Describe(response);
    EXPECT_THAT(CacheStatus(response).Get("detail"), HasSubstr("l2"));
    if (std::string(method) == "GET") EXPECT_EQ(response.body, "234");
    // And it is in memory now.
    EXPECT_THAT(CacheStatus(other.Get("/")).Get("detail"), HasSubstr("l1"));
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(PartialTierTest, F6_APartIsSharedWhereNothingElseIs) {
  ServeRanges();
  StoreAPart();
  SatchelProcess other(WithRedis());
  WaitForConnections(other);
  const Response part = other.Get("/", {{"Range", "bytes=5-7"}});
  EXPECT_TRUE(CacheStatus(part).hit()) << Describe(part);
  EXPECT_EQ(part.body, "567");
  EXPECT_EQ(part.Get("Content-Range"), "bytes 5-7/20");
  EXPECT_EQ(other.Get("/").body, kWhole);
}

TEST_F(PartialTierTest, F6_APartInTheSharedTierNeverAnswersAFullRequest) {
  origin.On("/", [](OriginExchange& exchange) {
    // Its tag still holds, but a 304 to a full request would make a part of it.
    if (exchange.request().fields.Get("If-None-Match") == "\"v1\"") {
      exchange.Respond({.status = 304, .fields = {{"ETag", "\"v1\""}}});
      return;
    }
    AnswerRanges(exchange, "\"v1\"");
  });
  StoreAPart();
  SatchelProcess other(WithRedis());
  WaitForConnections(other);
  const Response whole = other.Get("/");
  EXPECT_EQ(whole.status, 200) << Describe(whole);
  EXPECT_EQ(whole.body, kWhole);
}

TEST_F(PartialTierTest, J7_APrefixInTheSharedTierIsCompleted) {
  ServeRanges();
  Start(WithRedis());
  WaitForConnections(*satchel);
  GetRange("0-7");
  ASSERT_TRUE(WaitForRecords());
  SatchelProcess other(WithRedis());
  WaitForConnections(other);
  EXPECT_EQ(other.Get("/").body, kWhole);
  EXPECT_EQ(origin.Last("/").fields.Get("Range"), "bytes=8-");
  EXPECT_EQ(origin.RequestCount(), 2u);
}

}  // namespace
}  // namespace satchel::testing
