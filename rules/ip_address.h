#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace satchel::rules {

// An IPv4 or IPv6 address as a value. An IPv4-mapped IPv6 address (::ffff:a.b.c.d) is kept as
// IPv4, so that one client is one identity on a dual-stack listener.
struct IpAddress {
  std::array<uint8_t, 16> bytes{};  // IPv4 uses the first four
  bool v6 = false;

  bool operator==(const IpAddress&) const = default;

  static IpAddress V4(const uint8_t* four_bytes);     // network order
  static IpAddress V6(const uint8_t* sixteen_bytes);  // network order
  std::string ToString() const;                       // RFC 5952 for IPv6
  // The address with all but the first `bits` cleared.
  IpAddress Masked(unsigned bits) const;
};

// Dotted decimal without leading zeros, or RFC 4291 text without brackets or a zone.
std::optional<IpAddress> ParseIp(std::string_view text);

// A CIDR block such as 10.0.0.0/8 or fd00::/8.
struct IpPrefix {
  IpAddress address;
  uint8_t bits = 0;

  bool Contains(const IpAddress& ip) const;
  std::string ToString() const;
  bool operator==(const IpPrefix&) const = default;
};

// A block, or a single address (then all its bits count).
std::optional<IpPrefix> ParseIpPrefix(std::string_view text);

}  // namespace satchel::rules
