#include "cache/store.h"

#include <gtest/gtest.h>

#include "cache/vary.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Drain;
using testing::Get;
using testing::GetWith;
using testing::Head;
using testing::Key;
using testing::Pattern;
using testing::Put;
using testing::Response;

const Overrides kRules;

VarySpec VaryOn(std::string name) {
  VarySpec spec;
  spec.names.push_back(std::move(name));
  return spec;
}

// A response that varies on a field and answered `request`.
StoredPtr Variant(const std::string& field, const RequestHead& request, std::string body,
                  int64_t date = 0) {
  const VarySpec spec = VaryOn(field);
  return Response({.date = date,
                   .vary = spec,
                   .vary_values = VaryValues(spec, request, kRules),
                   .body = std::move(body)});
}

std::string BodyFor(Store& store, const RequestHead& request, const CacheKey& key = Key()) {
  const Store::Found found = store.Lookup(key, request, kRules);
  return found.response ? found.response->body().ToString() : "none";
}

TEST(StoreTest, AnUnknownKeyIsNotFound) {
  Store store({});
  const Store::Found found = store.Lookup(Key(), Get(), kRules);
  EXPECT_EQ(found.response, nullptr);
  EXPECT_FALSE(found.other_variants);
}

TEST(StoreTest, AFinishedFillIsFound) {
  Store store({});
  Store::Begun begun = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  ASSERT_EQ(begun.role, Store::Role::kLeader);
  begun.permit.Publish(Head(), std::nullopt);
  begun.permit.Append("hello ");
  begun.permit.Append("world");
  EXPECT_EQ(BodyFor(store, Get()), "none");
  const StoredPtr stored = begun.permit.Finish();
  ASSERT_NE(stored, nullptr);
  EXPECT_EQ(BodyFor(store, Get()), "hello world");
  EXPECT_EQ(store.Lookup(Key(), Get(), kRules).response, stored);
  EXPECT_EQ(store.stats().objects, 1u);
  EXPECT_EQ(store.stats().fills, 0u);
}

TEST(StoreTest, EachKeyHasItsOwnResponse) {
  Store store({.shards = 1});
  for (int i = 0; i < 2000; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_TRUE(Put(store, Response({.key = key, .body = "body of " + key})));
  }
  for (int i = 0; i < 2000; ++i) {
    const std::string key = std::to_string(i);
    EXPECT_EQ(BodyFor(store, Get(), Key(key)), "body of " + key);
  }
  EXPECT_EQ(BodyFor(store, Get(), Key("2000")), "none");
  EXPECT_EQ(store.stats().objects, 2000u);
}

TEST(StoreTest, ANewResponseReplacesTheOld) {
  Store store({});
  ASSERT_TRUE(Put(store, Response({.body = "old"})));
  const size_t bytes = store.stats().bytes;
  ASSERT_TRUE(Put(store, Response({.body = "new"})));
  EXPECT_EQ(BodyFor(store, Get()), "new");
  EXPECT_EQ(store.stats().objects, 1u);
  EXPECT_EQ(store.stats().bytes, bytes);
  EXPECT_EQ(store.stats().evictions, 0u);
}

// ---- Variants

TEST(StoreTest, TheRequestSelectsItsVariant) {
  Store store({});
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead english = GetWith("Accept-Language", "en");
  Put(store, Variant("accept-language", german, "guten Tag"), german);
  Put(store, Variant("accept-language", english, "good day"), english);
  EXPECT_EQ(BodyFor(store, german), "guten Tag");
  EXPECT_EQ(BodyFor(store, english), "good day");
  const Store::Found none = store.Lookup(Key(), Get(), kRules);
  EXPECT_EQ(none.response, nullptr);
  EXPECT_TRUE(none.other_variants);
}

