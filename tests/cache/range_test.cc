#include "cache/range.h"

#include <gtest/gtest.h>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::DateAt;
using test::Get;
using test::Map;
using test::Request;

std::string Text(const RangeVerdict& verdict) {
  if (verdict.kind == RangeVerdict::Kind::kWhole) return "whole";
  if (verdict.kind == RangeVerdict::Kind::kUnsatisfiable) return "416";
  std::string out;
  for (const ByteRange& range : verdict.ranges) {
    out +=
        (out.empty() ? "" : " ") + std::to_string(range.first) + "-" + std::to_string(range.last);
  }
  return out;
}
std::string Of(std::string_view range, uint64_t length = 10) {
  return Text(EvaluateByteRanges(range, length));
}

// RFC 9110 14.1.2
TEST(RangeTest, F3_SingleRanges) {
  EXPECT_EQ(Of("bytes=0-4"), "0-4");
  EXPECT_EQ(Of("bytes=4-4"), "4-4");
  EXPECT_EQ(Of("bytes=3-"), "3-9");
  EXPECT_EQ(Of("bytes=-3"), "7-9");
  EXPECT_EQ(Of("bytes=-30"), "0-9");
  EXPECT_EQ(Of("bytes=5-99"), "5-9");
  EXPECT_EQ(Of("bytes=5-99999999999999999999999999"), "5-9");
  EXPECT_EQ(Of("bytes=-99999999999999999999999999"), "0-9");
  EXPECT_EQ(Of("BYTES=0-4"), "0-4");
  EXPECT_EQ(Of(" bytes= 0-4 "), "0-4");
  EXPECT_EQ(Of("bytes=0-18446744073709551615", UINT64_MAX), "0-18446744073709551614");
}

// RFC 9110 14.1.2, 15.5.17
TEST(RangeTest, F3_UnsatisfiableRanges) {
  EXPECT_EQ(Of("bytes=10-"), "416");
  EXPECT_EQ(Of("bytes=10-20"), "416");
  EXPECT_EQ(Of("bytes=-0"), "416");
  EXPECT_EQ(Of("bytes=99999999999999999999999999-"), "416");
  EXPECT_EQ(Of("bytes=10-, -0"), "416");
  EXPECT_EQ(Of("bytes=10-, 0-0"), "0-0");
  EXPECT_EQ(Of("bytes=0-", 0), "416");
  EXPECT_EQ(Of("bytes=-5", 0), "whole");
}

// RFC 9110 14.2: "A server MUST ignore a Range header field [...] it does not understand" and
// malformed sets.
TEST(RangeTest, F3_OtherUnitsAndMalformedSetsAreIgnored) {
  for (const std::string_view range : {"",
                                       "bytes",
                                       "bytes=",
                                       "bytes=,",
                                       "lines=0-4",
                                       "bytes 0-4",
                                       "bytes=a-b",
                                       "bytes=4-2",
                                       "bytes=-",
                                       "bytes=1",
                                       "bytes=1-2-3",
                                       "bytes=--1",
                                       "bytes=0x1-2",
                                       "bytes=+1-2",
                                       "bytes=0-4, x",
                                       "bytes==0-4",
                                       "bytes=1.0-2",
                                       "bytes=\"0-4\"",
                                       "seconds=0-1",
                                       "bytes=0 1-2"}) {
    EXPECT_EQ(Of(range), "whole") << range;
  }
}

// RFC 9110 14.2, 15.3.7.2, 17.15
TEST(RangeTest, J6_SeveralRangesAreCoalescedAndBounded) {
  EXPECT_EQ(Of("bytes=0-1, 4-5"), "0-1 4-5");
  EXPECT_EQ(Of("bytes=4-5, 0-1"), "4-5 0-1");
  EXPECT_EQ(Of("bytes=0-3, 2-5"), "0-5");
  EXPECT_EQ(Of("bytes=0-3, 4-5"), "0-5");
  EXPECT_EQ(Of("bytes=0-1, 4-5, 1-4"), "0-5");
  EXPECT_EQ(Of("bytes=8-9, 0-1, 4-5, 2-3"), "8-9 0-5");
  EXPECT_EQ(Of("bytes=0-, 0-, 0-, 0-"), "0-9");
  EXPECT_EQ(Of("bytes=0-0,-1"), "0-0 9-9");
  std::string many = "bytes=0-0";
  for (int i = 1; i < 16; ++i) many += "," + std::to_string(2 * i) + "-" + std::to_string(2 * i);
  EXPECT_EQ(EvaluateByteRanges(many, 100).ranges.size(), 16U);
  EXPECT_EQ(Of(many + ",50-50", 100), "whole");
}

