#include "cache/body.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

Body::Segment SegmentOf(std::string_view bytes) {
  auto segment = std::make_shared_for_overwrite<char[]>(bytes.size());
  std::memcpy(segment.get(), bytes.data(), bytes.size());
  return segment;
}

std::string Gathered(const Body& body, uint64_t offset, uint64_t length, size_t slots = 8) {
  std::vector<iovec> pieces(slots);
  std::string all;
  const size_t used = body.Gather(offset, length, pieces);
  for (size_t i = 0; i < used; ++i) {
    all.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  }
  return all;
}

Body ThreeSegments() {
  Body body;
  body.AppendSegment(SegmentOf("abcd"), 4);
  body.AppendSegment(SegmentOf("efgh"), 4);
  body.AppendSegment(SegmentOf("ijklmn"), 5);  // the last byte is room that nobody filled
  return body;
}

TEST(BodyTest, EmptyBodyGathersNothing) {
  const Body body;
  EXPECT_TRUE(body.empty());
  EXPECT_EQ(Gathered(body, 0, 10), "");
  EXPECT_EQ(body.MemoryUse(), 0u);
  EXPECT_EQ(Body::Copy("").ToString(), "");
}

TEST(BodyTest, RangesCrossSegmentBorders) {
  const Body body = ThreeSegments();
  EXPECT_EQ(body.size(), 13u);
  EXPECT_EQ(body.ToString(), "abcdefghijklm");
  for (uint64_t offset = 0; offset <= 14; ++offset) {
    for (uint64_t length = 0; length <= 14; ++length) {
      const std::string all = "abcdefghijklm";
      const std::string expected = offset < all.size() ? all.substr(offset, length) : "";
      EXPECT_EQ(Gathered(body, offset, length), expected) << offset << " " << length;
    }
  }
}

TEST(BodyTest, GatherStopsWhenTheVectorIsFull) {
  const Body body = ThreeSegments();
  EXPECT_EQ(Gathered(body, 1, 12, 2), "bcdefgh");
  EXPECT_EQ(Gathered(body, 1, 12, 0), "");
}

TEST(BodyTest, GatherSurvivesTheLargestNumbers) {
  const Body body = ThreeSegments();
  EXPECT_EQ(Gathered(body, 12, UINT64_MAX), "m");
  EXPECT_EQ(Gathered(body, UINT64_MAX, UINT64_MAX), "");
}

TEST(BodyTest, ACopyDoesNotSeeWhatIsAppendedLater) {
  Body body = ThreeSegments();
  const Body copy = body;
  body.AppendSegment(SegmentOf("xyz"), 3);
  EXPECT_EQ(copy.ToString(), "abcdefghijklm");
  EXPECT_EQ(body.ToString(), "abcdefghijklmxyz");
}

TEST(BodyTest, AMovedBodyIsEmpty) {
  Body body = ThreeSegments();
  const Body moved = std::move(body);
  EXPECT_EQ(moved.size(), 13u);
  EXPECT_EQ(body.size(), 0u);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(body.ToString(), "");
}

TEST(BodyTest, ACopyOfAnEmbeddedBodyOutlivesItsResponse) {
  StoredPtr response = testing::Response({.body = "small enough to be embedded"});
  const Body copy = response->body();
  const std::weak_ptr<const StoredResponse> watch = response;
  response.reset();
  EXPECT_TRUE(watch.expired());
  EXPECT_EQ(copy.ToString(), "small enough to be embedded");
}

TEST(BodyTest, AppendingSharesWholeSegmentsAndCopiesTheRest) {
  const std::string large(200'000, 'l');
  Body source = Body::Copy(large);
  const std::string second(100'000, 's');
  source.AppendSegment([&] {
    auto bytes = std::make_shared<char[]>(second.size());
    std::copy(second.begin(), second.end(), bytes.get());
    return bytes;
  }(), second.size());

  Body whole = Body::Copy("head");
  whole.Append(source, 0, source.size());
  EXPECT_EQ(whole.ToString(), "head" + large + second);
  iovec mine[4];
  iovec theirs[4];
  ASSERT_EQ(whole.Gather(0, whole.size(), mine), 3u);
  source.Gather(0, source.size(), theirs);
  EXPECT_EQ(mine[1].iov_base, theirs[0].iov_base);
  EXPECT_EQ(mine[2].iov_base, theirs[1].iov_base);

  Body part;
  part.Append(source, 199'990, 20);
  EXPECT_EQ(part.ToString(), std::string(10, 'l') + std::string(10, 's'));
  EXPECT_EQ(part.Gather(0, 20, mine), 1u);
  EXPECT_LT(part.MemoryUse(), 1000u) << "the large segments are kept alive by a few bytes";
  part.Append(source, 299'999, 100);  // only one byte is there
  EXPECT_EQ(part.size(), 21u);
  part.Append(source, 400'000, 100);
  EXPECT_EQ(part.size(), 21u);
  const Body copy = part;
  part.Append(Body::Copy("x"), 0, 1);
  EXPECT_EQ(copy.size(), 21u);
  EXPECT_EQ(part.ToString().back(), 'x');
}

}  // namespace
}  // namespace satchel::cache
