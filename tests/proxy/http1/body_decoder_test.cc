// Chunked bodies, read to the letter (RFC 9112 7.1), however they are cut on their way.
#include "proxy/http1/body_decoder.h"

#include <gtest/gtest.h>

#include <string>

namespace satchel::http1 {
namespace {

struct Outcome {
  bool refused = false;
  bool done = false;
  std::string data;
  std::string trailers;
  size_t used = 0;
  bool operator==(const Outcome&) const = default;
};

// Feeds `text` in pieces of `size` bytes.
Outcome Decode(std::string_view text, size_t size) {
  BodyDecoder decoder;
  Framing framing;
  framing.kind = BodyKind::kChunked;
  decoder.Start(framing);
  Outcome out;
  std::string kept;
  for (size_t at = 0; at < text.size() && !decoder.done(); at += size) {
    kept.append(text.substr(at, size));
    std::string_view rest = kept;
    while (!rest.empty() && !decoder.done()) {
      const auto step = decoder.Next(rest);
      if (!step) {
        out.refused = true;
        return out;
      }
      out.data += step->data;
      out.used += step->used;
      rest.remove_prefix(step->used);
      if (step->used == 0) break;
    }
    kept.assign(rest);
  }
  out.done = decoder.done();
  for (const cache::HeaderMap::Field field : decoder.trailers()) {
    out.trailers.append(field.name).append("=").append(field.value).append(";");
  }
  return out;
}

TEST(BodyDecoderTest, TakesTheCodingOffHoweverItIsCut) {
  const struct {
    const char* text;
    const char* data;
    const char* trailers;
  } cases[] = {
      {"0\r\n\r\n", "", ""},
      {"1\r\na\r\n0\r\n\r\n", "a", ""},
      {"00003\r\nabc\r\n2;x=\"y;\\\"z\"\r\nde\r\n000;end\r\n\r\n", "abcde", ""},
      {"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""},
      {"4\r\n\r\n\r\n\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n", "\r\n\r\n", "X-A=1;X-B=;"},
  };
  for (const auto& one : cases) {
    const std::string text = one.text;
    for (size_t size = 1; size <= text.size() + 6; ++size) {
      const Outcome got = Decode(text + "next..", size);
      EXPECT_TRUE(got.done) << text;
      EXPECT_EQ(got.data, one.data) << size;
      EXPECT_EQ(got.trailers, one.trailers) << size;
      EXPECT_EQ(got.used, text.size()) << "what follows belongs to the next message";
    }
  }
}

TEST(BodyDecoderTest, RefusesWhatOthersReadDifferently) {
  using namespace std::string_literals;
  const std::string cases[] = {
      "\r\na\r\n0\r\n\r\n",
      "g\r\n",
      "0x1\r\na\r\n0\r\n\r\n",
      "+1\r\na\r\n0\r\n\r\n",
      "-1\r\na\r\n0\r\n\r\n",
      " 1\r\na\r\n0\r\n\r\n",
      "1 \r\na\r\n0\r\n\r\n",
      "1\t\r\na\r\n0\r\n\r\n",
      "1 ;a\r\na\r\n0\r\n\r\n",
      "1_0\r\na\r\n0\r\n\r\n",
      "1\na\r\n0\r\n\r\n",
      "1\r\na\n0\r\n\r\n",
      "1\r\na0\r\n\r\n",
      "1\r\nab\r\n0\r\n\r\n",
      "1\r\r\na\r\n0\r\n\r\n",
      "1;a\nb\r\na\r\n0\r\n\r\n",
      "1;a\rb\r\na\r\n0\r\n\r\n",
      "1;a\0b\r\na\r\n0\r\n\r\n"s,
      "1;\x7f\r\na\r\n0\r\n\r\n",
      "1;" + std::string(1100, 'x') + "\r\na\r\n0\r\n\r\n",
      "1000000000000000\r\n",
      "10000000000000001\r\n",
      "ffffffffffffffff\r\n",
      "0000000000000001\r\na\r\n0\r\n\r\n",
      "0\r\nbad name: x\r\n\r\n",
      "0\r\nX : y\r\n\r\n",
      "0\r\nX: y\n\r\n",
      "0\r\nX: y\r\n z\r\n\r\n",
      "0\r\n X: y\r\n\r\n",
      "0\r\nX: \0\r\n\r\n"s,
      "0\r\nX: a\rb\r\n\r\n",
      "0\r\nnothing\r\n\r\n",
      "0\r\n: y\r\n\r\n",
      "0\r\nX: " + std::string(17 * 1024, 'y') + "\r\n\r\n",
      "0\r\n\n",
  };
  for (const std::string& text : cases) {
    for (size_t size : {size_t{1}, size_t{2}, size_t{7}, text.size()}) {
      EXPECT_TRUE(Decode(text, size).refused) << ::testing::PrintToString(text.substr(0, 60));
    }
  }
}

TEST(BodyDecoderTest, ManyTrailersAreRefused) {
  std::string text = "0\r\n";
  for (int i = 0; i < 65; ++i) text += "X: y\r\n";
  EXPECT_TRUE(Decode(text + "\r\n", text.size()).refused);
}

TEST(BodyDecoderTest, AnUnfinishedBodyIsNotDone) {
  for (const char* text : {"", "1", "1\r\n", "1\r\na", "1\r\na\r\n", "1\r\na\r\n0\r\n",
                           "1\r\na\r\n0\r\nX: y\r\n"}) {
    const Outcome got = Decode(text, 1);
    EXPECT_FALSE(got.done) << text;
    EXPECT_FALSE(got.refused) << text;
  }
}

TEST(BodyDecoderTest, OnlyABodyUntilCloseMayEndWithTheConnection) {
  for (const BodyKind kind : {BodyKind::kLength, BodyKind::kChunked, BodyKind::kUntilClose}) {
    BodyDecoder decoder;
    Framing framing;
    framing.kind = kind;
    framing.length = 5;
    decoder.Start(framing);
    EXPECT_EQ(decoder.EndOfInput(), kind == BodyKind::kUntilClose);
  }
}

}  // namespace
}  // namespace satchel::http1