// Whatever is asked, what comes out lies inside, is apart, and holds exactly what was asked.
TEST(RangeTest, J6_CoalescedRangesCoverWhatWasAskedAndNothingElse) {
  uint64_t state = 1;
  const auto next = [&](uint64_t bound) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % bound;
  };
  for (int round = 0; round < 20000; ++round) {
    const uint64_t length = 1 + next(24);
    std::vector<bool> asked(length);
    std::string field = "bytes=";
    const uint64_t count = 1 + next(6);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t first = next(28);
      const uint64_t last = first + next(6);
      field += (i == 0 ? "" : ",") + std::to_string(first) + "-" + std::to_string(last);
      for (uint64_t at = first; at <= last && at < length; ++at) asked[at] = true;
    }
    std::vector<bool> given(length);
    for (const ByteRange& range : EvaluateByteRanges(field, length).ranges) {
      ASSERT_LE(range.first, range.last) << field;
      ASSERT_LT(range.last, length) << field;
      for (uint64_t at = range.first; at <= range.last; ++at) {
        ASSERT_FALSE(given[at]) << field << " twice " << at;
        given[at] = true;
      }
    }
    ASSERT_EQ(asked, given) << field << " of " << length;
  }
}

std::string For(test::Fields request, test::Fields stored = {}) {
  return Text(EvaluateRange(Get(request), Map(stored), 10));
}

TEST(RangeTest, F3_RangeIsForGetAndStandsOnce) {
  EXPECT_EQ(For({{"Range", "bytes=0-1"}}), "0-1");
  EXPECT_EQ(For({}), "whole");
  EXPECT_EQ(For({{"Range", "bytes=0-1"}, {"Range", "bytes=2-3"}}), "whole");
  EXPECT_EQ(Text(EvaluateRange(Request("HEAD", "/", {{"Range", "bytes=0-1"}}), Map({}), 10)),
            "whole");
}

// RFC 9110 13.1.5
TEST(RangeTest, F3_IfRangeMustMatchStrongly) {
  const auto with = [](std::string_view condition, test::Fields stored) {
    return For({{"Range", "bytes=0-1"}, {"If-Range", condition}}, stored);
  };
  EXPECT_EQ(with("\"a\"", {{"ETag", "\"a\""}}), "0-1");
  EXPECT_EQ(with("\"b\"", {{"ETag", "\"a\""}}), "whole");
  EXPECT_EQ(with("W/\"a\"", {{"ETag", "W/\"a\""}}), "whole");
  EXPECT_EQ(with("\"a\"", {{"ETag", "W/\"a\""}}), "whole");
  EXPECT_EQ(with("\"a\"", {}), "whole");
  EXPECT_EQ(with(DateAt(-60), {{"Last-Modified", DateAt(-60)}, {"Date", DateAt(0)}}), "0-1");
  EXPECT_EQ(with(DateAt(-60), {{"Last-Modified", DateAt(-60)}, {"Date", DateAt(-60)}}), "whole");
  EXPECT_EQ(with(DateAt(-60), {{"Last-Modified", DateAt(-60)}}), "whole");
  EXPECT_EQ(with(DateAt(-59), {{"Last-Modified", DateAt(-60)}, {"Date", DateAt(0)}}), "whole");
  EXPECT_EQ(with("nonsense", {{"Last-Modified", DateAt(-60)}, {"Date", DateAt(0)}}), "whole");
}

// RFC 9111 3.3
TEST(RangeTest, F6_AStoredPartServesRangesItContains) {
  const auto part = [](std::string_view range) {
    return Text(EvaluateStoredPart(Get({{"Range", range}}), Map({}), {2, 5}, 10));
  };
  EXPECT_EQ(part("bytes=2-5"), "2-5");
  EXPECT_EQ(part("bytes=3-4"), "3-4");
  EXPECT_EQ(part("bytes=1-4"), "whole");
  EXPECT_EQ(part("bytes=3-6"), "whole");
  EXPECT_EQ(part("bytes=3-"), "whole");
  EXPECT_EQ(part("bytes=2-2, 4-4"), "whole");
  EXPECT_EQ(part("bytes=20-"), "whole");
  EXPECT_EQ(Text(EvaluateStoredPart(Get(), Map({}), {0, 9}, 10)), "whole");
}

