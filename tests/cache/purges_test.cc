// Purges as the store and its fills meet them.
#include "cache/purges.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "cache/reuse.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Get;
using testing::Key;
using testing::PartsOf;
using testing::Put;

StoredPtr Tagged(Store& store, std::string_view tag, std::string body = "body",
                 std::string key = "http://origin.test/") {
  StoredResponse::Parts parts = PartsOf({.key = std::move(key), .body = std::move(body)});
  TagSet tags;
  tags.Add(tag);
  parts.tags = tags.Take();
  parts.purge_sequence = store.purges().head();
  parts.facts.swr_granted = true;
  parts.facts.stale_while_revalidate = Millis(std::chrono::seconds(30));
  return StoredResponse::Make(std::move(parts));
}

uint64_t PurgeTag(Store& store, std::string_view tag, bool soft = false) {
  const PurgeRecord record = PurgeRecord::Tag(tag, soft);
  return store.purges().Apply({&record, 1}, 0);
}

StoredPtr Find(Store& store, std::string key = "http://origin.test/") {
  return store.Lookup(CacheKey(std::move(key)), Get(), Overrides()).response;
}

TEST(PurgesTest, ASequenceThatDoesNotExceedTheHeadCountsAsTheNext) {
  Purges purges;
  EXPECT_EQ(purges.Apply({}, 100), 100u);
  EXPECT_EQ(purges.Apply({}, 50), 101u);
  EXPECT_EQ(purges.Apply({}, 101), 102u);
  EXPECT_EQ(purges.head(), 102u);
  purges.Advance(90);
  EXPECT_EQ(purges.head(), 102u);
}

TEST(PurgesTest, APurgedResponseIsNotFoundAndLeavesTheStore) {
  Store store({});
  Put(store, Tagged(store, "a"));
  PurgeTag(store, "b");
  EXPECT_NE(Find(store), nullptr);
  PurgeTag(store, "a");
  EXPECT_EQ(Find(store), nullptr);
  EXPECT_EQ(store.stats().objects, 0u);
  EXPECT_EQ(store.stats().bytes, 0u);
  EXPECT_EQ(store.purges().stats().gone, 1u);
}

TEST(PurgesTest, OneLookAtAPurgeIsEnough) {
  Store store({});
  Put(store, Tagged(store, "a"));
  const StoredPtr response = Find(store);
  const uint64_t head = PurgeTag(store, "b");
  EXPECT_LT(response->purge_sequence(), head);
  EXPECT_EQ(Find(store), response);
  EXPECT_EQ(response->purge_sequence(), head);
}

TEST(PurgesTest, ASoftlyPurgedResponseIsStaleFromThePurgeOn) {
  Store store({});
  Put(store, Tagged(store, "a"));
  const PurgeRecord record = PurgeRecord::Tag("a", true);
  const auto purge = static_cast<uint64_t>(At(20).time_since_epoch().count()) * 1000;
  store.purges().Apply({&record, 1}, purge);
  const StoredPtr stale = Find(store);
  ASSERT_NE(stale, nullptr);
  EXPECT_TRUE(stale->facts().stale_by_purge);
  EXPECT_FALSE(stale->facts().IsFreshAt(At(21)));
  EXPECT_EQ(stale->facts().StaleFor(At(25)), std::chrono::seconds(5));
  EXPECT_EQ(stale->body().ToString(), "body");
  EXPECT_EQ(Find(store), stale);  // made once
  EXPECT_EQ(Decide(Get(), &stale->facts(), false, At(25), Overrides()).action,
            Action::kServeStaleAndRefresh);
  EXPECT_EQ(Decide(Get(), &stale->facts(), false, At(51), Overrides()).action, Action::kRevalidate);
  PurgeTag(store, "a");
  EXPECT_EQ(Find(store), nullptr);
}

TEST(PurgesTest, ThePurgesClockIsShiftedToOurs) {
  Store store({});
  Put(store, Tagged(store, "a"));
  store.purges().SetClockOffset(std::chrono::seconds(1000));  // theirs is ahead
  const PurgeRecord record = PurgeRecord::Tag("a", true);
  store.purges().Apply({&record, 1},
                       static_cast<uint64_t>(At(1020).time_since_epoch().count()) * 1000);
  EXPECT_EQ(Find(store)->facts().StaleFor(At(25)), std::chrono::seconds(5));
}

