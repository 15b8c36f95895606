// Bodies in files: alone, and in the store.
#include "cache/body_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "cache/store.h"
#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

using testing::Get;
using testing::Key;
using testing::Pattern;
using testing::Put;
using testing::Response;

constexpr size_t kLarge = 100'000;
constexpr BodyFile::Limits kMany{.files = 100, .bytes = 100 * kLarge};
const Overrides kRules;

std::string ReadFile(int fd, size_t size) {
  std::string text(size, '\0');
  EXPECT_EQ(pread(fd, text.data(), size, 0), static_cast<ssize_t>(size));
  return text;
}

// In pieces of 30,000 bytes.
Body InPieces(const std::string& bytes) {
  Body body;
  for (size_t at = 0; at < bytes.size(); at += 30'000) {
    const Body piece = Body::Copy(std::string_view(bytes).substr(at, 30'000));
    iovec one[1];
    EXPECT_EQ(piece.Gather(0, piece.size(), one), 1u);
    auto copy = std::make_shared_for_overwrite<char[]>(one[0].iov_len);
    std::copy_n(static_cast<const char*>(one[0].iov_base), one[0].iov_len, copy.get());
    body.AppendSegment(std::move(copy), one[0].iov_len);
  }
  return body;
}

TEST(BodyFileTest, HoldsTheBytesInTheFileAndInMemory) {
  const std::string bytes = Pattern(kLarge);
  for (const Body& body : {Body::Copy(bytes), InPieces(bytes)}) {
    const Body filed = body.InFile(kMany);
    ASSERT_GE(filed.file(), 0);
    EXPECT_EQ(body.file(), -1);
    EXPECT_EQ(filed.size(), kLarge);
    EXPECT_EQ(ReadFile(filed.file(), kLarge), bytes);
    EXPECT_EQ(filed.ToString(), bytes);
    iovec pieces[4];
    ASSERT_EQ(filed.Gather(4'000, 50'000, pieces), 1u);
    EXPECT_EQ(std::string(static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len),
              bytes.substr(4'000, 50'000));
    EXPECT_GE(filed.MemoryUse(), 102'400u);  // whole pages
  }
  EXPECT_EQ(BodyFile::count(), 0u);
}

TEST(BodyFileTest, LivesAsLongAsACopyOfItsBody) {
  const std::string bytes = Pattern(kLarge);
  Body copy;
  {
    const Body filed = Body::Copy(bytes).InFile(kMany);
    copy = filed;
  }
  EXPECT_EQ(BodyFile::count(), 1u);
  EXPECT_EQ(ReadFile(copy.file(), kLarge), bytes);
  Body joined;
  joined.Append(copy, 0, kLarge);
  copy = {};
  EXPECT_EQ(joined.ToString(), bytes);
  joined = {};
  EXPECT_EQ(BodyFile::count(), 0u);
}

TEST(BodyFileTest, NoMoreThanTheLimitExist) {
  constexpr BodyFile::Limits kTwo{.files = 2, .bytes = 100 * kLarge};
  const Body body = Body::Copy(Pattern(kLarge));
  Body first = body.InFile(kTwo);
  const Body second = body.InFile(kTwo);
  EXPECT_GE(second.file(), 0);
  const Body third = body.InFile(kTwo);
  EXPECT_EQ(third.file(), -1);
  EXPECT_EQ(third.ToString(), body.ToString());
  first = {};
  EXPECT_GE(body.InFile(kTwo).file(), 0);
  EXPECT_EQ(Body().InFile(kTwo).file(), -1);
}

TEST(BodyFileTest, NoMoreBytesThanTheLimitAreHeld) {
  const Body body = Body::Copy(Pattern(kLarge));
  const size_t one = body.InFile(kMany).MemoryUse();
  const Body first = body.InFile({.files = 9, .bytes = 2 * one});
  EXPECT_GE(first.file(), 0);
  EXPECT_EQ(Body::Copy(Pattern(2 * kLarge)).InFile({.files = 9, .bytes = 2 * one}).file(), -1);
  EXPECT_GE(body.InFile({.files = 9, .bytes = 2 * one}).file(), 0);
}

class BodyFileStoreTest : public ::testing::Test {
 protected:
  StoredPtr Stored(const std::string& key = "k") {
    return store.Lookup(Key(key), Get(), kRules).response;
  }
  bool Lay(const std::string& key = "k") { return store.LayInFile(Stored(key)); }
  void Add(const std::string& key = "k") {
    ASSERT_TRUE(Put(store, Response({.key = key, .body = bytes})));
  }

  const std::string bytes = Pattern(kLarge);
  Store store{{.capacity = size_t{1} << 20, .shards = 1, .files = {.files = 4, .bytes = size_t{1} << 20}}};
};

TEST_F(BodyFileStoreTest, WhoLooksItUpLaterGetsTheFileAndTheSameResponse) {
  Add();
  const StoredPtr before = Stored();
  const size_t used = store.stats().bytes;
  ASSERT_TRUE(Lay());
  const StoredPtr after = Stored();
  EXPECT_GE(after->body().file(), 0);
  EXPECT_EQ(before->body().file(), -1);
  EXPECT_EQ(after->body().ToString(), bytes);
  EXPECT_EQ(after->header_block(), before->header_block());
  EXPECT_EQ(after->key(), before->key());
  EXPECT_EQ(store.stats().files, 1u);
  EXPECT_EQ(store.stats().objects, 1u);
  // Charges are counted in units of 16 bytes.
  EXPECT_NEAR(static_cast<double>(store.stats().bytes - used),
              static_cast<double>(after->charge() - before->charge()), 16);
  EXPECT_FALSE(Lay());  // it has one
  EXPECT_EQ(store.stats().files_refused, 0u);
}

TEST_F(BodyFileStoreTest, AnUpdateKeepsTheFile) {
  Add();
  ASSERT_TRUE(Lay());
  const StoredPtr old = Stored();
  ASSERT_TRUE(Put(store, StoredResponse::WithFields(*old, old->Fields(), old->facts())));
  EXPECT_EQ(Stored()->body().file(), old->body().file());
  EXPECT_EQ(store.stats().files, 1u);
}

TEST_F(BodyFileStoreTest, WhatIsNotStoredAnyMoreGetsNone) {
  Add();
  const StoredPtr gone = Stored();
  store.Invalidate(Key("k"));
  EXPECT_FALSE(store.LayInFile(gone));
  Add();
  EXPECT_FALSE(store.LayInFile(gone));  // another one has its place
  EXPECT_EQ(store.stats().files, 0u);
}

TEST_F(BodyFileStoreTest, BeyondTheLimitBodiesStayWhereTheyAre) {
  for (int i = 0; i < 6; ++i) {
    const std::string key = std::to_string(i);
    Add(key);
    EXPECT_EQ(Lay(key), i < 4) << i;
    EXPECT_EQ(Stored(key)->body().ToString(), bytes);
  }
  EXPECT_EQ(store.stats().files, 4u);
  EXPECT_EQ(store.stats().files_refused, 2u);
}

TEST_F(BodyFileStoreTest, FilesCountInTheBudgetAndAreClosedWithTheirResponses) {
  for (int i = 0; i < 100; ++i) {
    const std::string key = std::to_string(i);
    Add(key);
    Lay(key);
    EXPECT_LE(store.stats().bytes, store.options().capacity);
    EXPECT_LE(store.stats().files, 4u);
  }
  EXPECT_GT(store.stats().evictions, 80u);
  const StoredPtr last = Stored("99");
  store.Clear();
  EXPECT_EQ(store.stats().bytes, 0u);
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(last->body().ToString(), bytes);  // who reads it still has it
}

TEST_F(BodyFileStoreTest, AnotherLimitHoldsForTheNextFile) {
  Add("a");
  Add("b");
  ASSERT_TRUE(Lay("a"));
  store.LimitFiles(1);
  EXPECT_FALSE(Lay("b"));
  EXPECT_GE(Stored("a")->body().file(), 0);
  store.LimitFiles(2);
  EXPECT_TRUE(Lay("b"));
}

TEST_F(BodyFileStoreTest, AStoreWithoutFilesMakesNone) {
  Store none({});
  Put(none, Response({.key = "k", .body = bytes}));
  EXPECT_FALSE(none.LayInFile(none.Lookup(Key("k"), Get(), kRules).response));
  EXPECT_EQ(none.stats().files_refused, 0u);
}

}  // namespace
}  // namespace satchel::cache
