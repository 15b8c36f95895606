#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace satchel::cache {

// The port a scheme means when none is written; 0 for schemes other than http and https.
uint16_t DefaultPort(std::string_view scheme);

// Who answers for a URI (RFC 9110 4.2, 4.3.1), in one spelling: host in lower case, without a
// trailing dot; an IPv6 address in its brackets.
struct Authority {
  std::string host;
  uint16_t port = 0;  // never 0 after parsing
  // "host", or "host:port" where the port is not the scheme's own.
  std::string Text(std::string_view scheme) const;
};

// Parses host[:port] as it stands in Host or in a URI. Refuses what RFC 3986 3.2 does not allow
// and more: user information, spaces and control characters, empty hosts and labels, percent
// escapes and sub-delimiters in names (two spellings of one host would make two keys), IPv6 zones,
// port 0 and ports above 65535, names longer than 253.
std::optional<Authority> NormalizeAuthority(std::string_view host_port, std::string_view scheme);

// The same into `out`, whose memory is reused: what Authority::Text says. False if refused; `out`
// is then unspecified.
bool NormalizeAuthorityInto(std::string_view host_port, std::string_view scheme, std::string& out);

// An http or https URI in the parts that keys are made of. The fragment is gone.
struct HttpUri {
  std::string scheme;     // lower case
  std::string authority;  // normalised
  std::string target;     // origin-form: path and query byte for byte, at least "/"
  bool operator==(const HttpUri&) const = default;
};

// Splits an absolute URI, for example a request target in absolute-form (RFC 9112 3.2.2). nullopt
// for other schemes and for what cannot be a URI (spaces, control characters).
std::optional<HttpUri> ParseHttpUri(std::string_view text);

// Resolves a reference as Location and Content-Location carry it (RFC 3986 5.2). Dot segments
// of the reference are removed. nullopt if the result is not an http or https URI.
std::optional<HttpUri> ResolveReference(const HttpUri& base, std::string_view reference);

// RFC 9110 4.3.1: scheme, host and port agree.
bool SameOrigin(const HttpUri& a, const HttpUri& b);

}  // namespace satchel::cache