TEST(PurgesTest, ADoubtfulResponseIsValidatedAndNeverServedMeanwhile) {
  Store store({});
  Put(store, Tagged(store, "a"));
  store.purges().Doubt(store.purges().head() + 1, false);
  const StoredPtr doubtful = Find(store);
  ASSERT_NE(doubtful, nullptr);
  EXPECT_EQ(Decide(Get(), &doubtful->facts(), false, At(1), Overrides()).action,
            Action::kRevalidate);
  EXPECT_EQ(store.purges().stats().doubtful, 1u);
  Put(store, Tagged(store, "a"));
  EXPECT_FALSE(Find(store)->facts().stale_by_purge);
}

TEST(PurgesTest, OtherResponsesStay) {
  Store store({});
  StoredPtr a = Tagged(store, "a");
  ASSERT_TRUE(Put(store, a));
  ASSERT_TRUE(Put(store, Tagged(store, "b", "other", "http://origin.test/b")));
  PurgeTag(store, "a");
  EXPECT_EQ(Find(store), nullptr);
  EXPECT_NE(Find(store, "http://origin.test/b"), nullptr);
}

// ---- Fills

struct Filling {
  Store store{{}};
  FillPermit permit;
  Filling() { permit = Begin().permit; }
  Store::Begun Begin() {
    return store.BeginFill(Key(), Get(), Overrides(), At(0), [] {});
  }
  StoredPtr HeadWith(std::string_view tag, uint64_t sequence) {
    StoredResponse::Parts parts = PartsOf({});
    TagSet tags;
    tags.Add(tag);
    parts.tags = tags.Take();
    parts.purge_sequence = sequence;
    return StoredResponse::Make(std::move(parts));
  }
};

TEST(PurgedFillTest, AnAnswerPurgedBeforeItsHeadIsNotPublished) {
  Filling f;
  const uint64_t asked = f.permit.MarkAsked();
  PurgeTag(f.store, "a");
  EXPECT_FALSE(f.permit.Publish(f.HeadWith("a", asked), 4));
  EXPECT_TRUE(f.permit);
  EXPECT_TRUE(f.permit.Publish(f.HeadWith("b", asked), 4));
}

TEST(PurgedFillTest, TheBeginningOfAPurgedAnswerIsNotKept) {
  for (const bool purged : {true, false}) {
    Filling f;
    const uint64_t asked = f.permit.MarkAsked();
    ASSERT_TRUE(f.permit.Publish(f.HeadWith("a", asked), 4));
    PurgeTag(f.store, purged ? "a" : "b");
    f.permit.FailKeeping(f.HeadWith("a", asked), {ErrorSource::kUpstream, "cut", 502});
    EXPECT_EQ(f.store.stats().objects, purged ? 0u : 1u);
    EXPECT_EQ(Find(f.store) == nullptr, purged);
  }
}

TEST(PurgedFillTest, AnAnswerPurgedWhileItGrowsIsNotStored) {
  Filling f;
  ASSERT_TRUE(f.permit.Publish(f.HeadWith("a", f.permit.MarkAsked()), 4));
  f.permit.Append("body");
  PurgeTag(f.store, "a");
  EXPECT_EQ(f.permit.Finish(), nullptr);
  EXPECT_EQ(Find(f.store), nullptr);
  EXPECT_EQ(f.store.stats().bytes, 0u);
}

TEST(PurgedFillTest, OneSoftlyPurgedWhileItGrowsIsStoredStale) {
  Filling f;
  ASSERT_TRUE(f.permit.Publish(f.HeadWith("a", f.permit.MarkAsked()), 4));
  f.permit.Append("body");
  PurgeTag(f.store, "a", true);
  const StoredPtr stored = f.permit.Finish();
  ASSERT_NE(stored, nullptr);
  EXPECT_TRUE(stored->facts().stale_by_purge);
  EXPECT_EQ(Find(f.store), stored);
}

TEST(PurgedFillTest, NobodyJoinsAFillAfterThePurgeOfWhatItFetches) {
  Filling f;
  ASSERT_TRUE(f.permit.Publish(f.HeadWith("a", f.permit.MarkAsked()), 4));
  auto before = f.Begin();
  EXPECT_EQ(before.role, Store::Role::kFollower);
  PurgeTag(f.store, "a");
  auto after = f.Begin();
  EXPECT_EQ(after.role, Store::Role::kLeader);
  f.permit.Append("body");
  f.permit.Finish();
  EXPECT_EQ(before.reader.View().state, FillState::kComplete);  // it asked before
  EXPECT_EQ(Find(f.store), nullptr);
  EXPECT_TRUE(after.permit);
}

