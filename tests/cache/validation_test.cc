#include "cache/validation.h"

#include <gmock/gmock.h>

#include <vector>

#include "tests/cache/messages.h"

namespace satchel::cache {
namespace {

using test::At;
using test::DateAt;
using test::Get;
using test::kNow;
using test::Map;
using test::Request;
using ::testing::ElementsAre;

constexpr std::string_view kEtag = "ETag";

// RFC 9110 8.8.3.2, the table of its example.
TEST(EntityTagMatchTest, F2_WeakAndStrongComparison) {
  EXPECT_FALSE(StrongMatch("W/\"1\"", "W/\"1\""));
  EXPECT_TRUE(WeakMatch("W/\"1\"", "W/\"1\""));
  EXPECT_FALSE(WeakMatch("W/\"1\"", "W/\"2\""));
  EXPECT_FALSE(StrongMatch("W/\"1\"", "\"1\""));
  EXPECT_TRUE(WeakMatch("W/\"1\"", "\"1\""));
  EXPECT_TRUE(StrongMatch("\"1\"", "\"1\""));
  EXPECT_FALSE(StrongMatch("abc", "abc"));
  EXPECT_TRUE(WeakMatch("abc", "abc"));
  EXPECT_FALSE(WeakMatch("abc", "\"abc\""));
  EXPECT_FALSE(WeakMatch("", ""));
}

bool NotModified(test::Fields request, test::Fields stored, uint16_t status = 200) {
  return EvaluatePreconditions(Get(request), Map(stored), status, kNow) ==
         Precondition::kNotModified;
}

// RFC 9110 13.1.2
TEST(PreconditionTest, F2_IfNoneMatchComparesWeaklyAnywhereInTheList) {
  EXPECT_TRUE(NotModified({{"If-None-Match", "\"a\""}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", "W/\"a\""}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", "\"a\""}}, {{kEtag, "W/\"a\""}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", "\"x\", \"y\",\"a\""}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", "\"a\", \"y\""}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(
      NotModified({{"If-None-Match", "\"x\""}, {"If-None-Match", "\"a\""}}, {{kEtag, "\"a\""}}));
  EXPECT_FALSE(NotModified({{"If-None-Match", "\"b\""}}, {{kEtag, "\"a\""}}));
  EXPECT_FALSE(NotModified({{"If-None-Match", "\"A\""}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", "*"}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", " * "}}, {}));
  EXPECT_FALSE(NotModified({{"If-None-Match", "\"a\""}}, {}));
}

// RFC 9110 13.1.3: "A recipient MUST ignore If-Modified-Since if the request contains an
// If-None-Match header field".
TEST(PreconditionTest, F2_IfNoneMatchComesFirst) {
  EXPECT_FALSE(NotModified({{"If-None-Match", "\"b\""}, {"If-Modified-Since", DateAt(0)}},
                           {{kEtag, "\"a\""}, {"Last-Modified", DateAt(-100)}}));
  EXPECT_TRUE(NotModified({{"If-None-Match", "\"a\""}, {"If-Modified-Since", DateAt(-200)}},
                          {{kEtag, "\"a\""}, {"Last-Modified", DateAt(-100)}}));
  EXPECT_FALSE(NotModified({{"If-None-Match", "\"b\""}, {"If-Modified-Since", DateAt(0)}},
                           {{"Last-Modified", DateAt(-100)}}));
}

// RFC 9111 4.3.2
TEST(PreconditionTest, F2_IfModifiedSinceMeetsLastModifiedElseDateElseReceipt) {
  EXPECT_TRUE(
      NotModified({{"If-Modified-Since", DateAt(-100)}}, {{"Last-Modified", DateAt(-100)}}));
  EXPECT_TRUE(NotModified({{"If-Modified-Since", DateAt(-50)}}, {{"Last-Modified", DateAt(-100)}}));
  EXPECT_FALSE(
      NotModified({{"If-Modified-Since", DateAt(-101)}}, {{"Last-Modified", DateAt(-100)}}));
  EXPECT_TRUE(NotModified({{"If-Modified-Since", DateAt(-10)}}, {{"Date", DateAt(-10)}}));
  EXPECT_FALSE(NotModified({{"If-Modified-Since", DateAt(-11)}}, {{"Date", DateAt(-10)}}));
  EXPECT_TRUE(NotModified({{"If-Modified-Since", DateAt(0)}}, {}));
  EXPECT_FALSE(NotModified({{"If-Modified-Since", DateAt(-1)}}, {}));
  EXPECT_TRUE(NotModified({{"If-Modified-Since", "Wednesday, 31-Dec-25 23:59:59 GMT"}},
                          {{"Last-Modified", "Wed Dec 31 23:00:00 2025"}}));
  EXPECT_FALSE(NotModified({{"If-Modified-Since", "never"}}, {{"Last-Modified", DateAt(-100)}}));
}

