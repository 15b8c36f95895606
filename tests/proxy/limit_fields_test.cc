#include "proxy/limit_fields.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace satchel::proxy {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr cache::Time kNow = cache::TimeFromUnixSeconds(1'800'000'000);

rules::RateLimitPolicy PolicyOf(std::string name = "api") {
  rules::RateLimitPolicy policy;
  policy.name = std::move(name);
  return policy;
}

LimitVerdict Verdict(const rules::RateLimitPolicy& policy, bool allowed,
                     std::vector<WindowVerdict> windows, int violated = -1) {
  LimitVerdict verdict;
  verdict.policy = &policy;
  verdict.allowed = allowed;
  verdict.source = LimitVerdict::Source::kRedis;
  verdict.window_count = static_cast<uint8_t>(windows.size());
  verdict.violated = static_cast<int8_t>(violated);
  std::copy(windows.begin(), windows.end(), verdict.window_storage.begin());
  return verdict;
}

WindowVerdict Burst(int64_t remaining, int64_t reset_us, int64_t wait_us = 0) {
  return {"burst", 10, kSecond, remaining, reset_us, wait_us};
}
WindowVerdict Hour(int64_t remaining, int64_t reset_us, int64_t wait_us = 0) {
  return {"hour", 1000, 3600 * kSecond, remaining, reset_us, wait_us};
}

std::string Field(const cache::HeaderMap& fields, std::string_view name) {
  return std::string(fields.First(name).value_or("-"));
}

cache::HeaderMap FieldsOf(const std::vector<LimitVerdict>& verdicts, cache::Time now = kNow) {
  std::string text;
  AppendLimitFields(verdicts, now, text);
  cache::HeaderMap fields;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(": ");
    EXPECT_NE(colon, std::string::npos) << line;
    EXPECT_TRUE(line.ends_with('\r')) << line;
    fields.Add(line.substr(0, colon), line.substr(colon + 2, line.size() - colon - 3));
  }
  return fields;
}

TEST(LimitFieldsTest, EveryWindowStandsInTheIetfFields) {
  const auto policy = PolicyOf();
  const auto fields = FieldsOf({Verdict(policy, true, {Burst(3, 1), Hour(640, 11 * kSecond + 1)})});
  EXPECT_EQ(Field(fields, "RateLimit-Policy"), R"("burst";q=10;w=1, "hour";q=1000;w=3600)");
  EXPECT_EQ(Field(fields, "RateLimit"), R"("burst";r=3;t=1, "hour";r=640;t=12)");
}

TEST(LimitFieldsTest, WhatCannotBeSaidInWholeSecondsIsLeftOut) {
  const auto policy = PolicyOf();
  WindowVerdict half = Burst(10, 0);
  half.window_us = kSecond / 2;
  const auto fields = FieldsOf({Verdict(policy, true, {half})});
  EXPECT_EQ(Field(fields, "RateLimit-Policy"), R"("burst";q=10)");
  EXPECT_EQ(Field(fields, "RateLimit"), R"("burst";r=10)");  // nothing used: nothing will return
}

TEST(LimitFieldsTest, NumbersStayWithinStructuredFields) {
  const auto policy = PolicyOf();
  WindowVerdict huge = Hour(INT64_MAX, 1);
  huge.limit = UINT64_MAX;
  const auto fields = FieldsOf({Verdict(policy, true, {huge})});
  EXPECT_EQ(Field(fields, "RateLimit-Policy"), R"("hour";q=999999999999999;w=3600)");
  EXPECT_EQ(Field(fields, "RateLimit"), R"("hour";r=999999999999999;t=1)");
}

TEST(LimitFieldsTest, LegacyFieldsTellTheWindowWithTheLeastRoom) {
  const auto policy = PolicyOf();
  const auto fields = FieldsOf({Verdict(policy, true, {Burst(9, 1), Hour(640, kSecond)})});
  EXPECT_EQ(Field(fields, "X-RateLimit-Limit"), "1000");
  EXPECT_EQ(Field(fields, "X-RateLimit-Remaining"), "640");
  EXPECT_EQ(Field(fields, "X-RateLimit-Reset"), "1800003600");
  const auto tight = FieldsOf({Verdict(policy, true, {Burst(1, 1), Hour(640, kSecond)})});
  EXPECT_EQ(Field(tight, "X-RateLimit-Limit"), "10");
}

