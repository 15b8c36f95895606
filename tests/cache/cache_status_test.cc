#include "cache/cache_status.h"

#include <gtest/gtest.h>

#include <set>

#include "cache/http/structured.h"

namespace satchel::cache {
namespace {

using std::chrono::milliseconds;

std::string Text(const CacheStatus& status) {
  std::string out;
  AppendCacheStatus(out, status);
  // RFC 9211 2: a member of a Structured Fields list.
  const auto list = sf::ParseList(out);
  EXPECT_TRUE(list && list->size() == 1) << out;
  return out;
}

// RFC 9211 2
TEST(CacheStatusTest, A7_AHitSaysHowLongItIsFresh) {
  CacheStatus status;
  status.hit = true;
  status.reason = Reason::kFresh;
  status.ttl = milliseconds(30999);
  EXPECT_EQ(Text(status), "Satchel; hit; ttl=30; detail=fresh");
  status.reason = Reason::kStaleWhileRevalidate;
  status.ttl = milliseconds(-1);
  EXPECT_EQ(Text(status), "Satchel; hit; ttl=-1; detail=stale-while-revalidate");
  status.tier = "l2";
  EXPECT_EQ(Text(status), "Satchel; hit; ttl=-1; detail=stale-while-revalidate/l2");
}

TEST(CacheStatusTest, J5_TheKeyAndTheRuleAreNamed) {
  CacheStatus status;
  status.hit = true;
  status.reason = Reason::kFresh;
  status.tier = "l1";
  status.rule = "shop";
  status.key = "http://a/b?c=d";
  EXPECT_EQ(Text(status), "Satchel; hit; key=\"http://a/b?c=d\"; detail=fresh/l1:shop");
  // What a string or a token can't hold is escaped or quoted (RFC 9651 3.3.3, 3.3.4).
  status.key = "http://a/\"\\\n\x80";
  status.rule = "my \"shop\"";
  EXPECT_EQ(Text(status),
            "Satchel; hit; key=\"http://a/\\\"\\\\%0A%80\"; "
            "detail=\"fresh/l1:my \\\"shop\\\"\"");
  const std::string longest(CacheStatus::kMaxKeyShown, 'k');
  status.rule = {};
  status.key = longest;
  EXPECT_EQ(Text(status), "Satchel; hit; key=\"" + longest + "\"; detail=fresh/l1");
  const std::string longer = longest + "k";
  status.key = longer;
  EXPECT_EQ(Text(status), "Satchel; hit; detail=fresh/l1");
}

TEST(CacheStatusTest, A7_AForwardedRequestSaysWhyAndWhatCameOfIt) {
  CacheStatus status;
  status.forward = CacheStatus::Forward::kUriMiss;
  status.forward_status = 200;
  status.stored = true;
  status.collapsed = true;
  status.ttl = milliseconds(60000);
  status.reason = Reason::kExplicitLifetime;
  EXPECT_EQ(
      Text(status),
      "Satchel; fwd=uri-miss; fwd-status=200; stored; collapsed; ttl=60; detail=explicit-lifetime");
}

TEST(CacheStatusTest, A7_EveryForwardReasonIsOneOfTheRegisteredWords) {
  const auto word = [](Reason reason) {
    CacheStatus status;
    status.forward = ForwardFor(reason);
    const std::string text = Text(status);
    return text.size() > 13 ? text.substr(13) : std::string();
  };
  EXPECT_EQ(word(Reason::kNoStoredResponse), "uri-miss");
  EXPECT_EQ(word(Reason::kVaryMismatch), "vary-miss");
  EXPECT_EQ(word(Reason::kExpired), "stale");
  EXPECT_EQ(word(Reason::kMustRevalidate), "stale");
  EXPECT_EQ(word(Reason::kResponseNoCache), "stale");
  EXPECT_EQ(word(Reason::kRequestNoCache), "request");
  EXPECT_EQ(word(Reason::kRequestMaxAge), "request");
  EXPECT_EQ(word(Reason::kPreconditions), "request");
  EXPECT_EQ(word(Reason::kMethod), "method");
  EXPECT_EQ(word(Reason::kRuleBypass), "bypass");
  EXPECT_EQ(word(Reason::kKnownUncacheable), "bypass");
  EXPECT_EQ(word(Reason::kUpgrade), "bypass");
  EXPECT_EQ(word(Reason::kPartialStored), "partial");
  EXPECT_EQ(word(Reason::kNoStore), "miss");
  EXPECT_EQ(word(Reason::kFresh), "");
}

TEST(ReasonTest, J5_EveryReasonHasAWordOfItsOwnThatIsAToken) {
  std::set<std::string_view> words;
  for (size_t i = 0; i < static_cast<size_t>(Reason::kCount); ++i) {
    const auto reason = static_cast<Reason>(i);
    words.insert(ReasonWord(reason));
    const auto item = sf::ParseItem(ReasonWord(reason));
    ASSERT_TRUE(item && std::holds_alternative<sf::Token>(item->value)) << i;
    EXPECT_TRUE(ReasonSection(reason).empty() || ReasonSection(reason).starts_with("RFC "));
  }
  EXPECT_EQ(words.size(), static_cast<size_t>(Reason::kCount));
  EXPECT_EQ(ReasonSection(Reason::kNoStore), "RFC 9111 5.2.2.5");
}

}  // namespace
}  // namespace satchel::cache
