// Fetches of one range: who reads along, what becomes of a beginning, what grows together.
#include "cache/parts.h"
#include "tests/cache/fill_fixture.h"

namespace satchel::cache::testing {
namespace {

class FillPartTest : public FillTest {
 protected:
  Store::Begun BeginPart(std::string_view part) {
    return store.BeginFill(Key(), Get(), kRules, At(0), nullptr, part);
  }
  static StoredPtr Part(uint64_t first, uint64_t last, uint64_t length) {
    StoredResponse::Parts parts;
    parts.key = Key().text();
    parts.facts.status = 206;
    parts.facts.partial = true;
    parts.facts.received = parts.facts.date = At(0);
    parts.facts.lifetime = std::chrono::seconds(60);
    parts.fields.Add(FieldId::kEtag, "\"1\"");
    parts.fields.Add(FieldId::kContentRange, FormatContentRange({first, last}, length));
    parts.partial_range = {first, last};
    parts.complete_length = length;
    parts.body = Body::Copy(std::string(last - first + 1, 'x'));
    return StoredResponse::Make(std::move(parts));
  }
};

TEST_F(FillPartTest, OnlyTheVerySamePartIsFollowed) {
  Store::Begun part = BeginPart("bytes=0-9");
  ASSERT_EQ(part.role, Store::Role::kLeader);
  EXPECT_TRUE(part.permit.is_part());
  EXPECT_EQ(BeginPart("bytes=0-9").role, Store::Role::kFollower);
  Store::Begun other = BeginPart("bytes=0-8");
  EXPECT_EQ(other.role, Store::Role::kLeader);
  EXPECT_EQ(store.Follow(Key(), Get(), kRules, nullptr).role, Store::Role::kAlone);
  // The whole has a leader of its own, and who wants the whole follows that.
  Store::Begun whole = Begin();
  ASSERT_EQ(whole.role, Store::Role::kLeader);
  EXPECT_FALSE(whole.permit.is_part());
  EXPECT_EQ(Begin().role, Store::Role::kFollower);
  EXPECT_EQ(store.Follow(Key(), Get(), kRules, nullptr).role, Store::Role::kFollower);
  EXPECT_EQ(BeginPart("bytes=0-9").role, Store::Role::kFollower);
}

TEST_F(FillPartTest, APartKeepsNobodyFromRefreshingTheWhole) {
  Store::Begun part = BeginPart("bytes=0-9");
  EXPECT_TRUE(store.TryLead(Key(), Get(), kRules));
}

TEST_F(FillPartTest, WhatMayBeKeptOfAFailureIsStoredAndTheReadersFail) {
  FillPermit permit = Lead();
  FillReader reader = Follow();
  permit.Publish(Head(), 20);
  permit.FailKeeping(Part(0, 9, 20), {ErrorSource::kUpstream, "cut", 502});
  ASSERT_TRUE(Stored());
  EXPECT_TRUE(Stored()->facts().partial);
  EXPECT_FALSE(permit);
  EXPECT_EQ(reader.View().state, FillState::kFailed);
}

TEST_F(FillPartTest, NothingIsKeptOfAFailureBehindAPurge) {
  FillPermit permit = Lead();
  permit.Publish(Head(), 20);
  store.Invalidate(Key());
  permit.FailKeeping(Part(0, 9, 20), {ErrorSource::kUpstream, "cut", 502});
  EXPECT_FALSE(Stored());
}

TEST_F(FillPartTest, CommittedIsWhatHasBeenAppended) {
  FillPermit permit = Lead();
  EXPECT_TRUE(permit.Committed().empty());
  permit.Publish(Head(), std::nullopt);
  permit.Append("hello ");
  permit.Append(std::string(100'000, 'w'));
  EXPECT_EQ(permit.Committed().ToString(), "hello " + std::string(100'000, 'w'));
  permit.Append(std::string(2'000'000, 'p'));  // beyond max_object: a pass
  EXPECT_TRUE(permit.Committed().empty());
}

TEST_F(FillPartTest, APartNeverTakesThePlaceOfTheWhole) {
  const StoredPtr whole = Response({.body = std::string(20, 'x')});
  ASSERT_TRUE(Put(store, whole));
  FillPermit permit = store.LeadPart(Key(), Get(), kRules);
  permit.CompleteWith(Part(0, 9, 20), true);
  EXPECT_EQ(Stored(), whole);
}

TEST_F(FillPartTest, GrowingStoresBothTogether) {
  FillPermit first = store.LeadPart(Key(), Get(), kRules);
  const StoredPtr older = Part(0, 9, 20);
  first.CompleteWith(older, true);
  FillPermit second = store.LeadPart(Key(), Get(), kRules);
  const StoredPtr newer = Part(10, 14, 20);
  second.CompleteWith(newer, true);
  const StoredPtr both = store.Grow(Key(), Get(), kRules, *older, newer);
  EXPECT_EQ(both->partial_range().last, 14u);
  EXPECT_EQ(Stored(), both);
  // What does not fit is left alone.
  const StoredPtr apart = Part(18, 19, 20);
  EXPECT_EQ(store.Grow(Key(), Get(), kRules, *both, apart), apart);
}

}  // namespace
}  // namespace satchel::cache::testing
