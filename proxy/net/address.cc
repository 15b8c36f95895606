#include "proxy/net/address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace satchel::net {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;

constexpr std::string_view kUnix = "unix:";

const sockaddr_in& V4(const Address& a) { return reinterpret_cast<const sockaddr_in&>(a.storage); }
const sockaddr_in6& V6(const Address& a) {
  return reinterpret_cast<const sockaddr_in6&>(a.storage);
}
const sockaddr_un& Un(const Address& a) { return reinterpret_cast<const sockaddr_un&>(a.storage); }

// The path of a unix address with '@' for the leading zero of an abstract one.
std::string UnixPath(const Address& address) {
  constexpr size_t kStart = offsetof(sockaddr_un, sun_path);
  if (address.size <= kStart) return "";
  const char* path = Un(address).sun_path;
  const size_t size = address.size - kStart;
  if (path[0] == '\0') return "@" + std::string(path + 1, size - 1);
  return std::string(path, strnlen(path, size));
}

Result<Address> ParseUnix(std::string_view path) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  if (path.empty() || path == "@") {
    return Fail(ErrorSource::kInternal, "a unix socket needs a path");
  }
  if (path.size() >= sizeof un.sun_path) {
    return Fail(ErrorSource::kInternal, "unix socket path longer than " +
                                            std::to_string(sizeof un.sun_path - 1) + " bytes");
  }
  if (path.find('\0') != std::string_view::npos) {
    return Fail(ErrorSource::kInternal, "unix socket path holds a zero byte");
  }
  std::memcpy(un.sun_path, path.data(), path.size());
  socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (path[0] == '@') {
    un.sun_path[0] = '\0';  // an abstract name is as long as the address says, without an end mark
  } else {
    ++size;
  }
  return Address::From(reinterpret_cast<const sockaddr*>(&un), size);
}

bool Mapped(const in6_addr& ip) { return IN6_IS_ADDR_V4MAPPED(&ip) != 0; }

}  // namespace

Result<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Fail(ErrorSource::kInternal, "not a port: \"" + std::string(text) + "\"");
  }
  return port;
}

Address Address::From(const sockaddr* address, socklen_t size) {
  Address result;
  result.size = std::min<socklen_t>(size, sizeof result.storage);
  std::memcpy(&result.storage, address, result.size);
  return result;
}

Result<Address> Address::FromIp(std::string_view ip, uint16_t port) {
  std::string text(ip);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
    if (text.find(':') == std::string::npos) text.clear();  // brackets are for IPv6 only
  }
  if (text.find('\0') != std::string::npos) text.clear();
  sockaddr_in v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return From(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return From(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  }
  return Fail(ErrorSource::kInternal, "not an IP address: \"" + std::string(ip) + "\"");
}

Result<Address> Address::Parse(std::string_view text) {
  if (text.starts_with(kUnix)) return ParseUnix(text.substr(kUnix.size()));
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return Fail(ErrorSource::kInternal, "no port in \"" + std::string(text) + "\"");
  }
  const std::string_view host = text.substr(0, colon);
  if (host.find(':') != std::string_view::npos && !host.starts_with('[')) {
    return Fail(ErrorSource::kInternal,
                "write an IPv6 address as [address]:port, not \"" + std::string(text) + "\"");
  }
  Result<uint16_t> port = ParsePort(text.substr(colon + 1));
  if (!port) return std::unexpected(std::move(port.error()));
  return FromIp(host, *port);
}

bool Address::IsLoopback() const {
  if (is_unix()) return true;
  const IpBits ip = IpBitsOf(*this);
  if (ip.length == 4) return ip.bytes[0] == 127;
  return ip.length == 16 && IN6_IS_ADDR_LOOPBACK(&V6(*this).sin6_addr);
}

uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(V4(*this).sin_port);
  if (family() == AF_INET6) return ntohs(V6(*this).sin6_port);
  return 0;
}

Address Address::WithPort(uint16_t port) const {
  Address copy = *this;
  if (family() == AF_INET) {
    reinterpret_cast<sockaddr_in&>(copy.storage).sin_port = htons(port);
  } else if (family() == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(copy.storage).sin6_port = htons(port);
  }
  return copy;
}

