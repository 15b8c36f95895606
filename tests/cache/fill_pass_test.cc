#include <gtest/gtest.h>

#include <vector>

#include "cache/fill.h"
#include "tests/cache/fill_fixture.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Drain;
using testing::Get;
using testing::Head;
using testing::Key;
using testing::kRules;
using testing::Pattern;

class FillPassTest : public testing::FillTest {};

TEST_F(FillPassTest, PastTheLimitAFillBecomesAPass) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), std::nullopt);
  const std::string bytes = Pattern(3'000'000);
  std::string got;
  for (size_t at = 0; at < bytes.size(); at += 50'000) {
    permit.Append(std::string_view(bytes).substr(at, 50'000));
    got += Drain(reader);
    EXPECT_LE(store.stats().pass_bytes, 1'200'000u);
    if (at > 1'500'000) EXPECT_LE(store.stats().pass_bytes, 2 * 65'536u);
  }
  EXPECT_TRUE(permit.is_pass());
  EXPECT_EQ(Begin().role, Store::Role::kLeader);  // it takes no new readers
  EXPECT_EQ(permit.Finish(), nullptr);
  EXPECT_EQ(reader.View().state, FillState::kComplete);
  EXPECT_EQ(reader.View().complete, nullptr);
  EXPECT_EQ(got, bytes);
  reader = FillReader();
  EXPECT_EQ(store.stats().pass_bytes, 0u);
  EXPECT_EQ(Stored(), nullptr);
}

TEST_F(FillPassTest, AnAnnouncedLengthPastTheLimitIsAPassFromTheStart) {
  FillPermit permit = Lead();
  permit.Publish(Head(), 1'048'577);
  EXPECT_TRUE(permit.is_pass());
  FillReader own = permit.NewReader(nullptr);
  permit.Append("abc");
  EXPECT_EQ(Drain(own), "abc");
  EXPECT_EQ(Begin().role, Store::Role::kLeader);
}

TEST_F(FillPassTest, ThePassWriterIsToldWhenTheSlowestReaderHasCaughtUp) {
  int resumed = 0;
  FillPermit permit = Lead();
  FillReader quick = Follow();
  FillReader slow = Follow();
  permit.Publish(Head(), 10'000'000);
  permit.Append(Pattern(300'000));
  EXPECT_EQ(permit.Backlog(), 300'000u);
  permit.NotifyBelow(100'000, [&] { ++resumed; });
  Drain(quick);
  EXPECT_EQ(resumed, 0);
  slow.Consume(200'000);
  EXPECT_EQ(resumed, 0);
  slow.Consume(1);
  EXPECT_EQ(resumed, 1);
  slow.Consume(99'999);
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(permit.Backlog(), 0u);
}

TEST_F(FillPassTest, ASlowReaderThatLeavesFreesThePassWriter) {
  int resumed = 0;
  FillPermit permit = Lead();
  FillReader slow = Follow();
  permit.Publish(Head(), 10'000'000);
  permit.Append(Pattern(300'000));
  permit.NotifyBelow(100'000, [&] { ++resumed; });
  slow = FillReader();
  EXPECT_EQ(resumed, 1);
  permit.Append(Pattern(300'000));
  EXPECT_EQ(store.stats().pass_bytes, 0u);  // nobody reads
}

TEST_F(FillPassTest, AReaderQuickerThanTheWriterDoesNotStallIt) {
  int resumed = 0;
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), 10'000'000);
  permit.Append("abc");
  Drain(reader);
  permit.NotifyBelow(100, [&] { ++resumed; });
  EXPECT_EQ(resumed, 1);
}

TEST_F(FillPassTest, BacklogCountsOnlyInAPass) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), 1000);
  permit.Append(Pattern(500));
  EXPECT_EQ(permit.Backlog(), 0u);
}

TEST_F(FillPassTest, FillsMayHoldHalfOfTheBudgetAndPassTheRest) {
  std::vector<FillPermit> permits;
  for (int i = 0; i < 8; ++i) {
    Store::Begun begun =
        store.BeginFill(Key("k" + std::to_string(i)), Get(), kRules, At(0), nullptr);
    ASSERT_EQ(begun.role, Store::Role::kLeader);
    begun.permit.Publish(Head("k" + std::to_string(i)), std::nullopt);
    permits.push_back(std::move(begun.permit));
  }
  const std::string piece = Pattern(100'000);
  for (int round = 0; round < 10; ++round) {
    for (FillPermit& permit : permits) {
      permit.Append(piece);
      EXPECT_LE(store.stats().fill_bytes, store.stats().capacity / 2);
      EXPECT_LE(store.stats().bytes, store.stats().capacity);
    }
  }
  int passes = 0;
  for (FillPermit& permit : permits) passes += permit.is_pass() ? 1 : 0;
  EXPECT_GT(passes, 0);
  EXPECT_LT(passes, 8);
}

}  // namespace
}  // namespace satchel::cache
