#include "cache/store.h"

#include <gtest/gtest.h>

#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::At;
using testing::Get;
using testing::GetWith;
using testing::Head;
using testing::Key;
using testing::Put;
using testing::Response;

const Overrides kRules;

// What the store holds for a request.
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
  Store store({});
  ASSERT_TRUE(Put(store, Response({.key = "a", .body = "A"})));
  ASSERT_TRUE(Put(store, Response({.key = "b", .body = "B"})));
  EXPECT_EQ(BodyFor(store, Get(), Key("a")), "A");
  EXPECT_EQ(BodyFor(store, Get(), Key("b")), "B");
  EXPECT_EQ(BodyFor(store, Get(), Key("c")), "none");
}

}  // namespace
}  // namespace satchel::cache