std::string Address::ToString() const {
  char text[INET6_ADDRSTRLEN];
  switch (family()) {
    case AF_INET:
      inet_ntop(AF_INET, &V4(*this).sin_addr, text, sizeof text);
      return std::string(text) + ":" + std::to_string(port());
    case AF_INET6:
      inet_ntop(AF_INET6, &V6(*this).sin6_addr, text, sizeof text);
      return "[" + std::string(text) + "]:" + std::to_string(port());
    case AF_UNIX:
      return std::string(kUnix) + UnixPath(*this);
    default:
      return "none";
  }
}

std::string Address::IpText() const {
  if (is_unix()) return "unix";
  const IpBits ip = IpBitsOf(*this);
  if (ip.length == 0) return "none";
  char text[INET6_ADDRSTRLEN];
  if (ip.length == 4) {  // once per connection, where inet_ntop's sprintf would show
    char* at = text;
    for (size_t i = 0; i < 4; ++i) {
      if (i > 0) *at++ = '.';
      at = std::to_chars(at, text + sizeof text, ip.bytes[i]).ptr;
    }
    return std::string(text, at);
  }
  inet_ntop(AF_INET6, ip.bytes.data(), text, sizeof text);
  return text;
}

bool Address::operator==(const Address& other) const {
  if (family() != other.family()) return false;
  switch (family()) {
    case AF_INET:
      return V4(*this).sin_port == V4(other).sin_port &&
             V4(*this).sin_addr.s_addr == V4(other).sin_addr.s_addr;
    case AF_INET6:
      return V6(*this).sin6_port == V6(other).sin6_port &&
             V6(*this).sin6_scope_id == V6(other).sin6_scope_id &&
             std::memcmp(&V6(*this).sin6_addr, &V6(other).sin6_addr, sizeof(in6_addr)) == 0;
    case AF_UNIX:
      return UnixPath(*this) == UnixPath(other);
    default:
      return true;
  }
}

IpBits IpBitsOf(const Address& address) {
  IpBits ip;
  if (address.family() == AF_INET) {
    ip.length = 4;
    std::memcpy(ip.bytes.data(), &V4(address).sin_addr, 4);
  } else if (address.family() == AF_INET6) {
    const in6_addr& v6 = V6(address).sin6_addr;
    ip.length = Mapped(v6) ? 4 : 16;
    std::memcpy(ip.bytes.data(), v6.s6_addr + (Mapped(v6) ? 12 : 0), ip.length);
  }
  return ip;
}

Result<Cidr> Cidr::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  if (host.starts_with('[')) return Fail(ErrorSource::kInternal, "a block has no brackets");
  Result<Address> address = Address::FromIp(host, 0);
  if (!address) return std::unexpected(std::move(address.error()));
  Cidr cidr;
  cidr.network = IpBitsOf(*address);
  const unsigned written_bits = address->family() == AF_INET ? 32 : 128;
  unsigned prefix = written_bits;
  if (slash != std::string_view::npos) {
    const std::string_view bits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), prefix);
    if (error != std::errc() || end != bits.data() + bits.size() || prefix > written_bits) {
      return Fail(ErrorSource::kInternal, "not a prefix length: \"" + std::string(bits) + "\"");
    }
  }
  if (written_bits == 128 && cidr.network.length == 4) {  // ::ffff:10.0.0.0/104
    if (prefix < 96) return Fail(ErrorSource::kInternal, "a mapped block needs at least /96");
    prefix -= 96;
  }
  cidr.prefix = static_cast<uint8_t>(prefix);
  return cidr;
}

bool Cidr::Contains(const Address& address) const {
  const IpBits ip = IpBitsOf(address);
  if (ip.length == 0 || ip.length != network.length) return false;
  const size_t whole = prefix / 8;
  if (std::memcmp(ip.bytes.data(), network.bytes.data(), whole) != 0) return false;
  const unsigned rest = prefix % 8;
  if (rest == 0) return true;
  const unsigned mask = 0xffu << (8 - rest) & 0xffu;
  return ((ip.bytes[whole] ^ network.bytes[whole]) & mask) == 0;
}

}  // namespace satchel::net
