#include "cache/fill.h"

#include <gtest/gtest.h>

#include <vector>

#include "cache/store.h"
#include "tests/cache/fill_fixture.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Drain;
using testing::FillTest;
using testing::Get;
using testing::Head;
using testing::Key;
using testing::kRules;
using testing::Pattern;
using testing::Response;

Error Broken(std::string message = "broken") {
  return {ErrorSource::kUpstream, std::move(message)};
}

TEST_F(FillTest, OneLeadsAndTheOthersFollow) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  EXPECT_EQ(reader.View().state, FillState::kWaiting);
  EXPECT_FALSE(store.TryLead(Key(), Get(), kRules));
  EXPECT_EQ(store.stats().fills, 1u);
}

TEST_F(FillTest, AFollowerStreamsWhatHasArrived) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  const StoredPtr head = Head();
  permit.Publish(head, 11);
  FillView view = reader.View();
  EXPECT_EQ(view.state, FillState::kStreaming);
  EXPECT_EQ(view.head, head);
  EXPECT_EQ(view.length, 11u);
  permit.Append("hello ");
  EXPECT_EQ(reader.View().available, 6u);
  EXPECT_EQ(Drain(reader), "hello ");
  permit.Append("world");
  EXPECT_EQ(Drain(reader), "world");
  EXPECT_EQ(reader.position(), 11u);
  const StoredPtr stored = permit.Finish();
  view = reader.View();
  EXPECT_EQ(view.state, FillState::kComplete);
  EXPECT_EQ(view.complete, stored);
  EXPECT_EQ(view.available, 11u);
}

