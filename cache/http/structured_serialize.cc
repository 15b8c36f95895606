#include <algorithm>

#include "cache/http/message.h"
#include "cache/http/structured.h"
#include "cache/http/structured_text.h"

namespace satchel::cache::sf {
namespace {

// The algorithms of RFC 9651 4.1. Each appends to `out`; false means that the value cannot be
// written.

bool Write(std::string& out, int64_t value) {
  if (value > kMaxInteger || value < -kMaxInteger) return false;
  out.append(std::to_string(value));
  return true;
}

bool Write(std::string& out, const Decimal& decimal) {
  constexpr int64_t kMax = 999'999'999'999'999;
  if (decimal.thousandths > kMax || decimal.thousandths < -kMax) return false;
  const int64_t size = decimal.thousandths < 0 ? -decimal.thousandths : decimal.thousandths;
  if (decimal.thousandths < 0) out.push_back('-');
  out.append(std::to_string(size / 1000));
  out.push_back('.');
  std::string fraction = std::to_string(1000 + size % 1000).substr(1);
  while (fraction.size() > 1 && fraction.back() == '0') fraction.pop_back();
  out.append(fraction);
  return true;
}

bool Write(std::string& out, const std::string& text) {
  out.push_back('"');
  for (const char c : text) {
    if (!IsVisibleOrSpace(c)) return false;
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
  return true;
}

bool Write(std::string& out, const Token& token) {
  const std::string& text = token.text;
  if (text.empty() || (!IsAlpha(text[0]) && text[0] != '*')) return false;
  for (const char c : text) {
    if (!IsTokenChar(c) && c != ':' && c != '/') return false;
  }
  out.append(text);
  return true;
}

bool Write(std::string& out, const ByteSequence& sequence) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string& bytes = sequence.bytes;
  out.push_back(':');
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    const size_t digits = std::min<size_t>(bytes.size() - i, 3) + 1;
    for (size_t k = 0; k < 4; ++k) {
      out.push_back(k < digits ? kDigits[bits >> (18 - 6 * k) & 63] : '=');
    }
  }
  out.push_back(':');
  return true;
}

bool Write(std::string& out, bool value) {
  out.append(value ? "?1" : "?0");
  return true;
}

bool Write(std::string& out, const Date& date) {
  out.push_back('@');
  return Write(out, date.seconds);
}

bool Write(std::string& out, const DisplayString& display) {
  static constexpr char kHex[] = "0123456789abcdef";
  if (!IsUtf8(display.text)) return false;
  out.append("%\"");
  for (const char c : display.text) {
    if (IsVisibleOrSpace(c) && c != '%' && c != '"') {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  out.push_back('"');
  return true;
}

bool WriteKey(std::string& out, const std::string& key) {
  if (key.empty() || !IsKeyStart(key[0])) return false;
  for (const char c : key) {
    if (!IsKeyChar(c)) return false;
  }
  out.append(key);
  return true;
}

bool WriteBare(std::string& out, const BareItem& value) {
  return std::visit([&out](const auto& alternative) { return Write(out, alternative); }, value);
}

bool WriteParameters(std::string& out, const Parameters& parameters) {
  for (const auto& [key, value] : parameters) {
    out.push_back(';');
    if (!WriteKey(out, key)) return false;
    const bool* boolean = std::get_if<bool>(&value);
    if (boolean != nullptr && *boolean) continue;
    out.push_back('=');
    if (!WriteBare(out, value)) return false;
  }
  return true;
}

bool WriteItem(std::string& out, const Item& item) {
  return WriteBare(out, item.value) && WriteParameters(out, item.parameters);
}

bool WriteMember(std::string& out, const Member& member) {
  const InnerList* inner = std::get_if<InnerList>(&member);
  if (inner == nullptr) return WriteItem(out, std::get<Item>(member));
  out.push_back('(');
  for (size_t i = 0; i < inner->items.size(); ++i) {
    if (i != 0) out.push_back(' ');
    if (!WriteItem(out, inner->items[i])) return false;
  }
  out.push_back(')');
  return WriteParameters(out, inner->parameters);
}

}  // namespace

std::optional<std::string> Serialize(const Item& item) {
  std::string out;
  return WriteItem(out, item) ? std::optional(out) : std::nullopt;
}

std::optional<std::string> Serialize(const List& list) {
  std::string out;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i != 0) out.append(", ");
    if (!WriteMember(out, list[i])) return std::nullopt;
  }
  return out;
}

std::optional<std::string> Serialize(const Dictionary& dictionary) {
  std::string out;
  for (const auto& [key, member] : dictionary) {
    if (!out.empty()) out.append(", ");
    if (!WriteKey(out, key)) return std::nullopt;
    // A true value is left out, its parameters are not.
    const Item* item = std::get_if<Item>(&member);
    const bool* boolean = item == nullptr ? nullptr : std::get_if<bool>(&item->value);
    if (boolean != nullptr && *boolean) {
      if (!WriteParameters(out, item->parameters)) return std::nullopt;
      continue;
    }
    out.push_back('=');
    if (!WriteMember(out, member)) return std::nullopt;
  }
  return out;
}

}  // namespace satchel::cache::sf