// RFC 9110 13.2.1
TEST(PreconditionTest, F2_ConditionsConcernSuccessesAndReadsOnly) {
  EXPECT_FALSE(NotModified({{"If-None-Match", "*"}}, {{kEtag, "\"a\""}}, 404));
  EXPECT_FALSE(NotModified({{"If-None-Match", "*"}}, {{kEtag, "\"a\""}}, 301));
  EXPECT_TRUE(NotModified({{"If-None-Match", "*"}}, {{kEtag, "\"a\""}}, 203));
  EXPECT_FALSE(NotModified({}, {{kEtag, "\"a\""}}));
  EXPECT_EQ(
      EvaluatePreconditions(Request("POST", "/", {{"If-None-Match", "*"}}), Map({}), 200, kNow),
      Precondition::kSendFull);
  EXPECT_EQ(
      EvaluatePreconditions(Request("HEAD", "/", {{"If-None-Match", "*"}}), Map({}), 200, kNow),
      Precondition::kNotModified);
}

std::vector<std::string> Lines(const HeaderMap& fields) {
  std::vector<std::string> out;
  for (const HeaderMap::Field field : fields) {
    out.push_back(std::string(field.name) + ": " + std::string(field.value));
  }
  return out;
}

// RFC 9111 4.3.1
TEST(MakeConditionalTest, H1_StoredValidatorsReplaceTheClientsConditionsByteForByte) {
  for (const std::string_view etag : {"\"a\"", "W/\"a\"", "abc", "\"a, b\"", "W/abc"}) {
    RequestHead request = Get({{"If-None-Match", "\"x\""},
                               {"Accept-Language", "de"},
                               {"If-Modified-Since", DateAt(0)},
                               {"If-Match", "*"},
                               {"If-Unmodified-Since", DateAt(0)},
                               {"If-Range", "\"x\""},
                               {"Range", "bytes=0-1"},
                               {"X-A", "1"}});
    EXPECT_TRUE(MakeConditional(request, Map({{kEtag, etag}, {"Last-Modified", "odd date"}})));
    EXPECT_THAT(Lines(request.fields),
                ElementsAre("Accept-Language: de", "X-A: 1", "If-None-Match: " + std::string(etag),
                            "If-Modified-Since: odd date"));
  }
}

TEST(MakeConditionalTest, H1_WithoutValidatorsItIsAPlainFetch) {
  RequestHead request = Get({{"If-None-Match", "\"x\""}, {"Range", "bytes=0-1"}, {"X-A", "1"}});
  EXPECT_FALSE(MakeConditional(request, Map({{"Cache-Control", "max-age=60"}, {kEtag, " "}})));
  EXPECT_THAT(Lines(request.fields), ElementsAre("X-A: 1"));
}

// RFC 9111 3.2, 4.3.4
TEST(MergeTest, H2_FieldsOfA304ReplaceAllLinesOfTheirName) {
  const HeaderMap stored = Map({{"X-A", "old 1"},
                                {"X-B", "b"},
                                {"x-a", "old 2"},
                                {"Content-Type", "text/plain"},
                                {"Set-Cookie", "a"},
                                {"Cache-Control", "max-age=1"}});
  const HeaderMap update = Map({{"X-a", "new 1"},
                                {"X-A", "new 2"},
                                {"Cache-Control", "max-age=2"},
                                {"Set-Cookie", "b"},
                                {"Set-Cookie", "c"},
                                {"X-New", "1"},
                                {"Content-Type", "text/html"}});
  EXPECT_THAT(Lines(MergeNotModified(stored, update)),
              ElementsAre("X-B: b", "X-a: new 1", "X-A: new 2", "Cache-Control: max-age=2",
                          "Set-Cookie: b", "Set-Cookie: c", "X-New: 1", "Content-Type: text/html"));
}

