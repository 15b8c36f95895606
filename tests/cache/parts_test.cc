// Parts of one response, put together (RFC 9111 3.3, 3.4; RFC 9110 15.3.7.3).
#include "cache/parts.h"

#include <gtest/gtest.h>

#include <string>

namespace satchel::cache {
namespace {

std::string Text(size_t first, size_t last) {
  std::string out;
  for (size_t i = first; i <= last; ++i) out.push_back(static_cast<char>('a' + i % 26));
  return out;
}

StoredPtr Part(uint64_t first, uint64_t last, uint64_t length, const std::string& etag = "\"1\"",
               const std::string& more = "x") {
  StoredResponse::Parts parts;
  parts.key = "key";
  parts.facts.status = 206;
  parts.facts.partial = true;
  parts.reason = "Partial Content";
  if (!etag.empty()) parts.fields.Add(FieldId::kEtag, etag);
  parts.fields.Add("X-More", more);
  parts.fields.Add(FieldId::kContentRange, FormatContentRange({first, last}, length));
  parts.partial_range = {first, last};
  parts.complete_length = length;
  parts.body = Body::Copy(Text(first, last));
  return StoredResponse::Make(std::move(parts));
}

TEST(CombinePartsTest, PartsThatTouchOrOverlapBecomeOne) {
  const struct {
    ByteRange older, newer, both;
  } cases[] = {
      {{0, 9}, {10, 19}, {0, 19}},  {{10, 19}, {0, 9}, {0, 19}}, {{0, 9}, {5, 19}, {0, 19}},
      {{5, 19}, {0, 9}, {0, 19}},   {{0, 19}, {5, 9}, {0, 19}},  {{5, 9}, {0, 19}, {0, 19}},
      {{7, 7}, {8, 8}, {7, 8}},     {{3, 9}, {3, 12}, {3, 12}},
  };
  for (const auto& one : cases) {
    const StoredPtr both = CombineParts(*Part(one.older.first, one.older.last, 40, "\"1\"", "old"),
                                        *Part(one.newer.first, one.newer.last, 40, "\"1\"", "new"));
    ASSERT_TRUE(both);
    EXPECT_TRUE(both->facts().partial);
    EXPECT_EQ(both->facts().status, 206);
    EXPECT_EQ(both->body().ToString(), Text(one.both.first, one.both.last));
    EXPECT_EQ(both->partial_range().first, one.both.first);
    EXPECT_EQ(both->partial_range().last, one.both.last);
    EXPECT_EQ(both->complete_length(), 40u);
    EXPECT_EQ(both->Fields().Joined("Content-Range"), FormatContentRange(one.both, 40));
    EXPECT_EQ(both->Fields().Joined("X-More"), "new");
  }
}

TEST(CombinePartsTest, WhenNothingIsMissingItIsTheWhole) {
  const StoredPtr whole = CombineParts(*Part(0, 9, 20), *Part(10, 19, 20));
  ASSERT_TRUE(whole);
  EXPECT_FALSE(whole->facts().partial);
  EXPECT_EQ(whole->facts().status, 200);
  EXPECT_EQ(whole->reason(), "OK");
  EXPECT_FALSE(whole->Fields().Has(FieldId::kContentRange));
  EXPECT_EQ(whole->Fields().Joined(FieldId::kContentLength), "20");
  EXPECT_EQ(whole->body().ToString(), Text(0, 19));
}

TEST(CombinePartsTest, NothingElseIsCombined) {
  EXPECT_FALSE(CombineParts(*Part(0, 9, 40), *Part(11, 19, 40)));  // a gap
  EXPECT_FALSE(CombineParts(*Part(0, 9, 40), *Part(10, 19, 41)));
  EXPECT_FALSE(CombineParts(*Part(0, 9, 40, "\"1\""), *Part(10, 19, 40, "\"2\"")));
  EXPECT_FALSE(CombineParts(*Part(0, 9, 40, "W/\"1\""), *Part(10, 19, 40, "W/\"1\"")));
  EXPECT_FALSE(CombineParts(*Part(0, 9, 40, ""), *Part(10, 19, 40, "")));
  const StoredPtr whole = CombineParts(*Part(0, 9, 20), *Part(10, 19, 20));
  EXPECT_FALSE(CombineParts(*whole, *Part(0, 9, 20)));
}

TEST(CombinePartsTest, ManySmallPartsDoNotBecomeManyPieces) {
  StoredPtr grown = Part(0, 99, 1'000'000);
  for (uint64_t at = 100; at < 100'000; at += 100) {
    grown = CombineParts(*grown, *Part(at, at + 99, 1'000'000));
    ASSERT_TRUE(grown);
  }
  EXPECT_EQ(grown->body().ToString(), Text(0, 99'999));
  iovec pieces[8];
  EXPECT_LE(grown->body().Gather(0, 100'000, pieces), 2u);
}

StoredPtr Head(const std::string& etag, uint16_t status = 200) {
  StoredResponse::Parts parts;
  parts.key = "key";
  parts.facts.status = status;
  parts.facts.strong_etag = etag.starts_with('"');
  parts.reason = "OK";
  parts.fields.Add(FieldId::kEtag, etag);
  parts.fields.Add(FieldId::kContentLength, "20");
  return StoredResponse::Make(std::move(parts));
}

TEST(PrefixTest, TheBeginningOfACutResponseIsAPart) {
  const StoredPtr prefix = PrefixOf(*Head("\"1\""), Body::Copy(Text(0, 7)), 20);
  ASSERT_TRUE(prefix);
  EXPECT_TRUE(prefix->facts().partial);
  EXPECT_EQ(prefix->facts().status, 206);
  EXPECT_EQ(prefix->Fields().Joined(FieldId::kContentRange), "bytes 0-7/20");
  EXPECT_EQ(prefix->Fields().Joined(FieldId::kContentLength), "8");
  const StoredPtr whole = CombineParts(*prefix, *Part(8, 19, 20));
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->body().ToString(), Text(0, 19));
}

TEST(PrefixTest, OnlyUnderAStrongTagAndOnlyOfA200) {
  EXPECT_FALSE(PrefixOf(*Head("W/\"1\""), Body::Copy("abc"), 20));
  EXPECT_FALSE(PrefixOf(*Head("\"1\"", 404), Body::Copy("abc"), 20));
  EXPECT_FALSE(PrefixOf(*Head("\"1\""), Body(), 20));
  EXPECT_FALSE(PrefixOf(*Head("\"1\""), Body::Copy("abc"), 3));
}

}  // namespace
}  // namespace satchel::cache
