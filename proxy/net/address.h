#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/base/result.h"

namespace satchel::net {

// A socket address as a value: IPv4, IPv6 or a unix socket. Default-constructed: none (size 0).
struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  // "127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@abstract". No names: see Resolver. IPv6 zones
  // are refused.
  static cache::Result<Address> Parse(std::string_view text);
  // An IP literal without a port; IPv6 with or without brackets.
  static cache::Result<Address> FromIp(std::string_view ip, uint16_t port);
  // A copy of what accept(), getsockname() and the like gave.
  static Address From(const sockaddr* address, socklen_t size);

  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  bool empty() const { return size == 0; }
  int family() const { return size == 0 ? AF_UNSPEC : storage.ss_family; }
  bool is_ip() const { return family() == AF_INET || family() == AF_INET6; }
  bool is_unix() const { return family() == AF_UNIX; }
  bool IsLoopback() const;  // a unix socket counts as one
  uint16_t port() const;    // 0 for a unix socket
  Address WithPort(uint16_t port) const;

  // The same text that Parse() takes.
  std::string ToString() const;
  // The IP alone, without brackets; an IPv4-mapped IPv6 address as IPv4 (one client is one text on
  // a dual-stack listener). "unix" for a unix socket: its path is nobody's identity.
  std::string IpText() const;

  bool operator==(const Address& other) const;
};

// The bits of an IP address, IPv4 inside IPv6 already unwrapped.
struct IpBits {
  std::array<uint8_t, 16> bytes{};
  uint8_t length = 0;  // 4 or 16; 0 = not an IP address
};
IpBits IpBitsOf(const Address& address);

// A block of addresses: "10.0.0.0/8", "fd00::/8"; without a "/" a single address. Bits behind the
// prefix are ignored. A mapped IPv4 address matches IPv4 blocks and no IPv6 block.
struct Cidr {
  IpBits network;
  uint8_t prefix = 0;  // in bits

  static cache::Result<Cidr> Parse(std::string_view text);
  bool Contains(const Address& address) const;
};

// Decimal, no sign, no spaces; nothing above 65535.
cache::Result<uint16_t> ParsePort(std::string_view text);

}  // namespace satchel::net
