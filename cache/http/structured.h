#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// Structured Fields (RFC 9651). Parsing is strict: one fault anywhere and the field has no value
// (RFC 9651 4.2). Bounded: what the RFC obliges parsers to take is taken, and no more.
namespace satchel::cache::sf {

inline constexpr size_t kMaxMembers = 1024;    // of a list or dictionary (RFC 9651 3.1, 3.2)
inline constexpr size_t kMaxInnerItems = 256;  // of an inner list (3.1.1)
inline constexpr size_t kMaxParameters = 256;  // of an item or inner list (3.1.2)
inline constexpr int64_t kMaxInteger = 999'999'999'999'999;  // 3.3.1

// A decimal in thousandths (RFC 9651 3.3.2): at most twelve digits before the point.
struct Decimal {
  int64_t thousandths = 0;
  bool operator==(const Decimal&) const = default;
};
struct Token {
  std::string text;
  bool operator==(const Token&) const = default;
};
struct ByteSequence {
  std::string bytes;
  bool operator==(const ByteSequence&) const = default;
};
// Seconds since 1970 (RFC 9651 3.3.7).
struct Date {
  int64_t seconds = 0;
  bool operator==(const Date&) const = default;
};
// UTF-8 text (RFC 9651 3.3.8).
struct DisplayString {
  std::string text;
  bool operator==(const DisplayString&) const = default;
};

using BareItem =
    std::variant<int64_t, Decimal, std::string, Token, ByteSequence, bool, Date, DisplayString>;
// In order; keys are unique.
using Parameters = std::vector<std::pair<std::string, BareItem>>;

struct Item {
  BareItem value;
  Parameters parameters;
  bool operator==(const Item&) const = default;
};
struct InnerList {
  std::vector<Item> items;
  Parameters parameters;
  bool operator==(const InnerList&) const = default;
};
using Member = std::variant<Item, InnerList>;
using List = std::vector<Member>;
// In order of first appearance; keys are unique, the last value of a key stands.
using Dictionary = std::vector<std::pair<std::string, Member>>;

// `text` is all lines of the field joined by ", ". An empty list or dictionary is a value.
std::optional<Item> ParseItem(std::string_view text);
std::optional<List> ParseList(std::string_view text);
std::optional<Dictionary> ParseDictionary(std::string_view text);

// nullptr if there is no such key.
const Member* Find(const Dictionary& dictionary, std::string_view key);
const BareItem* Find(const Parameters& parameters, std::string_view key);

// RFC 9651 4.1. nullopt if a value cannot be written: a number out of range, a string with
// characters outside visible ASCII and space, a malformed key or token, text that is not UTF-8.
std::optional<std::string> Serialize(const Item& item);
std::optional<std::string> Serialize(const List& list);
std::optional<std::string> Serialize(const Dictionary& dictionary);

}  // namespace satchel::cache::sf