TEST(PurgedFillTest, APurgeOfTheUrlKeepsNewcomersAwayFromAFillWithoutHead) {
  Filling f;
  f.permit.MarkAsked();
  const PurgeRecord record = PurgeRecord::Url("http://origin.test/", false);
  f.store.purges().Apply({&record, 1}, 0);
  EXPECT_EQ(f.Begin().role, Store::Role::kLeader);
}

TEST(PurgedFillTest, APurgeOfSomethingElseDisturbsNoFill) {
  Filling f;
  const uint64_t asked = f.permit.MarkAsked();
  PurgeTag(f.store, "z");
  EXPECT_EQ(f.Begin().role, Store::Role::kFollower);
  ASSERT_TRUE(f.permit.Publish(f.HeadWith("a", asked), 4));
  EXPECT_EQ(f.Begin().role, Store::Role::kFollower);
  f.permit.Append("body");
  EXPECT_NE(f.permit.Finish(), nullptr);
  EXPECT_NE(Find(f.store), nullptr);
}

TEST(PurgedFillTest, AskingAgainMakesTheAnswerNew) {
  Filling f;
  f.permit.MarkAsked();
  PurgeTag(f.store, "a");
  ASSERT_TRUE(f.permit.Publish(f.HeadWith("a", f.permit.MarkAsked()), 4));
  f.permit.Append("body");
  EXPECT_NE(f.permit.Finish(), nullptr);
}

TEST(PurgesTest, APurgeMadeHereAloneHoldsForWhatAnotherInstanceStoredKnowingMore) {
  Store store({.capacity = 1 << 20});
  Purges& purges = store.purges();
  purges.Advance(10);
  const StoredPtr foreign = Tagged(store, "a");
  foreign->RaisePurgeSequence(1000);
  ASSERT_EQ(purges.Adopt(foreign), foreign);
  EXPECT_EQ(foreign->purge_sequence(), 10U);
  const PurgeRecord alone = PurgeRecord::Tag("a", false);
  EXPECT_EQ(purges.Apply({&alone, 1}, 0), 11U);
  EXPECT_EQ(purges.Check(foreign), nullptr);
}

TEST(PurgedFillTest, AResponseOfAnotherTierThatWasPurgedCompletesNothing) {
  Filling f;
  const StoredPtr old = Tagged(f.store, "a");
  PurgeTag(f.store, "a");
  EXPECT_FALSE(f.permit.CompleteWith(old, true));
  EXPECT_FALSE(f.permit.CompleteWith(old, false));
  EXPECT_TRUE(f.permit);
  EXPECT_TRUE(f.permit.CompleteWith(Tagged(f.store, "a"), true));
  EXPECT_FALSE(f.permit);
}

// The race that plain deletion loses: an answer is fetched, the resource changes and is purged, the
// answer is stored afterwards. Whatever the interleaving, what is found after a purge returned has
// to be at least as new as the purge.
TEST(PurgeRaceTest, NoStaleAnswerOutlivesAPurgeInTwentyThousandTries) {
  Store store({.shards = 1});
  constexpr int kFetches = 20'000;
  std::atomic<uint64_t> version{1};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> stale{0};
  std::atomic<uint64_t> found{0};
  std::thread filler([&] {
    for (int i = 0; i < kFetches; ++i) {
      FillPermit permit = store.TryLead(Key(), Get(), Overrides());
      if (!permit) continue;
      const uint64_t asked = permit.MarkAsked();
      const std::string body = std::to_string(version.load());  // the origin answers
      StoredResponse::Parts parts = PartsOf({});
      TagSet tags;
      tags.Add("v");
      parts.tags = tags.Take();
      parts.purge_sequence = asked;
      if (!permit.Publish(StoredResponse::Make(std::move(parts)), body.size())) continue;
      permit.Append(body);
      permit.Finish();
    }
    done = true;
  });
  std::thread purger([&] {
    while (!done) {
      const uint64_t now = version.fetch_add(1) + 1;  // the resource changes
      PurgeTag(store, "v");
      const StoredPtr response = Find(store);
      if (!response) continue;
      found.fetch_add(1);
      if (std::stoull(response->body().ToString()) < now) stale.fetch_add(1);
    }
  });
  std::thread reader([&] {
    while (!done) {
      const uint64_t purged = store.purges().head();
      // Everything up to `purged` has been applied; versions are counted by the same purges.
      const StoredPtr response = Find(store);
      if (response && std::stoull(response->body().ToString()) <= purged) stale.fetch_add(1);
    }
  });
  filler.join();
  purger.join();
  reader.join();
  EXPECT_EQ(stale.load(), 0u);
  EXPECT_GT(version.load(), 100u);
}

}  // namespace
}  // namespace satchel::cache
