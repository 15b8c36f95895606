#include "rules/ip_address.h"

#include <charconv>
#include <cstring>

namespace satchel::rules {
namespace {

bool ParseV4(std::string_view text, uint8_t* out) {
  for (int part = 0; part < 4; ++part) {
    size_t digits = 0;
    unsigned value = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
      value = value * 10 + static_cast<unsigned>(text[digits] - '0');
      if (++digits > 3) return false;
    }
    if (digits == 0 || value > 255 || (digits > 1 && text[0] == '0')) return false;
    out[part] = static_cast<uint8_t>(value);
    text.remove_prefix(digits);
    if (part < 3) {
      if (text.empty() || text[0] != '.') return false;
      text.remove_prefix(1);
    }
  }
  return text.empty();
}

// Groups on one side of "::", or all of them. Returns how many 16-bit groups were read, -1 on a
// mistake. A dotted tail counts as two.
int ParseGroups(std::string_view text, bool dotted_allowed, uint16_t* out, int room) {
  int count = 0;
  if (text.empty()) return 0;
  while (true) {
    const size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    if (dotted_allowed && colon == std::string_view::npos &&
        group.find('.') != std::string_view::npos) {
      uint8_t four[4];
      if (count + 2 > room || !ParseV4(group, four)) return -1;
      out[count++] = static_cast<uint16_t>(four[0] << 8 | four[1]);
      out[count++] = static_cast<uint16_t>(four[2] << 8 | four[3]);
      return count;
    }
    if (group.empty() || group.size() > 4 || count == room) return -1;
    uint16_t value = 0;
    const auto parsed = std::from_chars(group.data(), group.data() + group.size(), value, 16);
    if (parsed.ec != std::errc() || parsed.ptr != group.data() + group.size()) return -1;
    out[count++] = value;
    if (colon == std::string_view::npos) return count;
    text.remove_prefix(colon + 1);
  }
}

bool ParseV6(std::string_view text, uint8_t* out) {
  uint16_t groups[8] = {};
  const size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (ParseGroups(text, true, groups, 8) != 8) return false;
  } else {
    uint16_t tail[8];
    const int head_count = ParseGroups(text.substr(0, gap), false, groups, 7);
    if (head_count < 0) return false;
    const int tail_count = ParseGroups(text.substr(gap + 2), true, tail, 7 - head_count);
    if (tail_count < 0) return false;
    for (int i = 0; i < tail_count; ++i) groups[8 - tail_count + i] = tail[i];
  }
  for (int i = 0; i < 8; ++i) {
    out[2 * i] = static_cast<uint8_t>(groups[i] >> 8);
    out[2 * i + 1] = static_cast<uint8_t>(groups[i] & 0xff);
  }
  return true;
}

}  // namespace

IpAddress IpAddress::V4(const uint8_t* four_bytes) {
  IpAddress ip;
  std::memcpy(ip.bytes.data(), four_bytes, 4);
  return ip;
}

IpAddress IpAddress::V6(const uint8_t* sixteen_bytes) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::memcmp(sixteen_bytes, kMapped, sizeof(kMapped)) == 0) return V4(sixteen_bytes + 12);
  IpAddress ip;
  ip.v6 = true;
  std::memcpy(ip.bytes.data(), sixteen_bytes, 16);
  return ip;
}

std::string IpAddress::ToString() const {
  if (!v6) {
    std::string text;
    for (int i = 0; i < 4; ++i) {
      if (i > 0) text += '.';
      text += std::to_string(bytes[static_cast<size_t>(i)]);
    }
    return text;
  }
  unsigned groups[8];
  for (size_t i = 0; i < 8; ++i) {
    groups[i] = static_cast<unsigned>(bytes[2 * i]) << 8 | bytes[2 * i + 1];
  }
  // The first of the longest runs of two or more zero groups becomes "::" (RFC 5952 4.2).
  int best = -1;
  int best_size = 1;
  for (int i = 0; i < 8; ++i) {
    int size = 0;
    while (i + size < 8 && groups[i + size] == 0) ++size;
    if (size > best_size) {
      best = i;
      best_size = size;
    }
  }
  std::string text;
  for (int i = 0; i < 8; ++i) {
    if (i == best) {
      text += "::";
      i += best_size - 1;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    char digits[4];
    const auto end = std::to_chars(digits, digits + sizeof(digits), groups[i], 16);
    text.append(digits, end.ptr);
  }
  return text;
}

IpAddress IpAddress::Masked(unsigned bits) const {
  IpAddress masked = *this;
  for (size_t i = 0; i < masked.bytes.size(); ++i) {
    const unsigned from = static_cast<unsigned>(i) * 8;
    if (from >= bits) {
      masked.bytes[i] = 0;
    } else if (from + 8 > bits) {
      masked.bytes[i] &= static_cast<uint8_t>(0xff00U >> (bits - from));
    }
  }
  return masked;
}

std::optional<IpAddress> ParseIp(std::string_view text) {
  uint8_t bytes[16];
  if (text.find(':') != std::string_view::npos) {
    if (!ParseV6(text, bytes)) return std::nullopt;
    return IpAddress::V6(bytes);
  }
  if (!ParseV4(text, bytes)) return std::nullopt;
  return IpAddress::V4(bytes);
}

bool IpPrefix::Contains(const IpAddress& ip) const {
  return ip.v6 == address.v6 && ip.Masked(bits) == address;
}

std::string IpPrefix::ToString() const { return address.ToString() + "/" + std::to_string(bits); }

std::optional<IpPrefix> ParseIpPrefix(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = ParseIp(text.substr(0, slash));
  if (!address) return std::nullopt;
  const unsigned most = address->v6 ? 128 : 32;
  unsigned bits = most;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() ||
        bits > most) {
      return std::nullopt;
    }
  }
  IpPrefix prefix{address->Masked(bits), static_cast<uint8_t>(bits)};
  return prefix;
}

}  // namespace satchel::rules