TEST_F(FillTest, ALateFollowerGetsEverythingFromTheStart) {
  FillPermit permit = Lead();
  permit.Publish(Head(), std::nullopt);
  const std::string bytes = Pattern(500'000);
  permit.Append(bytes);
  FillReader reader = Follow();
  permit.Finish();
  EXPECT_EQ(Drain(reader), bytes);
}

TEST_F(FillTest, ViewsStayValidUntilTheyAreConsumedWhateverHappens) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), std::nullopt);
  permit.Append("hello");
  iovec view;
  ASSERT_EQ(reader.Gather({&view, 1}), 1u);
  permit.Append(Pattern(100'000));
  permit.Finish();
  store.Clear();
  EXPECT_EQ(std::string_view(static_cast<char*>(view.iov_base), view.iov_len), "hello");
}

TEST_F(FillTest, BodiesOfAllSizesAndPiecesComeOutWhole) {
  for (const size_t size : {0u, 1u, 4095u, 4096u, 4097u, 70'000u, 262'144u, 262'145u, 1'000'000u}) {
    for (const bool known : {true, false}) {
      for (const size_t piece : {1'000u, 65'536u}) {
        store.Clear();
        const std::string bytes = Pattern(size);
        FillPermit permit = Lead();
        FillReader reader = Follow();
        permit.Publish(Head(), known ? std::optional<uint64_t>(size) : std::nullopt);
        for (size_t at = 0; at < size; at += piece) permit.Append(bytes.substr(at, piece));
        const StoredPtr stored = permit.Finish();
        ASSERT_NE(stored, nullptr);
        EXPECT_EQ(stored->body().ToString(), bytes) << size;
        EXPECT_EQ(Stored(), stored);
        EXPECT_EQ(Drain(reader), bytes) << size;
        EXPECT_EQ(stored->Fields().First(FieldId::kContentLength), std::to_string(size));
      }
    }
  }
}

TEST_F(FillTest, ABodyOfKnownLengthIsOnePiece) {
  FillPermit permit = Lead();
  permit.Publish(Head(), 1'000'000);
  const std::string bytes = Pattern(1'000'000);
  for (size_t at = 0; at < bytes.size(); at += 10'000) permit.Append(bytes.substr(at, 10'000));
  const StoredPtr stored = permit.Finish();
  std::vector<iovec> pieces(8);
  EXPECT_EQ(stored->body().Gather(0, stored->body().size(), pieces), 1u);
}

TEST_F(FillTest, AnAnnouncedLengthIsNotPaidForBeforeItArrives) {
  Store large({.capacity = size_t{256} << 20, .max_object = size_t{64} << 20});
  Store::Begun begun = large.BeginFill(Key(), Get(), kRules, At(0), nullptr);
  begun.permit.Publish(Head(), size_t{64} << 20);
  begun.permit.Append("x");
  EXPECT_LE(large.stats().bytes, size_t{2} << 20);
}

TEST_F(FillTest, ASmallBodyLeavesNoLargeSegmentBehind) {
  FillPermit permit = Lead();
  permit.Publish(Head(), std::nullopt);
  permit.Append(Pattern(3'000));
  permit.Append(Pattern(30'000));
  const StoredPtr stored = permit.Finish();
  EXPECT_LE(stored->charge(), 33'500u);
  EXPECT_LE(store.stats().bytes, 34'000u);
}

TEST_F(FillTest, ABodyShorterThanAnnouncedIsNeverStored) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), 10);
  permit.Append("short");
  EXPECT_EQ(permit.Finish(), nullptr);
  EXPECT_EQ(Stored(), nullptr);
  EXPECT_EQ(reader.View().state, FillState::kFailed);
  EXPECT_EQ(Drain(reader), "short");
}

TEST_F(FillTest, ABodyLongerThanAnnouncedIsNeverStored) {
  FillPermit permit = Lead();
  permit.Publish(Head(), 3);
  permit.Append("longer");
  EXPECT_EQ(permit.Finish(), nullptr);
  EXPECT_EQ(Stored(), nullptr);
}

// ---- Waking

TEST_F(FillTest, AReaderIsWokenOncePerArm) {
  int woken = 0;
  FillPermit permit = Lead();
  FillReader reader = Follow([&] { ++woken; });
  reader.View();
  ASSERT_TRUE(reader.Arm());
  permit.Publish(Head(), std::nullopt);
  EXPECT_EQ(woken, 1);
  permit.Append("a");
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(reader.Arm());  // it has not looked since
  reader.View();
  ASSERT_TRUE(reader.Arm());
  permit.Append("b");
  permit.Append("c");
  EXPECT_EQ(woken, 2);
}

TEST_F(FillTest, AWakeFunctionMayUseTheFill) {
  FillPermit permit = Lead();
  FillReader reader;
  std::string seen;
  reader = Follow([&] {
    reader.View();
    seen += Drain(reader);
    reader.Arm();
  });
  reader.View();
  reader.Arm();
  permit.Publish(Head(), std::nullopt);
  permit.Append("ab");
  permit.Append("cd");
  EXPECT_EQ(seen, "abcd");
}

TEST_F(FillTest, AReaderThatLeftIsNotWoken) {
  int woken = 0;
  FillPermit permit = Lead();
  {
    FillReader reader = Follow([&] { ++woken; });
    reader.View();
    reader.Arm();
    EXPECT_TRUE(permit.has_readers());
  }
  EXPECT_FALSE(permit.has_readers());
  permit.Publish(Head(), std::nullopt);
  permit.Append("still being filled");
  EXPECT_NE(permit.Finish(), nullptr);
  EXPECT_EQ(woken, 0);
  EXPECT_EQ(Stored()->body().ToString(), "still being filled");
}

// ---- Conclusions

TEST_F(FillTest, AReleasedFillSendsFollowersAwayAndLeavesTheTable) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Release(Reason::kPrivate);
  EXPECT_EQ(reader.View().state, FillState::kReleased);
  EXPECT_EQ(reader.View().reason, Reason::kPrivate);
  EXPECT_EQ(Begin().role, Store::Role::kLeader);
}

TEST_F(FillTest, AnAnswerFromAnotherTierServesEverybody) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  const StoredPtr response = Response({.body = "from afar"});
  permit.CompleteWith(response, true);
  EXPECT_EQ(reader.View().state, FillState::kComplete);
  EXPECT_EQ(reader.View().complete, response);
  EXPECT_EQ(Stored(), response);
}

TEST_F(FillTest, WhatAnotherTierHasAndIsTooLargeForThisOneServesThoseWhoWaitAndIsNotKept) {
  Store small({.capacity = size_t{1} << 20, .max_object = 8});
  const auto begin = [&] { return small.BeginFill(Key(), Get(), kRules, At(0), {}); };
  Store::Begun leader = begin();
  Store::Begun follower = begin();
  const StoredPtr response = Response({.body = "nine byte"});
  EXPECT_TRUE(leader.permit.CompleteWith(response, true));
  EXPECT_EQ(follower.reader.View().complete, response);
  EXPECT_EQ(small.stats().objects, 0u);
  EXPECT_EQ(small.stats().rejected_too_large, 1u);
  EXPECT_TRUE(begin().permit.CompleteWith(Response({.body = "8 bytes."}), true));
  EXPECT_EQ(small.stats().objects, 1u);
}

TEST_F(FillTest, CompletingWithoutInsertingStoresNothing) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.CompleteWith(Response({.body = "once"}), false);
  EXPECT_EQ(reader.View().complete->body().ToString(), "once");
  EXPECT_EQ(Stored(), nullptr);
  EXPECT_EQ(store.stats().fills, 1u);  // the reader still holds it
}

TEST_F(FillTest, AFailureAfterTheHeadKeepsWhatCame) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), 100);
  permit.Append("half");
  permit.Fail(Broken("reset"));
  const FillView view = reader.View();
  EXPECT_EQ(view.state, FillState::kFailed);
  EXPECT_EQ(view.error.message, "reset");
  EXPECT_EQ(view.available, 4u);
  EXPECT_EQ(Drain(reader), "half");
  EXPECT_EQ(Stored(), nullptr);
  EXPECT_EQ(Begin().role, Store::Role::kLeader);
}

