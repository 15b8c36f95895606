// Where a message ends (RFC 9112 6.3).
#include "proxy/http1/framing.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace satchel::http1 {
namespace {

using FieldList = std::vector<std::pair<const char*, const char*>>;

template <typename Head>
Head With(const FieldList& fields, uint8_t minor) {
  Head head;
  head.minor_version = minor;
  for (const auto& [name, value] : fields) head.fields.Add(name, value);
  return head;
}

int Refusal(const std::expected<Framing, ParseError>& framing) {
  return framing ? 0 : framing.error().status;
}

TEST(RequestFramingTest, OneLengthOrExactlyOneChunkedIsAllThatCounts) {
  const auto none = FrameRequest(With<cache::RequestHead>({}, 1));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->kind, BodyKind::kNone);
  const auto length = FrameRequest(With<cache::RequestHead>({{"Content-Length", "0012"}}, 1));
  ASSERT_TRUE(length);
  EXPECT_EQ(length->kind, BodyKind::kLength);
  EXPECT_EQ(length->length, 12u);
  const auto empty = FrameRequest(With<cache::RequestHead>({{"Content-Length", "0"}}, 1));
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->kind, BodyKind::kNone);
  const auto chunked =
      FrameRequest(With<cache::RequestHead>({{"Transfer-Encoding", "ChunkeD"}}, 1));
  ASSERT_TRUE(chunked);
  EXPECT_EQ(chunked->kind, BodyKind::kChunked);
}

TEST(RequestFramingTest, EverythingElseIsRefused) {
  const struct {
    FieldList fields;
    int status;
  } cases[] = {
      {{{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}, 400},
      {{{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}, 400},
      {{{"Content-Length", "5"}, {"Content-Length", "5"}}, 400},
      {{{"Content-Length", "5, 5"}}, 400},
      {{{"Content-Length", ""}}, 400},
      {{{"Content-Length", "+5"}}, 400},
      {{{"Content-Length", "-5"}}, 400},
      {{{"Content-Length", "0x5"}}, 400},
      {{{"Content-Length", "5 5"}}, 400},
      {{{"Content-Length", "9223372036854775808"}}, 400},
      {{{"Content-Length", "00000000000000000005"}}, 400},
      {{{"Transfer-Encoding", "gzip"}}, 501},
      {{{"Transfer-Encoding", "identity"}}, 501},
      {{{"Transfer-Encoding", "gzip, chunked"}}, 501},
      {{{"Transfer-Encoding", "chunked, gzip"}}, 400},
      {{{"Transfer-Encoding", "chunked,"}}, 400},
      {{{"Transfer-Encoding", "chunked;a"}}, 400},
      {{{"Transfer-Encoding", "\"chunked\""}}, 400},
      {{{"Transfer-Encoding", ""}}, 400},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(Refusal(FrameRequest(With<cache::RequestHead>(one.fields, 1))), one.status)
        << one.fields[0].first << ": " << one.fields[0].second;
  }
  EXPECT_EQ(Refusal(FrameRequest(With<cache::RequestHead>({{"Transfer-Encoding", "chunked"}}, 0))),
            400);
}

TEST(ResponseFramingRulesTest, WhatHasNoBodyHasNoneWhateverItSays) {
  for (const char* method : {"HEAD", "GET"}) {
    cache::ResponseHead head = With<cache::ResponseHead>({{"Content-Length", "5"}}, 1);
    head.status = method[0] == 'H' ? 200 : 304;
    const auto framing = FrameResponse(method, head);
    ASSERT_TRUE(framing);
    EXPECT_EQ(framing->kind, BodyKind::kNone);
    EXPECT_TRUE(framing->keep_alive);
  }
  // A 204 that announces a body may well send it.
  for (const auto& field : {std::pair{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}) {
    cache::ResponseHead head = With<cache::ResponseHead>({field}, 1);
    head.status = 204;
    const auto framing = FrameResponse("GET", head);
    ASSERT_TRUE(framing);
    EXPECT_EQ(framing->kind, BodyKind::kNone);
    EXPECT_FALSE(framing->keep_alive) << field.first;
  }
}

TEST(ResponseFramingRulesTest, AmbiguousLengthsAndCodingsAreBad) {
  const FieldList cases[] = {
      {{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}},
      {{"Content-Length", "5"}, {"Transfer-Encoding", "unknown"}},
      {{"Content-Length", "5"}, {"Content-Length", "6"}},
      {{"Content-Length", "5"}, {"Content-Length", "5"}},
      {{"Content-Length", "5, 5"}},
      {{"Content-Length", ""}},
      {{"Content-Length", "+5"}},
      {{"Content-Length", "five"}},
      {{"Transfer-Encoding", "gzip, chunked"}},
      {{"Transfer-Encoding", "chunked, gzip"}},
      {{"Transfer-Encoding", "chunked, chunked"}},
      {{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
      {{"Transfer-Encoding", "gzip"}, {"Transfer-Encoding", "deflate"}},
      {{"Transfer-Encoding", "xCHUNKED"}},
      {{"Transfer-Encoding", "\"chunked\""}},
      {{"Transfer-Encoding", "chunked;a=b"}},
      {{"Transfer-Encoding", ""}},
  };
  for (const FieldList& fields : cases) {
    cache::ResponseHead head = With<cache::ResponseHead>(fields, 1);
    head.status = 200;
    EXPECT_EQ(Refusal(FrameResponse("GET", head)), 502)
        << fields[0].first << ": " << fields[0].second;
  }
  cache::ResponseHead old = With<cache::ResponseHead>({{"Transfer-Encoding", "chunked"}}, 0);
  old.status = 200;
  EXPECT_EQ(Refusal(FrameResponse("GET", old)), 502);  // RFC 9112 6.1
}

TEST(ResponseFramingRulesTest, WithoutALengthTheConnectionsEndIsTheBodys) {
  for (const FieldList& fields : {FieldList{}, FieldList{{"Transfer-Encoding", "unknown"}}}) {
    cache::ResponseHead head = With<cache::ResponseHead>(fields, 1);
    head.status = 200;
    const auto framing = FrameResponse("GET", head);
    ASSERT_TRUE(framing);
    EXPECT_EQ(framing->kind, BodyKind::kUntilClose);
    EXPECT_FALSE(framing->keep_alive);
  }
}

TEST(KeepAliveTest, FollowsVersionAndConnection) {
  const struct {
    uint8_t minor;
    FieldList fields;
    bool keep;
  } cases[] = {
      {1, {}, true},
      {0, {}, false},
      {1, {{"Connection", "x, CLOSE"}}, false},
      {0, {{"Connection", "Keep-Alive"}}, true},
      {1, {{"Connection", "keep-alive"}, {"Connection", "close"}}, false},
  };
  for (const auto& one : cases) {
    const auto framing = FrameRequest(With<cache::RequestHead>(one.fields, one.minor));
    ASSERT_TRUE(framing);
    EXPECT_EQ(framing->keep_alive, one.keep);
  }
}

}  // namespace
}  // namespace satchel::http1