TEST(StoreTest, StoringReplacesOnlyTheVariantThatMatches) {
  Store store({});
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead english = GetWith("Accept-Language", "en");
  Put(store, Variant("accept-language", german, "alt"), german);
  Put(store, Variant("accept-language", english, "good day"), english);
  Put(store, Variant("accept-language", german, "neu"), german);
  EXPECT_EQ(BodyFor(store, german), "neu");
  EXPECT_EQ(BodyFor(store, english), "good day");
  EXPECT_EQ(store.stats().objects, 2u);
}

TEST(StoreTest, E2_OfSeveralMatchesTheMostRecentDateWins) {
  for (const bool newer_first : {true, false}) {
    Store store({});
    const RequestHead request = GetWith("Accept", "a");
    const StoredPtr older = Response({.date = 10, .body = "older"});
    const StoredPtr newer = Variant("accept", request, "newer", 20);
    Put(store, newer_first ? newer : older, request);
    Put(store, newer_first ? older : newer, request);
    EXPECT_EQ(BodyFor(store, request), "newer");
    EXPECT_EQ(BodyFor(store, GetWith("Accept", "b")), "older");
  }
}

TEST(StoreTest, TheLanguageLikedBestSelectsAResponseInThatLanguage) {
  Store store({});
  const RequestHead asked = GetWith("Accept-Language", "de, en;q=0.5");
  const VarySpec spec = VaryOn("accept-language");
  StoredResponse::Parts parts = testing::PartsOf(
      {.vary = spec, .vary_values = VaryValues(spec, asked, kRules), .body = "guten Tag"});
  parts.fields.Add("Content-Language", "de");
  Put(store, StoredResponse::Make(std::move(parts)), asked);
  EXPECT_EQ(BodyFor(store, GetWith("Accept-Language", "de, fr;q=0.3")), "guten Tag");
  EXPECT_EQ(BodyFor(store, GetWith("Accept-Language", "fr, de;q=0.3")), "none");
}

TEST(StoreTest, AVaryStarIsNeverSelected) {
  Store store({});
  VarySpec star;
  star.star = true;
  Put(store, Response({.vary = star, .body = "x"}));
  const Store::Found found = store.Lookup(Key(), Get(), kRules);
  EXPECT_EQ(found.response, nullptr);
  EXPECT_TRUE(found.other_variants);
}

TEST(StoreTest, BeyondTheLimitTheLeastRecentlyUsedVariantGoes) {
  Store store({});
  Overrides rules;
  rules.vary_limit = 3;
  const auto request = [](int i) { return GetWith("Accept", std::to_string(i)); };
  const auto add = [&](int i) {
    FillPermit permit = store.TryLead(Key(), request(i), rules);
    permit.CompleteWith(Variant("accept", request(i), std::to_string(i)), true);
  };
  for (int i = 0; i < 3; ++i) add(i);
  EXPECT_EQ(BodyFor(store, request(0)), "0");  // used: 1 is the oldest now
  add(3);
  EXPECT_EQ(BodyFor(store, request(0)), "0");
  EXPECT_EQ(BodyFor(store, request(1)), "none");
  EXPECT_EQ(BodyFor(store, request(2)), "2");
  EXPECT_EQ(BodyFor(store, request(3)), "3");
  EXPECT_EQ(store.stats().objects, 3u);
}

// ---- Fills and variants

TEST(StoreTest, AFillWhoseVaryTheRequestDoesNotMatchIsNotJoined) {
  Store store({});
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead english = GetWith("Accept-Language", "en");
  Store::Begun first = store.BeginFill(Key(), german, kRules, At(0), nullptr);
  first.permit.Publish(Variant("accept-language", german, ""), std::nullopt);
  Store::Begun second = store.BeginFill(Key(), english, kRules, At(0), nullptr);
  EXPECT_EQ(second.role, Store::Role::kLeader);
  EXPECT_EQ(store.BeginFill(Key(), german, kRules, At(0), nullptr).role, Store::Role::kFollower);
}

