#include "cache/http/structured.h"

#include <algorithm>

#include "cache/http/message.h"
#include "cache/http/structured_text.h"

namespace satchel::cache::sf {

bool IsUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || i + size > text.size()) return false;
    for (size_t k = 1; k < size; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    const unsigned char second = byte(i + 1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += size;
  }
  return true;
}

namespace {

// The value of a base64 digit, -1 for other characters.
int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (IsDigit(c)) return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// Padding may be missing and unused bits may be set (RFC 9651 4.2.7).
std::optional<std::string> DecodeBase64(std::string_view text) {
  size_t padding = 0;
  while (!text.empty() && text.back() == '=' && padding < 2) {
    text.remove_suffix(1);
    ++padding;
  }
  if (text.size() % 4 == 1 || (padding != 0 && (text.size() + padding) % 4 != 0)) {
    return std::nullopt;
  }
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = Base64Value(c);
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<char>(bits >> count & 0xff));
    }
  }
  return out;
}

// The algorithms of RFC 9651 4.2, one function each. They consume from the front; false means that
// the whole field fails.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  bool AtEnd() const { return rest_.empty(); }
  void SkipSpaces() {
    while (!AtEnd() && rest_.front() == ' ') rest_.remove_prefix(1);
  }

  // 4.2.1
  bool ReadList(List& out) {
    while (!AtEnd()) {
      if (out.size() == kMaxMembers || !ReadMember(out.emplace_back())) return false;
      bool more = false;
      if (!ReadComma(more)) return false;
      if (!more) return true;
    }
    return true;
  }

  // 4.2.2
  bool ReadDictionary(Dictionary& out) {
    while (!AtEnd()) {
      std::string key;
      if (!ReadKey(key)) return false;
      Member member;
      if (Accept('=')) {
        if (!ReadMember(member)) return false;
      } else {
        Item item{true, {}};
        if (!ReadParameters(item.parameters)) return false;
        member = std::move(item);
      }
      if (!Put(out, std::move(key), std::move(member), kMaxMembers)) return false;
      bool more = false;
      if (!ReadComma(more)) return false;
      if (!more) return true;
    }
    return true;
  }

  // 4.2.3
  bool ReadItem(Item& out) { return ReadBareItem(out.value) && ReadParameters(out.parameters); }

 private:
  bool Accept(char c) {
    if (AtEnd() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  char Take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  // The comma after a member: `more` is false at the end. A trailing comma is a fault.
  bool ReadComma(bool& more) {
    SkipOws();
    more = false;
    if (AtEnd()) return true;
    if (!Accept(',')) return false;
    SkipOws();
    more = true;
    return !AtEnd();
  }
  void SkipOws() {
    while (!AtEnd() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
  }

  // The last value of a key stands, in the place of the first.
  template <typename Map, typename Value>
  static bool Put(Map& map, std::string key, Value value, size_t limit) {
    const auto at =
        std::find_if(map.begin(), map.end(), [&](const auto& entry) { return entry.first == key; });
    if (at != map.end()) {
      at->second = std::move(value);
      return true;
    }
    if (map.size() == limit) return false;
    map.emplace_back(std::move(key), std::move(value));
    return true;
  }

  bool ReadMember(Member& out) {
    if (!AtEnd() && rest_.front() == '(') return ReadInnerList(out.emplace<InnerList>());
    return ReadItem(out.emplace<Item>());
  }

  // 4.2.1.2
  bool ReadInnerList(InnerList& out) {
    Take();
    while (!AtEnd()) {
      SkipSpaces();
      if (Accept(')')) return ReadParameters(out.parameters);
      if (out.items.size() == kMaxInnerItems || !ReadItem(out.items.emplace_back())) return false;
      if (AtEnd() || (rest_.front() != ' ' && rest_.front() != ')')) return false;
    }
    return false;
  }

  // 4.2.3.2
  bool ReadParameters(Parameters& out) {
    while (Accept(';')) {
      SkipSpaces();
      std::string key;
      if (!ReadKey(key)) return false;
      BareItem value = true;
      if (Accept('=') && !ReadBareItem(value)) return false;
      if (!Put(out, std::move(key), std::move(value), kMaxParameters)) return false;
    }
    return true;
  }

  // 4.2.3.3
  bool ReadKey(std::string& out) {
    if (AtEnd() || !IsKeyStart(rest_.front())) return false;
    while (!AtEnd() && IsKeyChar(rest_.front())) out.push_back(Take());
    return true;
  }

  // 4.2.3.1
  bool ReadBareItem(BareItem& out) {
    if (AtEnd()) return false;
    const char c = rest_.front();
    if (c == '-' || IsDigit(c)) return ReadNumber(out);
    if (c == '"') return ReadString(out.emplace<std::string>());
    if (c == '*' || IsAlpha(c)) return ReadToken(out.emplace<Token>().text);
    if (c == ':') return ReadBytes(out.emplace<ByteSequence>().bytes);
    if (c == '?') return ReadBoolean(out);
    if (c == '@') return ReadDate(out);
    if (c == '%') return ReadDisplayString(out.emplace<DisplayString>().text);
    return false;
  }

  // 4.2.4
  bool ReadNumber(BareItem& out) {
    const bool negative = Accept('-');
    if (AtEnd() || !IsDigit(rest_.front())) return false;
    int64_t value = 0;
    int digits = 0;
    for (; !AtEnd() && IsDigit(rest_.front()); ++digits) {
      if (digits == 15) return false;
      value = value * 10 + (Take() - '0');
    }
    if (!Accept('.')) {
      out = negative ? -value : value;
      return true;
    }
    if (digits > 12) return false;
    int fraction = 0;
    for (; !AtEnd() && IsDigit(rest_.front()); ++fraction) {
      if (fraction == 3) return false;
      value = value * 10 + (Take() - '0');
    }
    if (fraction == 0) return false;
    for (; fraction < 3; ++fraction) value *= 10;
    out = Decimal{negative ? -value : value};
    return true;
  }

  // 4.2.5
  bool ReadString(std::string& out) {
    Take();
    while (!AtEnd()) {
      char c = Take();
      if (c == '"') return true;
      if (c == '\\') {
        if (AtEnd()) return false;
        c = Take();
        if (c != '"' && c != '\\') return false;
      } else if (!IsVisibleOrSpace(c)) {
        return false;
      }
      out.push_back(c);
    }
    return false;
  }

  // 4.2.6
  bool ReadToken(std::string& out) {
    while (!AtEnd() &&
           (IsTokenChar(rest_.front()) || rest_.front() == ':' || rest_.front() == '/')) {
      out.push_back(Take());
    }
    return true;
  }

  // 4.2.7
  bool ReadBytes(std::string& out) {
    Take();
    const size_t end = rest_.find(':');
    if (end == std::string_view::npos) return false;
    std::optional<std::string> bytes = DecodeBase64(rest_.substr(0, end));
    if (!bytes) return false;
    out = std::move(*bytes);
    rest_.remove_prefix(end + 1);
    return true;
  }

  // 4.2.8
  bool ReadBoolean(BareItem& out) {
    Take();
    if (AtEnd() || (rest_.front() != '0' && rest_.front() != '1')) return false;
    out = Take() == '1';
    return true;
  }

  // 4.2.9
  bool ReadDate(BareItem& out) {
    Take();
    BareItem number;
    if (AtEnd() || !ReadNumber(number)) return false;
    const int64_t* seconds = std::get_if<int64_t>(&number);
    if (seconds == nullptr) return false;
    out = Date{*seconds};
    return true;
  }

  // 4.2.10
  bool ReadDisplayString(std::string& out) {
    Take();
    if (!Accept('"')) return false;
    while (!AtEnd()) {
      const char c = Take();
      if (c == '"') return IsUtf8(out);
      if (!IsVisibleOrSpace(c)) return false;
      if (c != '%') {
        out.push_back(c);
        continue;
      }
      int value = 0;
      for (int i = 0; i < 2; ++i) {
        if (AtEnd()) return false;
        const char digit = Take();
        if (IsDigit(digit)) {
          value = value * 16 + (digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
          value = value * 16 + (digit - 'a' + 10);
        } else {
          return false;
        }
      }
      out.push_back(static_cast<char>(value));
    }
    return false;
  }

  std::string_view rest_;
};

// 4.2: leading and trailing spaces go; anything else left over is a fault.
template <typename Value, typename Read>
std::optional<Value> ParseWhole(std::string_view text, Read read) {
  Parser parser(text);
  parser.SkipSpaces();
  Value value;
  if (!read(parser, value)) return std::nullopt;
  parser.SkipSpaces();
  if (!parser.AtEnd()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<Item> ParseItem(std::string_view text) {
  return ParseWhole<Item>(text, [](Parser& in, Item& out) { return in.ReadItem(out); });
}

std::optional<List> ParseList(std::string_view text) {
  return ParseWhole<List>(text, [](Parser& in, List& out) { return in.ReadList(out); });
}

std::optional<Dictionary> ParseDictionary(std::string_view text) {
  return ParseWhole<Dictionary>(text,
                                [](Parser& in, Dictionary& out) { return in.ReadDictionary(out); });
}

const Member* Find(const Dictionary& dictionary, std::string_view key) {
  for (const auto& [name, member] : dictionary) {
    if (name == key) return &member;
  }
  return nullptr;
}

const BareItem* Find(const Parameters& parameters, std::string_view key) {
  for (const auto& [name, value] : parameters) {
    if (name == key) return &value;
  }
  return nullptr;
}

}  // namespace satchel::cache::sf
