#include "proxy/json_escape.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace satchel::proxy {
namespace {

std::string Escaped(std::string_view text) {
  std::string out = "before:";
  AppendEscaped(out, text);
  EXPECT_TRUE(out.starts_with("before:"));
  return out.substr(7);
}

TEST(JsonEscapeTest, PlainTextStaysAsItIs) {
  EXPECT_EQ(Escaped(""), "");
  EXPECT_EQ(Escaped("/a/b?c=d"), "/a/b?c=d");
  EXPECT_EQ(Escaped("exactly8"), "exactly8");
  EXPECT_EQ(Escaped("a longer text, of more than two words"),
            "a longer text, of more than two words");
}

TEST(JsonEscapeTest, QuotesAndControlsAreEscapedAtEveryPosition) {
  for (size_t at = 0; at < 20; ++at) {
    std::string text(20, 'x');
    text[at] = '"';
    EXPECT_EQ(Escaped(text), std::string(at, 'x') + "\\\"" + std::string(19 - at, 'x'));
    text[at] = '\\';
    EXPECT_EQ(Escaped(text), std::string(at, 'x') + "\\\\" + std::string(19 - at, 'x'));
    text[at] = '\x1f';
    EXPECT_EQ(Escaped(text), std::string(at, 'x') + "\\u001f" + std::string(19 - at, 'x'));
    text[at] = '\0';
    EXPECT_EQ(Escaped(text), std::string(at, 'x') + "\\u0000" + std::string(19 - at, 'x'));
    text[at] = '\x7f';
    EXPECT_EQ(Escaped(text), std::string(at, 'x') + "\\u007f" + std::string(19 - at, 'x'));
  }
  EXPECT_EQ(Escaped("a\r\nb\tc"), "a\\r\\nb\\tc");
}

TEST(JsonEscapeTest, ValidUtf8Stays) {
  const std::string text =
      "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xf4\x8f\xbf\xbf";
  EXPECT_EQ(Escaped(text), text);
}

TEST(JsonEscapeTest, TerminalControlsInUtf8AreEscaped) {
  EXPECT_EQ(Escaped("\xc2\x9b"
                    "31m"),
            "\\u009b31m");  // CSI as one code point
  EXPECT_EQ(Escaped("\xc2\xa0"), "\xc2\xa0");
}

TEST(JsonEscapeTest, EachInvalidByteBecomesTheReplacementCharacter) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(Escaped("\xff"), r);
  EXPECT_EQ(Escaped("a\x80z"), "a" + r + "z");            // continuation without a lead
  EXPECT_EQ(Escaped("\xc0\xaf"), r + r);                  // overlong
  EXPECT_EQ(Escaped("\xe0\x80\xaf"), r + r + r);          // overlong
  EXPECT_EQ(Escaped("\xf0\x80\x80\xaf"), r + r + r + r);  // overlong
  EXPECT_EQ(Escaped("\xed\xa0\x80"), r + r + r);          // surrogate
  EXPECT_EQ(Escaped("\xf4\x90\x80\x80"), r + r + r + r);  // past the last code point
  EXPECT_EQ(Escaped("\xe2\x82"), r + r);                  // cut short
  EXPECT_EQ(Escaped("\xe2\x82\""), r + r + "\\\"");       // cut short by a quote
}

TEST(JsonEscapeTest, AnyBytesGiveJsonThatParses) {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    std::string text(random() % 40, '\0');
    for (char& c : text) c = static_cast<char>(random());
    const auto json = nlohmann::json::parse("\"" + Escaped(text) + "\"", nullptr, false);
    ASSERT_TRUE(json.is_string()) << round;
    // What is printable ASCII must come back as it was.
    std::string want;
    std::string got;
    for (char c : text) {
      if (c >= ' ' && c < 0x7f) want += c;
    }
    for (char c : json.get<std::string>()) {
      if (c >= ' ' && c < 0x7f) got += c;
    }
    ASSERT_EQ(got, want) << round;
  }
}

TEST(JsonEscapeTest, ACutNeverDividesASequence) {
  const std::string text =
      "ab\xe2\x82\xac"
      "cd";  // the euro sign is bytes 2 to 4
  EXPECT_EQ(CutUtf8(text, 100), text.size());
  EXPECT_EQ(CutUtf8(text, 5), 5u);
  EXPECT_EQ(CutUtf8(text, 4), 2u);
  EXPECT_EQ(CutUtf8(text, 3), 2u);
  EXPECT_EQ(CutUtf8(text, 2), 2u);
  EXPECT_EQ(CutUtf8(std::string(10, '\x80'), 5), 5u);  // garbage is cut where asked
  EXPECT_EQ(CutUtf8("\xe2\x82\xac", 1), 0u);
}

}  // namespace
}  // namespace satchel::proxy
