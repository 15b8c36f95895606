// Heads of responses; those of requests have a table of raw bytes in the integration tests, too.
#include "proxy/http1/parser.h"

#include <gtest/gtest.h>

#include <string>

namespace satchel::http1 {
namespace {

HeadResult Parse(const std::string& text, cache::ResponseHead& head) {
  HeadParser parser;
  size_t scanned = 0;
  return parser.ParseResponse(text, scanned, HeadLimits{}, head);
}

TEST(ResponseHeadTest, IsTheSameHoweverItIsCut) {
  const std::string text =
      "HTTP/1.1 200 Fine by me\r\nX-A: 1\r\n\tfolded\r\nX-B:\r\nX-A:  2 \r\n\r\n";
  for (size_t first = 1; first < text.size(); ++first) {
    HeadParser parser;
    cache::ResponseHead head;
    size_t scanned = 0;
    HeadResult result = parser.ParseResponse(text.substr(0, first), scanned, HeadLimits{}, head);
    ASSERT_TRUE(result) << first;
    ASSERT_EQ(*result, 0u) << first;
    result = parser.ParseResponse(text + "body", scanned, HeadLimits{}, head);
    ASSERT_TRUE(result) << first << result.error().message;
    EXPECT_EQ(*result, text.size());
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.reason, "Fine by me");
    EXPECT_EQ(head.fields.Joined("X-A"), "1   folded, 2");
    EXPECT_EQ(head.fields.First("X-B"), "");
  }
}

TEST(ResponseHeadTest, AReasonMayBeMissing) {
  for (const char* line : {"HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"}) {
    cache::ResponseHead head;
    ASSERT_TRUE(Parse(line, head)) << line;
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.reason, "");
  }
}

TEST(ResponseHeadTest, WhatOthersReadDifferentlyIsBad) {
  using namespace std::string_literals;
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string cases[] = {
      "HTTP/2.0 200 OK\r\n\r\n",
      "http/1.1 200 OK\r\n\r\n",
      "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/1.1\t200 OK\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1 +20 OK\r\n\r\n",
      "HTTP/1.1 099 OK\r\n\r\n",
      "HTTP/1.1 200 O\0K\r\n\r\n"s,
      "HTTP/1.1 200 O\rK\r\n\r\n",
      "HTTP/1.1 200 OK\n\n",
      "\r\nHTTP/1.1 200 OK\r\n\r\n",
      ok + " X: y\r\n\r\n",                     // folded into the status line
      ok + "\tX: y\r\n\r\n",
      ok + "Content-Length:\r\n 5\r\n\r\n",     // a fold that decides about the length
      ok + "X: y\r\ncontent-length: 5\r\n 0\r\n\r\n",
      ok + "Transfer-Encoding:\r\n\tchunked\r\n\r\n",
      ok + "X: y\nZ: z\r\n\r\n",
      ok + "X: a\rb\r\n\r\n",
      ok + "X: a\0b\r\n\r\n"s,
      ok + "X : y\r\n\r\n",
      ok + "X Y: z\r\n\r\n",
      ok + ": z\r\n\r\n",
      ok + "X\r\n\r\n",
      ok + "X: \x7f\r\n\r\n",
  };
  for (const std::string& text : cases) {
    cache::ResponseHead head;
    const HeadResult result = Parse(text, head);
    ASSERT_FALSE(result) << ::testing::PrintToString(text);
    EXPECT_EQ(result.error().status, 502) << ::testing::PrintToString(text);
  }
}

// Targets and values are looked at sixteen bytes at a time.
TEST(RequestHeadTest, EachByteIsJudgedWhereverItStands) {
  HeadParser parser;
  for (const size_t size : {1, 2, 3, 5, 8, 15, 16, 17, 33}) {
    for (size_t at = 0; at < size; ++at) {
      for (int c = 0; c < 256; ++c) {
        if (c == '\r' || c == '\n') continue;  // the table of raw bytes has them
        std::string text(size, 'x');
        text[at] = static_cast<char>(c);
        cache::RequestHead head;
        size_t scanned = 0;
        const auto as_target = parser.ParseRequest("GET /" + text + " HTTP/1.1\r\nHost: a\r\n\r\n",
                                                   scanned, HeadLimits{}, head);
        EXPECT_EQ(as_target.has_value(), c > 0x20 && c < 0x7f && c != '#')
            << size << at << ' ' << c;
        head.Clear();
        const auto as_value =
            parser.ParseRequest("GET / HTTP/1.1\r\nHost: a\r\nX: " + text + "\r\n\r\n", scanned,
                                HeadLimits{}, head);
        EXPECT_EQ(as_value.has_value(), c == '\t' || (c >= 0x20 && c != 0x7f))
            << size << at << ' ' << c;
      }
    }
  }
}

TEST(ResponseHeadTest, LimitsAreKept) {
  HeadParser parser;
  for (const std::string& text :
       {"HTTP/1.1 200 OK\r\nX: " + std::string(40'000, 'a'),
        [] {
          std::string many = "HTTP/1.1 200 OK\r\n";
          for (int i = 0; i < 129; ++i) many += "X: y\r\n";
          return many + "\r\n";
        }()}) {
    cache::ResponseHead head;
    size_t scanned = 0;
    EXPECT_FALSE(parser.ParseResponse(text, scanned, HeadLimits{}, head));
  }
}

}  // namespace
}  // namespace satchel::http1