TEST(LimitFieldsTest, OnRefusalTheyTellTheRefusingWindowAndWhenOneMoreFits) {
  const auto policy = PolicyOf();
  const auto fields =
      FieldsOf({Verdict(policy, false, {Burst(0, 1, 400'000), Hour(0, 1, 11 * kSecond + 1)}, 1)},
               kNow + cache::Millis(500));
  EXPECT_EQ(Field(fields, "X-RateLimit-Limit"), "1000");
  EXPECT_EQ(Field(fields, "X-RateLimit-Remaining"), "0");
  EXPECT_EQ(Field(fields, "X-RateLimit-Reset"), "1800000012");  // 11.5 and a bit, rounded up
}

TEST(LimitFieldsTest, OfTwoPoliciesTheRefusalCountsAndNamesAreQualified) {
  const auto one = PolicyOf("user");
  const auto two = PolicyOf("tenant");
  const auto fields =
      FieldsOf({Verdict(one, true, {Burst(0, 1)}), Verdict(two, false, {Hour(0, 1, kSecond)}, 0)});
  EXPECT_EQ(Field(fields, "X-RateLimit-Limit"), "1000");
  EXPECT_EQ(Field(fields, "RateLimit-Policy"),
            R"("user-burst";q=10;w=1, "tenant-hour";q=1000;w=3600)");
}

TEST(LimitFieldsTest, PoliciesSayWhichFieldsTheyWant) {
  auto policy = PolicyOf();
  policy.ietf_headers = false;
  EXPECT_EQ(FieldsOf({Verdict(policy, true, {Hour(1, 1)})}).size(), 3u);
  policy.ietf_headers = true;
  policy.legacy_headers = false;
  EXPECT_EQ(FieldsOf({Verdict(policy, true, {Hour(1, 1)})}).size(), 2u);
}

TEST(LimitFieldsTest, ShadowPoliciesAndUncountedVerdictsSayNothing) {
  auto policy = PolicyOf();
  policy.mode = rules::LimitMode::kShadow;
  EXPECT_TRUE(FieldsOf({Verdict(policy, false, {Hour(0, 1, 1)}, 0)}).empty());
  policy.mode = rules::LimitMode::kEnforce;
  EXPECT_TRUE(FieldsOf({Verdict(policy, true, {})}).empty());
  EXPECT_TRUE(FieldsOf({}).empty());
}

struct Merged {
  cache::HeaderMap theirs;
  std::string ours;
};

Merged Merge(const rules::RateLimitPolicy& policy, const char* their_remaining) {
  const std::vector<LimitVerdict> verdicts = {Verdict(policy, true, {Hour(5, kSecond)})};
  Merged merged;
  merged.theirs.Add("X-RateLimit-Limit", "77");
  merged.theirs.Add("x-ratelimit-remaining", their_remaining);
  merged.theirs.Add("X-RateLimit-Reset", "60");
  merged.theirs.Add("RateLimit", "\"o\";r=7");
  AppendLimitFields(verdicts, kNow, merged.ours);
  MergeOriginFields(verdicts, merged.theirs, kNow, merged.ours);
  return merged;
}

TEST(LimitFieldsTest, TheOriginsListsStayBesideOursAndTheStricterNumbersWin) {
  const auto policy = PolicyOf();
  const Merged looser = Merge(policy, "6");
  EXPECT_EQ(looser.theirs.size(), 1u);
  EXPECT_EQ(Field(looser.theirs, "RateLimit"), "\"o\";r=7");
  EXPECT_NE(looser.ours.find("X-RateLimit-Remaining: 5\r\n"), std::string::npos);
  EXPECT_NE(looser.ours.find("RateLimit: \"hour\""), std::string::npos);
  const Merged stricter = Merge(policy, "4");
  EXPECT_EQ(stricter.theirs.size(), 4u);
  EXPECT_EQ(stricter.ours.find("X-RateLimit"), std::string::npos);
  EXPECT_NE(stricter.ours.find("RateLimit: \"hour\""), std::string::npos);
  EXPECT_EQ(Merge(policy, "many").theirs.size(), 1u);
}

TEST(LimitFieldsTest, ThePolicySaysWhoseFieldsStand) {
  auto policy = PolicyOf();
  policy.origin_fields = rules::OriginFields::kReplace;
  EXPECT_TRUE(Merge(policy, "4").theirs.empty());
  policy.origin_fields = rules::OriginFields::kKeep;
  const Merged kept = Merge(policy, "6");
  EXPECT_EQ(kept.theirs.size(), 4u);
  EXPECT_TRUE(kept.ours.empty());
}

TEST(LimitFieldsTest, TheResetMayBeSecondsFromNow) {
  auto policy = PolicyOf();
  policy.reset = rules::ResetForm::kDelta;
  EXPECT_EQ(Field(FieldsOf({Verdict(policy, true, {Hour(1, 1)})}), "X-RateLimit-Reset"), "3600");
  EXPECT_EQ(
      Field(FieldsOf({Verdict(policy, false, {Hour(0, 1, kSecond + 1)}, 0)}), "X-RateLimit-Reset"),
      "2");
}

TEST(LimitFieldsTest, SlotsAndPenaltiesAreNoQuota) {
  const auto policy = PolicyOf();
  const LimitVerdict verdict =
      Verdict(policy, false, {Hour(9, 1), {"concurrent", 2, 0, 0, 0, kSecond}}, 1);
  const auto fields = FieldsOf({verdict});
  EXPECT_EQ(Field(fields, "RateLimit"), R"("hour";r=9;t=1)");
  EXPECT_EQ(Field(fields, "X-RateLimit-Limit"), "1000");
  const auto json = nlohmann::json::parse(RefusalOf(verdict).body);
  EXPECT_EQ(json["violated-policies"], nlohmann::json::array({"concurrent"}));
}

TEST(LimitFieldsTest, JitterOnlyMakesTheWaitLonger) {
  auto policy = PolicyOf();
  policy.retry_jitter = std::chrono::seconds(4);
  const LimitVerdict verdict = Verdict(policy, false, {Hour(0, 1, kSecond)}, 0);
  EXPECT_EQ(RefusalOf(verdict, 0).retry_after, "1");
  EXPECT_EQ(RefusalOf(verdict, 0.5).retry_after, "3");
  EXPECT_EQ(RefusalOf(verdict, 0.99).retry_after, "5");
}

TEST(LimitFieldsTest, AnUnknownKeyIs403) {
  EXPECT_EQ(ForbiddenOf().status, 403);
  EXPECT_TRUE(ForbiddenOf().authenticate.empty());
}

TEST(LimitFieldsTest, RetryAfterIsRoundedUpAndAtLeastOne) {
  const auto policy = PolicyOf();
  const auto retry = [&](int64_t wait_us) {
    return RetryAfterSeconds(Verdict(policy, false, {Hour(0, 1, wait_us)}, 0));
  };
  EXPECT_EQ(retry(1), 1);
  EXPECT_EQ(retry(kSecond), 1);
  EXPECT_EQ(retry(kSecond + 1), 2);
  EXPECT_EQ(retry(-1), 3600);  // never fits
}

TEST(LimitFieldsTest, TheBodyOf429IsAProblemWithBothKindsOfMembers) {
  const auto policy = PolicyOf();
  const LimitAnswer answer =
      RefusalOf(Verdict(policy, false, {Burst(4, 1), Hour(0, 1, 11 * kSecond + 1)}, 1));
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.retry_after, "12");
  const auto json = nlohmann::json::parse(answer.body);
  EXPECT_EQ(json["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
  EXPECT_EQ(json["status"], 429);
  EXPECT_EQ(json["violated-policies"], nlohmann::json::array({"hour"}));
  EXPECT_EQ(json["error"], "Rate limit exceeded");
  EXPECT_EQ(json["retry_after"], 12);
}

TEST(LimitFieldsTest, ClosedBecauseTheStoreIsDownIs503) {
  const auto policy = PolicyOf();
  LimitVerdict verdict = Verdict(policy, false, {});
  verdict.source = LimitVerdict::Source::kClosed;
  const LimitAnswer answer = RefusalOf(verdict);
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.retry_after, "1");
  const auto json = nlohmann::json::parse(answer.body);
  EXPECT_EQ(json["type"],
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
  EXPECT_EQ(json["status"], 503);
}

TEST(LimitFieldsTest, A401SaysWhereTheKeyIsLookedFor) {
  auto policy = PolicyOf();
  policy.identify.parts = {{rules::Identify::By::kHeader, "X-API-Key"}};
  const LimitAnswer answer = UnauthorizedOf(policy);
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.authenticate, R"(ApiKey realm="api", header="X-API-Key")");
  EXPECT_TRUE(answer.retry_after.empty());
  EXPECT_EQ(nlohmann::json::parse(answer.body)["error"], "API key required");
  policy.identify.parts = {{rules::Identify::By::kQuery, "a\"b\r\nX: y"}};
  EXPECT_EQ(UnauthorizedOf(policy).authenticate, R"(ApiKey realm="api", query="a\"bX: y")");
}

}  // namespace
}  // namespace satchel::proxy
