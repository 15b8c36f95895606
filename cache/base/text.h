#pragma once

#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

// Short texts looked at, compared and copied without a loop over their bytes or a call of the
// library, which cost more than the bytes themselves: a hit does so some forty times.
namespace satchel::cache {

// Sixteen bytes at once; a comparison gives -1 in each lane where it holds, else 0. Bytes from 0x80
// on are negative.
typedef signed char ByteLanes __attribute__((vector_size(16)));

[[gnu::always_inline]] inline ByteLanes LoadLanes(const char* at) {
  ByteLanes lanes;
  std::memcpy(&lanes, at, sizeof(lanes));
  return lanes;
}

// Of 1 to 16 bytes: each is in at least one lane, and which one depends on `size` alone.
[[gnu::always_inline]] inline ByteLanes LoadShort(const char* at, size_t size) {
  uint64_t words[2];
  if (size >= 8) {
    std::memcpy(&words[0], at, 8);
    std::memcpy(&words[1], at + size - 8, 8);
  } else if (size >= 4) {
    uint32_t first, last;
    std::memcpy(&first, at, 4);
    std::memcpy(&last, at + size - 4, 4);
    words[0] = words[1] = uint64_t{last} << 32 | first;
  } else {
    const auto byte = [&](size_t i) { return uint64_t{static_cast<unsigned char>(at[i])}; };
    const uint64_t ends = byte(0) | byte(size / 2) << 8;
    words[0] = words[1] = ends | ends << 16 | byte(size - 1) * 0x0101010100000000;
  }
  ByteLanes lanes;
  std::memcpy(&lanes, words, sizeof(lanes));
  return lanes;
}

[[gnu::always_inline]] inline bool AnyLane(ByteLanes lanes) {
  uint64_t words[2];
  std::memcpy(words, &lanes, sizeof(words));
  return (words[0] | words[1]) != 0;
}

// Whether `test`, which maps lanes to lanes, holds for any byte. Looks at all of them.
template <typename Test>
[[gnu::always_inline]] inline bool AnyByte(std::string_view text, Test test) {
  const char* at = text.data();
  size_t left = text.size();
  if (left == 0) return false;
  if (left < 16) return AnyLane(test(LoadShort(at, left)));
  ByteLanes found{};
  for (; left > 16; left -= 16, at += 16) found |= test(LoadLanes(at));
  return AnyLane(found | test(LoadLanes(at + left - 16)));
}

// The bytes that keep a text from being plain.
inline constexpr auto NotPlain = [](ByteLanes bytes) {
  return (bytes < 0x20) | (bytes == 0x7f) | (bytes == '"') | (bytes == '\\');
};

// Printable ASCII without quote and backslash: stands for itself inside a quoted string of JSON and
// of Structured Fields (RFC 9651 3.3.3).
inline bool IsPlainText(std::string_view text) { return !AnyByte(text, NotPlain); }

// Whether `test`, which maps two sets of lanes to one, holds for any two bytes at the same place of
// texts of the same size.
template <typename Test>
[[gnu::always_inline]] inline bool AnyPair(std::string_view a, std::string_view b, Test test) {
  size_t left = a.size();
  if (left == 0) return false;
  const char* x = a.data();
  const char* y = b.data();
  if (left < 16) return AnyLane(test(LoadShort(x, left), LoadShort(y, left)));
  ByteLanes found{};
  for (; left > 16; left -= 16, x += 16, y += 16) found |= test(LoadLanes(x), LoadLanes(y));
  return AnyLane(found | test(LoadLanes(x + left - 16), LoadLanes(y + left - 16)));
}

// Compares without the case of ASCII letters.
inline bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  const auto lower = [](ByteLanes lanes) {
    return lanes | (((lanes >= 'A') & (lanes <= 'Z')) & 0x20);
  };
  return a.size() == b.size() &&
         !AnyPair(a, b, [lower](ByteLanes x, ByteLanes y) { return lower(x) != lower(y); });
}

// The first and the last word of a text; all of one that is as long as a word to two.
template <typename Word>
[[gnu::always_inline]] inline void PutEnds(char* to, const char* from, size_t size) {
  Word first, last;
  std::memcpy(&first, from, sizeof(Word));
  std::memcpy(&last, from + size - sizeof(Word), sizeof(Word));
  std::memcpy(to, &first, sizeof(Word));
  std::memcpy(to + size - sizeof(Word), &last, sizeof(Word));
}

// Copies `text` to `to`, which has room for it and does not overlap it; returns the end.
[[gnu::always_inline]] inline char* PutText(char* to, std::string_view text) {
  const size_t size = text.size();
  if (size > 32) {
    std::memcpy(to, text.data(), size);
  } else if (size >= 16) {
    PutEnds<ByteLanes>(to, text.data(), size);
  } else if (size >= 8) {
    PutEnds<uint64_t>(to, text.data(), size);
  } else if (size >= 4) {
    PutEnds<uint32_t>(to, text.data(), size);
  } else if (size > 0) {
    to[0] = text.front();
    to[size / 2] = text[size / 2];
    to[size - 1] = text.back();
  }
  return to + size;
}

// Writes into memory that is large enough.
class CharWriter {
 public:
  static constexpr size_t kMostDigits = 20;  // of a number, with its sign

  explicit CharWriter(char* at) : at_(at) {}

  [[gnu::always_inline]] void Text(std::string_view text) { at_ = PutText(at_, text); }
  template <size_t N>
  [[gnu::always_inline]] void Text(const char (&literal)[N]) {
    std::memcpy(at_, literal, N - 1);
    at_ += N - 1;
  }
  void Char(char c) { *at_++ = c; }
  template <typename Integer>
  void Number(Integer value) {
    at_ = std::to_chars(at_, at_ + kMostDigits, value).ptr;
  }
  // All sixteen digits, in lower case.
  void Hex(uint64_t value) {
    HexDigits(static_cast<uint32_t>(value >> 32));
    HexDigits(static_cast<uint32_t>(value));
  }
  char* at() const { return at_; }
  void MoveTo(char* at) { at_ = at; }  // behind what another has written

 private:
  // Each half byte goes into a byte of its own, the first digit into the lowest.
  void HexDigits(uint32_t value) {
    constexpr uint64_t kEach = 0x0101010101010101;
    uint64_t spread = __builtin_bswap32(value);
    spread = (spread | spread << 16) & 0x0000ffff0000ffff;
    spread = (spread | spread << 8) & 0x00ff00ff00ff00ff;
    spread = (spread >> 4 | spread << 8) & 0x0f0f0f0f0f0f0f0f;
    const uint64_t letters = (spread + 6 * kEach) >> 4 & kEach;
    spread += '0' * kEach + letters * ('a' - '0' - 10);
    if constexpr (std::endian::native == std::endian::big) spread = __builtin_bswap64(spread);
    std::memcpy(at_, &spread, sizeof(spread));
    at_ += sizeof(spread);
  }

  char* at_;
};

}  // namespace satchel::cache