TEST(MergeTest, H2_WhatDescribesTheStoredBytesStays) {
  const HeaderMap stored = Map({{"Content-Length", "10"},
                                {"Content-Encoding", "gzip"},
                                {"Content-Range", "bytes 0-9/20"},
                                {"X-C", "1"}});
  const HeaderMap update = Map({{"Content-Length", "0"},
                                {"Content-Encoding", "br"},
                                {"Content-Range", "x"},
                                {"Transfer-Encoding", "chunked"},
                                {"Connection", "X-C"},
                                {"X-C", "2"},
                                {"Keep-Alive", "1"}});
  EXPECT_THAT(Lines(MergeNotModified(stored, update)),
              ElementsAre("Content-Length: 10", "Content-Encoding: gzip",
                          "Content-Range: bytes 0-9/20", "X-C: 1"));
}

// RFC 9111 4.3.4
TEST(SelectTest, H2_A304SpeaksOfTheResponseWithItsValidator) {
  const auto selects = [](test::Fields stored, test::Fields update) {
    return NotModifiedSelects(Map(stored), Map(update));
  };
  EXPECT_TRUE(selects({{kEtag, "\"a\""}}, {{kEtag, "\"a\""}}));
  EXPECT_FALSE(selects({{kEtag, "\"a\""}}, {{kEtag, "\"b\""}}));
  EXPECT_FALSE(selects({{kEtag, "W/\"a\""}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(selects({{kEtag, "\"a\""}}, {{kEtag, "W/\"a\""}}));
  EXPECT_FALSE(selects({{"Last-Modified", DateAt(0)}}, {{kEtag, "\"a\""}}));
  EXPECT_TRUE(selects({{kEtag, "\"a\""}}, {}));
  EXPECT_TRUE(selects({{"Last-Modified", DateAt(0)}}, {{"Last-Modified", DateAt(0)}}));
  EXPECT_FALSE(selects({{"Last-Modified", DateAt(0)}}, {{"Last-Modified", DateAt(1)}}));
  EXPECT_TRUE(selects({{kEtag, "abc"}}, {{kEtag, "abc"}}));
}

// RFC 9111 4.3.5
TEST(HeadTest, H4_ValidatorsAndLengthHaveToAgree) {
  const auto confirms = [](test::Fields head) {
    return HeadConfirms(Map({{kEtag, "\"a\""}, {"Last-Modified", DateAt(-9)}}), 10, Map(head));
  };
  EXPECT_TRUE(confirms({}));
  EXPECT_TRUE(
      confirms({{kEtag, "\"a\""}, {"Content-Length", "10"}, {"Last-Modified", DateAt(-9)}}));
  EXPECT_FALSE(confirms({{kEtag, "\"b\""}, {"Content-Length", "10"}}));
  EXPECT_FALSE(confirms({{kEtag, "W/\"a\""}}));
  EXPECT_FALSE(confirms({{kEtag, "\"a\""}, {"Content-Length", "11"}}));
  EXPECT_FALSE(confirms({{"Content-Length", "x"}}));
  EXPECT_FALSE(confirms({{"Last-Modified", DateAt(-8)}}));
}

// RFC 9110 15.4.5
TEST(NotModifiedTest, F2_A304CarriesTheseFieldsOnly) {
  for (const FieldId id : {FieldId::kEtag, FieldId::kDate, FieldId::kCacheControl,
                           FieldId::kExpires, FieldId::kVary, FieldId::kContentLocation}) {
    EXPECT_TRUE(BelongsInNotModified(id)) << FieldName(id);
  }
  for (const FieldId id :
       {FieldId::kContentLength, FieldId::kContentType, FieldId::kContentEncoding,
        FieldId::kContentRange, FieldId::kSetCookie, FieldId::kOther}) {
    EXPECT_FALSE(BelongsInNotModified(id)) << FieldName(id);
  }
}

}  // namespace
}  // namespace satchel::cache