TEST(StoreTest, BeforeTheHeadOnlyRequestsOfTheKnownVariantJoin) {
  Store store({});
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead english = GetWith("Accept-Language", "en");
  Put(store, Variant("accept-language", GetWith("Accept-Language", "fr"), "bonjour"));
  Store::Begun first = store.BeginFill(Key(), german, kRules, At(0), nullptr);
  Store::Begun second = store.BeginFill(Key(), english, kRules, At(0), nullptr);
  Store::Begun third = store.BeginFill(Key(), german, kRules, At(0), nullptr);
  EXPECT_EQ(first.role, Store::Role::kLeader);
  EXPECT_EQ(second.role, Store::Role::kLeader);
  EXPECT_EQ(third.role, Store::Role::kFollower);
}

TEST(StoreTest, WithNothingKnownOfVaryAllRequestsOfTheKeyJoin) {
  Store store({});
  Store::Begun first =
      store.BeginFill(Key(), GetWith("Accept-Language", "de"), kRules, At(0), nullptr);
  Store::Begun second =
      store.BeginFill(Key(), GetWith("Accept-Language", "en"), kRules, At(0), nullptr);
  EXPECT_EQ(second.role, Store::Role::kFollower);
}

TEST(StoreTest, WithoutCoalescingEverybodyLeadsAndStores) {
  Store store({});
  Overrides rules;
  rules.coalesce = false;
  Store::Begun first = store.BeginFill(Key(), Get(), rules, At(0), nullptr);
  Store::Begun second = store.BeginFill(Key(), Get(), rules, At(0), nullptr);
  EXPECT_EQ(first.role, Store::Role::kLeader);
  EXPECT_EQ(second.role, Store::Role::kLeader);
  EXPECT_FALSE(store.TryLead(Key(), Get(), rules));  // a refresh is one nevertheless
  second.permit.CompleteWith(Response({.body = "b"}), true);
  first.permit.CompleteWith(Response({.body = "a"}), true);
  EXPECT_EQ(BodyFor(store, Get()), "a");
}

TEST(StoreTest, BeyondTheLimitOfFillsRequestsGoAlone) {
  Store store({.max_fills = 2});
  Store::Begun a = store.BeginFill(Key("a"), Get(), kRules, At(0), nullptr);
  Store::Begun b = store.BeginFill(Key("b"), Get(), kRules, At(0), nullptr);
  EXPECT_EQ(store.BeginFill(Key("c"), Get(), kRules, At(0), nullptr).role, Store::Role::kAlone);
  EXPECT_FALSE(store.TryLead(Key("c"), Get(), kRules));
  EXPECT_EQ(store.BeginFill(Key("a"), Get(), kRules, At(0), nullptr).role, Store::Role::kFollower);
  b.permit.Release(Reason::kPrivate);
  b = {};
  EXPECT_EQ(store.BeginFill(Key("c"), Get(), kRules, At(0), nullptr).role, Store::Role::kLeader);
}

// ---- Uncacheable keys

TEST(StoreTest, NobodyQueuesOnAKeyRememberedAsUncacheable) {
  Store store({.uncacheable_for = std::chrono::seconds(10)});
  store.RememberUncacheable(Key(), At(0));
  EXPECT_EQ(store.BeginFill(Key(), Get(), kRules, At(9), nullptr).role, Store::Role::kAlone);
  EXPECT_EQ(store.BeginFill(Key("other"), Get(), kRules, At(9), nullptr).role,
            Store::Role::kLeader);
  EXPECT_EQ(store.BeginFill(Key(), Get(), kRules, At(10), nullptr).role, Store::Role::kLeader);
}

TEST(StoreTest, AnUncacheableKeyCanBeForgotten) {
  Store store({});
  store.RememberUncacheable(Key(), At(0));
  EXPECT_EQ(store.stats().uncacheable, 1u);
  store.ForgetUncacheable(Key());
  EXPECT_EQ(store.stats().uncacheable, 0u);
  EXPECT_EQ(store.BeginFill(Key(), Get(), kRules, At(0), nullptr).role, Store::Role::kLeader);
}

