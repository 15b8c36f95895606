#include "proxy/doctor_findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace satchel::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RedisFacts Healthy() {
  RedisFacts facts;
  facts.server = "h:1";
  facts.round_trip_us = 250;
  facts.clock_offset_us = 300;
  facts.info = {{"redis_version", "7.0.15"},
                {"role", "master"},
                {"maxmemory", "67108864"},
                {"used_memory", "1048576"},
                {"maxmemory_policy", "allkeys-lfu"},
                {"connected_clients", "10"},
                {"maxclients", "10000"}};
  facts.sample.emplace();
  return facts;
}

std::string Judged(const RedisFacts& facts, const TopologyFacts& topology = {}) {
  return FindingsText(JudgeServer(facts, topology));
}

TEST(DoctorFindingsTest, HealthIsSaidInShort) {
  const auto findings = JudgeServer(Healthy(), {});
  EXPECT_EQ(ExitCodeOf(findings), 0);
  for (const Finding& finding : findings) EXPECT_TRUE(finding.advice.empty()) << finding.text;
  EXPECT_THAT(FindingsText(findings), HasSubstr("answers in 0.2 ms"));
}

TEST(DoctorFindingsTest, ClocksThatDifferAreAWarningThenAnError) {
  RedisFacts facts = Healthy();
  facts.clock_offset_us = -250'000;
  EXPECT_THAT(Judged(facts), HasSubstr("warning h:1 clock: its clock is 250.0 ms behind"));
  facts.clock_offset_us = 6'000'000;
  EXPECT_THAT(Judged(facts), HasSubstr("error   h:1 clock: its clock is 6000.0 ms ahead of"));
  EXPECT_EQ(ExitCodeOf(JudgeServer(facts, {})), 2);
}

TEST(DoctorFindingsTest, OldServersAndCrowdedOnesAreFound) {
  RedisFacts facts = Healthy();
  facts.info["redis_version"] = "4.0.9";
  EXPECT_THAT(Judged(facts), HasSubstr("written for Redis 5"));
  facts = Healthy();
  facts.info["connected_clients"] = "9000";
  EXPECT_THAT(Judged(facts), HasSubstr("9000 of 10000 clients"));
}

TEST(DoctorFindingsTest, AFullServerThatEvictsNothingIsAnError) {
  RedisFacts facts = Healthy();
  facts.info["maxmemory_policy"] = "noeviction";
  EXPECT_EQ(ExitCodeOf(JudgeServer(facts, {})), 1);
  facts.info["used_memory"] = "67000000";
  EXPECT_EQ(ExitCodeOf(JudgeServer(facts, {})), 2);
}

TEST(DoctorFindingsTest, EvictionMattersToLimitsOnly) {
  TopologyFacts topology;
  EXPECT_THAT(Judged(Healthy(), topology), Not(HasSubstr("quota")));
  topology.has_limits = true;
  EXPECT_THAT(Judged(Healthy(), topology), HasSubstr("an evicted key is a fresh quota"));
}

TEST(DoctorFindingsTest, EachReasonForNotReachingHasItsAdvice) {
  for (const auto& [reason, advice] : std::vector<std::pair<std::string, std::string>>{
           {"AUTH: WRONGPASS invalid username-password pair", "correct user and password"},
           {"TIME: NOAUTH Authentication required.", "give a password"},
           {"TLS: certificate verify failed: self-signed certificate", "stores.l2.tls"},
           {"connect: Connection refused", "start Redis"},
           {"expected the master, found: slave", "the master"},
           {"TIME: LOADING Redis is loading", "wait until"},
           {"closed by the server", "rediss://"},
           {"something new", "check the address"}}) {
    RedisFacts facts;
    facts.unreachable = reason;
    const auto findings = JudgeServer(facts, {});
    ASSERT_EQ(findings.size(), 1u);
    EXPECT_EQ(findings[0].level, Finding::Level::kError);
    EXPECT_THAT(findings[0].advice, HasSubstr(advice)) << reason;
  }
}

TEST(DoctorFindingsTest, KeysOfAnyBytesStayJson) {
  RedisFacts facts = Healthy();
  facts.sample->without_ttl_count = 1;
  facts.sample->without_ttl = {"satchel:\xff\"\n"};
  EXPECT_THAT(FindingsJson(JudgeServer(facts, {})), HasSubstr("\\\"\\n"));
}

}  // namespace
}  // namespace satchel::proxy