TEST_F(FillTest, AFailureWithoutFollowersLeavesTheTable) {
  Lead().Fail(Broken());
  EXPECT_EQ(store.stats().fills, 0u);
  EXPECT_EQ(Begin().role, Store::Role::kLeader);
}

TEST_F(FillTest, APermitLostIsAFailure) {
  FillReader reader;
  {
    FillPermit permit = Lead();
    reader = Follow();
    permit.Publish(Head(), std::nullopt);
  }
  EXPECT_EQ(reader.View().state, FillState::kFailed);
}

// ---- Promotion

TEST_F(FillTest, AFailureBeforeTheHeadWakesExactlyOneHeir) {
  int first_woken = 0;
  int second_woken = 0;
  FillPermit permit = Lead();
  FillReader own = permit.NewReader(nullptr);
  FillReader first = Follow([&] { ++first_woken; });
  FillReader second = Follow([&] { ++second_woken; });
  for (FillReader* reader : {&first, &second}) {
    reader->View();
    reader->Arm();
  }
  permit.Fail(Broken("refused"));
  EXPECT_EQ(first_woken, 1);
  EXPECT_EQ(second_woken, 0);
  EXPECT_EQ(first.View().state, FillState::kPromoted);
  EXPECT_EQ(second.View().state, FillState::kWaiting);
  EXPECT_EQ(own.View().state, FillState::kFailed);
  EXPECT_EQ(own.View().error.message, "refused");
  EXPECT_FALSE(second.TakePermit());
  std::optional<FillPermit> heir = first.TakePermit();
  ASSERT_TRUE(heir);
  EXPECT_FALSE(first.TakePermit());
  heir->Publish(Head(), std::nullopt);
  heir->Append("second try");
  heir->Finish();
  EXPECT_EQ(Drain(first), "second try");
  EXPECT_EQ(Drain(second), "second try");
  EXPECT_EQ(second_woken, 1);
  EXPECT_NE(Stored(), nullptr);
}

TEST_F(FillTest, NewcomersJoinWhileTheHeirIsBeingWoken) {
  FillPermit permit = Lead();
  FillReader heir = Follow();
  permit.Fail(Broken());
  FillReader late = Follow();
  EXPECT_EQ(late.View().state, FillState::kWaiting);
  EXPECT_TRUE(heir.TakePermit());
}

TEST_F(FillTest, AnHeirThatGoesPassesThePromotionOn) {
  int woken = 0;
  FillPermit permit = Lead();
  FillReader first = Follow();
  FillReader second = Follow([&] { ++woken; });
  second.View();
  second.Arm();
  permit.Fail(Broken());
  first = FillReader();
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(second.View().state, FillState::kPromoted);
}

TEST_F(FillTest, WhenTheLastHeirGoesTheFillIsOver) {
  FillPermit permit = Lead();
  FillReader heir = Follow();
  permit.Fail(Broken());
  heir = FillReader();
  EXPECT_EQ(store.stats().fills, 0u);
  EXPECT_EQ(Begin().role, Store::Role::kLeader);
}

TEST_F(FillTest, AfterTwoPromotionsEverybodyGetsTheLastError) {
  FillPermit permit = Lead();
  FillReader first = Follow();
  FillReader second = Follow();
  FillReader third = Follow();
  permit.Fail(Broken("one"));
  first.TakePermit()->Fail(Broken("two"));
  EXPECT_EQ(second.View().state, FillState::kPromoted);
  second.TakePermit()->Fail(Broken("three"));
  EXPECT_EQ(third.View().state, FillState::kFailed);
  EXPECT_EQ(third.View().error.message, "three");
  EXPECT_EQ(Begin().role, Store::Role::kLeader);
}

TEST_F(FillTest, NothingStaysChargedWhenAllIsOver) {
  {
    FillPermit permit = Lead();
    FillReader reader = Follow();
    permit.Publish(Head(), std::nullopt);
    permit.Append(Pattern(700'000));
    permit.Finish();
    store.Clear();
  }
  const Store::Stats stats = store.stats();
  EXPECT_EQ(stats.bytes, 0u);
  EXPECT_EQ(stats.fill_bytes, 0u);
  EXPECT_EQ(stats.fills, 0u);
  EXPECT_EQ(stats.objects, 0u);
}

// ---- The store goes first

TEST(FillLifetimeTest, AFillOutlivesItsStore) {
  auto store = std::make_unique<Store>(Store::Options{});
  Store::Begun begun = store->BeginFill(Key(), Get(), kRules, At(0), nullptr);
  FillReader reader = begun.permit.NewReader(nullptr);
  begun.permit.Publish(Head(), std::nullopt);
  store.reset();
  begun.permit.Append("late");
  EXPECT_EQ(begun.permit.Finish(), nullptr);
  EXPECT_EQ(Drain(reader), "late");
}

}  // namespace
}  // namespace satchel::cache
