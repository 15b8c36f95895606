// What was stored or fetched between a lookup and the wish to fetch.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "cache/store.h"
#include "cache/vary.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Get;
using testing::GetWith;
using testing::Key;
using testing::Put;
using testing::Response;
using Role = Store::Role;

const Overrides kRules;

Role Begin(Store& store, const PriorLookup& known, const RequestHead& request = Get()) {
  return store.BeginFill(Key(), request, kRules, At(0), nullptr, {}, known).role;
}

TEST(PriorLookupTest, WhatWasStoredSinceTheLookupIsNotFetchedAgain) {
  Store store({});
  const StoredPtr seen = store.Lookup(Key(), Get(), kRules).response;
  ASSERT_EQ(seen, nullptr);
  Put(store, Response({.body = "new"}));
  EXPECT_EQ(Begin(store, {.seen = &seen}), Role::kStored);
  EXPECT_EQ(store.Follow(Key(), Get(), kRules, nullptr, {.seen = &seen}).role, Role::kStored);
  EXPECT_FALSE(store.TryLead(Key(), Get(), kRules, {.seen = &seen}));
  EXPECT_EQ(store.stats().fills, 0u);
}

TEST(PriorLookupTest, WhatWasRefreshedSinceTheLookupIsNotRefreshedAgain) {
  Store store({});
  Put(store, Response({.body = "old"}));
  const StoredPtr seen = store.Lookup(Key(), Get(), kRules).response;
  Put(store, Response({.date = 1, .body = "new"}));
  EXPECT_EQ(Begin(store, {.seen = &seen}), Role::kStored);
  EXPECT_FALSE(store.TryLead(Key(), Get(), kRules, {.seen = &seen}));
}

TEST(PriorLookupTest, WhatWasSeenAndIsStillThereIsFetchedAnew) {
  Store store({});
  Put(store, Response({.body = "old"}));
  const StoredPtr seen = store.Lookup(Key(), Get(), kRules).response;
  EXPECT_TRUE(store.TryLead(Key(), Get(), kRules, {.seen = &seen}));
  EXPECT_EQ(Begin(store, {.seen = &seen}), Role::kLeader);
}

// As when the shared tier had a newer one, which a purge keeps from being stored here.
TEST(PriorLookupTest, WhatWasSeenElsewhereIsRefreshedThoughAnOlderOneIsStored) {
  Store store({});
  Put(store, Response({.body = "old"}));
  const StoredPtr seen = Response({.date = 5, .body = "of another instance"});
  EXPECT_TRUE(store.TryLead(Key(), Get(), kRules, {.seen = &seen}));
  EXPECT_EQ(Begin(store, {.seen = &seen}), Role::kLeader);
}

TEST(PriorLookupTest, ABodyThatWasLaidInAFileSinceIsNoNewResponse) {
  Store store({.files = {.files = 4, .bytes = size_t{1} << 20}});
  Put(store, Response({.body = std::string(40 << 10, 'x')}));
  const StoredPtr seen = store.Lookup(Key(), Get(), kRules).response;
  ASSERT_TRUE(store.LayInFile(seen));
  ASSERT_NE(store.Lookup(Key(), Get(), kRules).response, seen);
  EXPECT_TRUE(store.TryLead(Key(), Get(), kRules, {.seen = &seen}));
  store.Drop(Key(), *seen);
  EXPECT_EQ(store.Lookup(Key(), Get(), kRules).response, nullptr);
}

TEST(PriorLookupTest, WhoDropsAnOldResponseLeavesTheOneThatTookItsPlace) {
  Store store({});
  Put(store, Response({.body = "old"}));
  const StoredPtr seen = store.Lookup(Key(), Get(), kRules).response;
  Put(store, Response({.date = 1, .body = "new"}));
  store.Drop(Key(), *seen);
  EXPECT_NE(store.Lookup(Key(), Get(), kRules).response, nullptr);
}

TEST(PriorLookupTest, WhatWasSeenAndIsGoneIsFetchedAnew) {
  Store store({});
  Put(store, Response({.body = "old"}));
  const StoredPtr seen = store.Lookup(Key(), Get(), kRules).response;
  store.Invalidate(Key());
  EXPECT_EQ(Begin(store, {.seen = &seen}), Role::kLeader);
}

TEST(PriorLookupTest, AnotherVariantThatWasStoredSinceIsNoAnswer) {
  Store store({});
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead english = GetWith("Accept-Language", "en");
  const StoredPtr seen = store.Lookup(Key(), german, kRules).response;
  const VarySpec vary{.names = {"accept-language"}};
  Put(store, Response({.vary = vary, .vary_values = VaryValues(vary, english, kRules)}));
  EXPECT_EQ(Begin(store, {.seen = &seen}, german), Role::kLeader);
}

// After a purge of all variants nothing in the store tells them apart.
TEST(PriorLookupTest, RefreshesOfTwoVariantsDoNotStandForEachOther) {
  const VarySpec vary{.names = {"accept-language"}};
  const RequestHead german = GetWith("Accept-Language", "de");
  const RequestHead english = GetWith("Accept-Language", "en");
  Store store({});
  const FillPermit first = store.TryLead(Key(), german, kRules, {.vary = &vary});
  ASSERT_TRUE(first);
  EXPECT_FALSE(store.TryLead(Key(), german, kRules, {.vary = &vary}));
  EXPECT_TRUE(store.TryLead(Key(), english, kRules, {.vary = &vary}));
  EXPECT_EQ(Begin(store, {}, german), Role::kFollower);
}

TEST(PriorLookupTest, AFetchThatMayBringAnyVariantDoesNotStandForOne) {
  const VarySpec vary{.names = {"accept-language"}};
  Store store({});
  const FillPermit first = store.TryLead(Key(), GetWith("Accept-Language", "de"), kRules);
  ASSERT_TRUE(first);
  const RequestHead english = GetWith("Accept-Language", "en");
  EXPECT_FALSE(store.TryLead(Key(), english, kRules));
  EXPECT_TRUE(store.TryLead(Key(), english, kRules, {.vary = &vary}));
}

TEST(PriorLookupTest, OfManyThreadsThatLookAndThenFetchOneFetches) {
  constexpr size_t kThreads = 4;
  constexpr int kRounds = 5'000;
  Store store({});
  std::vector<std::atomic<int>> fetches(kRounds);
  std::vector<std::thread> threads;
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const std::string text = std::to_string(round);
        const CacheKey key(text);
        const StoredPtr seen = store.Lookup(key, Get(), kRules).response;
        if (seen) continue;
        Store::Begun begun =
            store.BeginFill(key, Get(), kRules, At(0), nullptr, {}, {.seen = &seen});
        if (begun.role != Role::kLeader) continue;
        ++fetches[round];
        begun.permit.CompleteWith(Response({.key = text, .body = "b"}), true);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& count : fetches) EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace satchel::cache