TEST(StoreTest, TheMemoryOfUncacheableKeysIsBounded) {
  Store store({.max_uncacheable = 64});
  for (int i = 0; i < 10'000; ++i) store.RememberUncacheable(Key(std::to_string(i)), At(i));
  EXPECT_LE(store.stats().uncacheable, 64u);
  EXPECT_EQ(store.BeginFill(Key("9999"), Get(), kRules, At(9999), nullptr).role,
            Store::Role::kAlone);  // the newest are the ones remembered
}

// ---- Invalidation

TEST(StoreTest, InvalidatingRemovesEveryVariant) {
  Store store({});
  for (const char* value : {"a", "b", "c"}) {
    const RequestHead request = GetWith("Accept", value);
    Put(store, Variant("accept", request, value), request);
  }
  Put(store, Response({.key = "other", .body = "stays"}));
  EXPECT_EQ(store.Invalidate(Key()), 3u);
  EXPECT_EQ(store.Invalidate(Key()), 0u);
  EXPECT_FALSE(store.Lookup(Key(), GetWith("Accept", "a"), kRules).other_variants);
  EXPECT_EQ(BodyFor(store, Get(), Key("other")), "stays");
}

TEST(StoreTest, AFillThatBeganBeforeAPurgeServesItsReadersButInsertsNothing) {
  Store store({});
  Store::Begun leader = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  Store::Begun follower = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  leader.permit.Publish(Head(), std::nullopt);
  store.Invalidate(Key());
  Store::Begun after = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  EXPECT_EQ(after.role, Store::Role::kLeader);
  leader.permit.Append("before the purge");
  EXPECT_EQ(leader.permit.Finish(), nullptr);
  EXPECT_EQ(Drain(follower.reader), "before the purge");
  EXPECT_EQ(follower.reader.View().complete->body().ToString(), "before the purge");
  EXPECT_EQ(BodyFor(store, Get()), "none");
  after.permit.Publish(Head(), std::nullopt);
  after.permit.Append("after it");
  EXPECT_NE(after.permit.Finish(), nullptr);
  EXPECT_EQ(BodyFor(store, Get()), "after it");
}

TEST(StoreTest, APurgeAlsoDoomsAnswersFromElsewhereAndHeirs) {
  Store store({});
  FillPermit refresh = store.TryLead(Key(), Get(), kRules);
  Store::Begun follower = store.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  store.Clear();
  refresh.Fail({ErrorSource::kUpstream, "broken"});
  std::optional<FillPermit> heir = follower.reader.TakePermit();
  ASSERT_TRUE(heir);
  heir->CompleteWith(Response({.body = "old news"}), true);
  EXPECT_EQ(BodyFor(store, Get()), "none");
}

TEST(StoreTest, ClearingRemovesEverything) {
  Store store({});
  for (int i = 0; i < 100; ++i) Put(store, Response({.key = std::to_string(i), .body = "x"}));
  store.RememberUncacheable(Key("u"), At(0));
  store.Clear();
  const Store::Stats stats = store.stats();
  EXPECT_EQ(stats.objects, 0u);
  EXPECT_EQ(stats.bytes, 0u);
  EXPECT_EQ(stats.uncacheable, 0u);
  EXPECT_EQ(stats.invalidations, 100u);
}

// ---- Bytes

TEST(StoreTest, TheBudgetHoldsWhateverIsPutIn) {
  for (const size_t shards : {1u, 16u}) {
    Store store({.capacity = 1'000'000, .shards = shards});
    for (int i = 0; i < 3000; ++i) {
      const size_t size = static_cast<size_t>(i * 7919 % 20'000);
      Put(store, Response({.key = std::to_string(i), .body = Pattern(size)}));
      ASSERT_LE(store.stats().bytes, 1'000'000u);
    }
    EXPECT_GT(store.stats().bytes, 900'000u);  // and it is used
    EXPECT_GT(store.stats().evictions, 1000u);
  }
}

TEST(StoreTest, ObjectsUpToHalfOfTheBudgetAreAdmitted) {
  Store store({.capacity = 1'000'000, .max_object = 1'000'000});
  Put(store, Response({.key = "fits", .body = Pattern(480'000)}));
  EXPECT_NE(BodyFor(store, Get(), Key("fits")), "none");
  Put(store, Response({.key = "large", .body = Pattern(520'000)}));
  EXPECT_EQ(BodyFor(store, Get(), Key("large")), "none");
  EXPECT_EQ(store.stats().rejected_too_large, 1u);
}

TEST(StoreTest, WhatIsUsedOftenOutlivesWhatIsUsedOnce) {
  Store store({.capacity = 1'000'000, .shards = 4});
  for (int i = 0; i < 20; ++i) {
    Put(store, Response({.key = "hot" + std::to_string(i), .body = Pattern(1000)}));
  }
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 20; ++i) BodyFor(store, Get(), Key("hot" + std::to_string(i)));
  }
  for (int i = 0; i < 3000; ++i) {
    Put(store, Response({.key = "cold" + std::to_string(i), .body = Pattern(1000)}));
  }
  int left = 0;
  for (int i = 0; i < 20; ++i) {
    left += BodyFor(store, Get(), Key("hot" + std::to_string(i))) != "none" ? 1 : 0;
  }
  EXPECT_EQ(left, 20);
}

TEST(StoreTest, AResponseInUseSurvivesItsEviction) {
  Store store({.capacity = 100'000, .shards = 1});
  Put(store, Response({.key = "kept", .body = Pattern(10'000)}));
  const StoredPtr kept = store.Lookup(Key("kept"), Get(), kRules).response;
  for (int i = 0; i < 100; ++i) {
    Put(store, Response({.key = std::to_string(i), .body = Pattern(10'000)}));
    Put(store, Response({.key = std::to_string(i), .body = Pattern(10'000)}));
  }
  EXPECT_EQ(BodyFor(store, Get(), Key("kept")), "none");
  EXPECT_EQ(kept->body().ToString(), Pattern(10'000));
}

// ---- Time

TEST(StoreTest, ATickLetsGoOfWhatExpiredLongAgo) {
  Store store({});
  store.Tick(At(0));
  Put(store, Response({.key = "short", .lifetime = 10, .body = "x"}));
  Put(store, Response({.key = "long", .lifetime = 1000, .body = "x"}));
  store.Tick(At(60));  // expired, but still good when the origin is gone
  EXPECT_EQ(store.stats().objects, 2u);
  store.Tick(At(10 + 60 + 8));
  EXPECT_EQ(BodyFor(store, Get(), Key("short")), "none");
  EXPECT_EQ(BodyFor(store, Get(), Key("long")), "x");
  EXPECT_EQ(store.stats().expirations, 1u);
  EXPECT_EQ(store.stats().evictions, 0u);
}

TEST(StoreTest, StaleWindowsCountAsNotExpired) {
  Store store({});
  store.Tick(At(0));
  StoredResponse::Parts parts = testing::PartsOf({.lifetime = 10, .body = "x"});
  parts.facts.stale_if_error = Millis(std::chrono::seconds(500));
  Put(store, StoredResponse::Make(parts));
  store.Tick(At(500));
  EXPECT_EQ(store.stats().objects, 1u);
  store.Tick(At(520));
  EXPECT_EQ(store.stats().objects, 0u);
}

TEST(StoreTest, TimeGoingBackRemovesNothing) {
  Store store({});
  store.Tick(At(1000));
  Put(store, Response({.date = 1000, .lifetime = 10, .body = "x"}));
  store.Tick(At(-100'000));
  store.Tick(At(1001));
  EXPECT_EQ(store.stats().objects, 1u);
}

TEST(StoreTest, BeforeATickNothingExpires) {
  Store store({});
  Put(store, Response({.lifetime = 0, .body = "x"}));
  EXPECT_EQ(store.stats().objects, 1u);
  EXPECT_EQ(BodyFor(store, Get()), "x");
}

}  // namespace
}  // namespace satchel::cache
