#include "cache/base/text.h"

#include <gtest/gtest.h>

#include <string>

namespace satchel::cache {
namespace {

constexpr size_t kSizes = 70;  // beyond four times the lanes

std::string Letters(size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text.push_back(static_cast<char>('A' + i % 26));
  return text;
}

TEST(TextTest, ATextOfAnySizeIsCopiedAndNothingBesideIt) {
  for (size_t size = 0; size < kSizes; ++size) {
    std::string memory(size + 16, '#');
    EXPECT_EQ(PutText(memory.data() + 8, Letters(size)), memory.data() + 8 + size);
    EXPECT_EQ(memory, "########" + Letters(size) + "########");
  }
  std::string memory = "#";
  EXPECT_EQ(PutText(memory.data(), std::string_view()), memory.data());
}

TEST(TextTest, EveryByteOfATextIsLookedAtAndNoneBesideIt) {
  const auto is_mark = [](ByteLanes b) { return b == '!'; };
  for (size_t size = 0; size < kSizes; ++size) {
    std::string text = "!" + std::string(size, 'x') + "!";
    const std::string_view inside = std::string_view(text).substr(1, size);
    EXPECT_FALSE(AnyByte(inside, is_mark)) << size;
    for (size_t at = 1; at <= size; ++at) {
      text[at] = '!';
      EXPECT_TRUE(AnyByte(inside, is_mark)) << size << " " << at;
      text[at] = 'x';
    }
  }
}

TEST(TextTest, PlainIsPrintableAsciiWithoutQuoteAndBackslash) {
  for (const size_t size : {1, 2, 3, 4, 7, 8, 15, 16, 17, 40}) {
    for (size_t at = 0; at < size; ++at) {
      for (int c = 0; c < 256; ++c) {
        std::string text(size, 'x');
        text[at] = static_cast<char>(c);
        EXPECT_EQ(IsPlainText(text), c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            << size << " " << at << " " << c;
      }
    }
  }
  EXPECT_TRUE(IsPlainText(""));
}

TEST(TextTest, LettersAreEqualWithoutTheirCaseAndNothingElseIs) {
  for (const size_t size : {1, 2, 3, 4, 7, 8, 15, 16, 17, 40}) {
    for (size_t at = 0; at < size; ++at) {
      for (int a = 0; a < 256; ++a) {
        for (const int b : {a, a ^ 0x20, a ^ 0x80, a + 1}) {
          std::string first(size, 'x');
          std::string second(size, 'X');
          first[at] = static_cast<char>(a);
          second[at] = static_cast<char>(b);
          const bool letter = (a >= 'A' && a <= 'Z') || (a >= 'a' && a <= 'z');
          EXPECT_EQ(EqualsIgnoreCase(first, second),
                    static_cast<char>(a) == static_cast<char>(b) || (letter && b == (a ^ 0x20)))
              << size << " " << at << " " << a << " " << b;
        }
      }
    }
  }
  EXPECT_TRUE(EqualsIgnoreCase("", ""));
  EXPECT_FALSE(EqualsIgnoreCase("ab", "abc"));
}

TEST(TextTest, PairsAreBytesAtTheSamePlace) {
  const auto is_pair = [](ByteLanes a, ByteLanes b) { return (a == '<') & (b == '>'); };
  for (size_t size = 1; size < kSizes; ++size) {
    for (size_t at = 0; at < size; ++at) {
      std::string first(size, 'x');
      std::string second(size, 'x');
      first[at] = '<';
      second[(at + 1) % size] = '>';
      EXPECT_EQ(AnyPair(first, second, is_pair), size == 1);
      second[at] = '>';
      EXPECT_TRUE(AnyPair(first, second, is_pair)) << size << " " << at;
    }
  }
}

TEST(TextTest, NumbersHexAndLiteralsFollowEachOther) {
  char memory[128];
  CharWriter writer(memory);
  writer.Text("n=");
  writer.Number(-17);
  writer.Text(std::string_view(", "));
  writer.Number(UINT64_MAX);
  writer.Char(' ');
  writer.Hex(0x0123456789abcdef);
  writer.Char(' ');
  writer.Hex(0);
  EXPECT_EQ(std::string_view(memory, writer.at()),
            "n=-17, 18446744073709551615 0123456789abcdef 0000000000000000");
}

}  // namespace
}  // namespace satchel::cache