// RFC 9111 3.4, RFC 9110 15.3.7.3
// The rest may have been elsewhere for a while before it came (RFC 9111 4.2.3).
TEST(CompletionTest, D2_TheAgeOfTheRestIsTheAgeOfTheWhole) {
  const HeaderMap stored = Map({{"ETag", "\"a\""}, {"Content-Range", "bytes 0-3/10"}});
  const auto age = [&](test::Fields answer) {
    const ResponseHead whole = CompletedHead(stored, 10, test::Response(206, answer));
    return whole.fields.Joined("Age").value_or("none");
  };
  EXPECT_EQ(age({{"Age", "40"}}), "40");
  EXPECT_EQ(age({{"Age", "40"}, {"Age", "0"}}), "40");
  EXPECT_EQ(age({}), "none");
}

TEST(CompletionTest, J7_APrefixIsCompletedUnderItsStrongEntityTagOnly) {
  RequestHead request = Get({{"Range", "bytes=0-"}, {"If-None-Match", "\"x\""}, {"X-A", "1"}});
  ASSERT_TRUE(MakeCompletion(request, Map({{"ETag", "\"a\""}}), {0, 3}));
  EXPECT_EQ(request.fields.First("Range"), "bytes=4-");
  EXPECT_EQ(request.fields.First("If-Range"), "\"a\"");
  EXPECT_EQ(request.fields.First("X-A"), "1");
  EXPECT_EQ(request.fields.size(), 3U);
  for (const std::string_view etag : {"W/\"a\"", "a", ""}) {
    RequestHead same = Get({{"Range", "bytes=0-"}});
    EXPECT_FALSE(MakeCompletion(same, Map({{"ETag", etag}}), {0, 3})) << etag;
    EXPECT_EQ(same.fields.First("Range"), "bytes=0-");
  }
  EXPECT_FALSE(MakeCompletion(request, Map({{"ETag", "\"a\""}}), {1, 3}));

  const auto completes = [](uint16_t status, std::string_view range, std::string_view etag) {
    return CompletesPrefix(Map({{"ETag", "\"a\""}}), {0, 3}, 10,
                           test::Response(status, {{"Content-Range", range}, {"ETag", etag}}));
  };
  EXPECT_TRUE(completes(206, "bytes 4-9/10", "\"a\""));
  EXPECT_FALSE(completes(200, "bytes 4-9/10", "\"a\""));
  EXPECT_FALSE(completes(206, "bytes 3-9/10", "\"a\""));
  EXPECT_FALSE(completes(206, "bytes 5-9/10", "\"a\""));
  EXPECT_FALSE(completes(206, "bytes 4-8/10", "\"a\""));
  EXPECT_FALSE(completes(206, "bytes 4-9/11", "\"a\""));
  EXPECT_FALSE(completes(206, "bytes 4-9/*", "\"a\""));
  EXPECT_FALSE(completes(206, "bytes 4-9/10", "\"b\""));
  EXPECT_FALSE(completes(206, "bytes 4-9/10", "W/\"a\""));
  EXPECT_FALSE(completes(206, "bytes 4-9/10", ""));
}

std::string Content(std::string_view value) {
  const std::optional<ContentRange> parsed = ParseContentRange(value);
  if (!parsed) return "refused";
  return std::to_string(parsed->range.first) + "-" + std::to_string(parsed->range.last) + "/" +
         (parsed->complete_length ? std::to_string(*parsed->complete_length) : "*");
}

// RFC 9110 14.4
TEST(ContentRangeTest, F6_OnlyWellFormedValuesAreRead) {
  EXPECT_EQ(Content("bytes 0-4/10"), "0-4/10");
  EXPECT_EQ(Content("Bytes 0-4/*"), "0-4/*");
  EXPECT_EQ(Content("bytes 0-18446744073709551613/18446744073709551614"),
            "0-18446744073709551613/18446744073709551614");
  for (const std::string_view value :
       {"", "bytes", "bytes ", "bytes */10", "bytes 0-4", "bytes 4-0/10", "bytes 0-10/10",
        "bytes=0-4/10", "bytes 0-4/x", "bytes -4/10", "bytes 0-/10", "lines 0-4/10",
        "bytes 0 - 4/10", "bytes 0-4/ 10", "bytes 0-18446744073709551615/*",
        "bytes 0-99999999999999999999/*", "bytes 0/4-10"}) {
    EXPECT_EQ(Content(value), "refused") << value;
  }
  EXPECT_EQ(FormatContentRange({0, 4}, 10), "bytes 0-4/10");
}

}  // namespace
}  // namespace satchel::cache
