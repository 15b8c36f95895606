#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache/http/headers.h"

namespace satchel::cache {

enum class Method : uint8_t {
  kGet,
  kHead,
  kPost,
  kPut,
  kDelete,
  kPatch,
  kOptions,
  kTrace,
  kConnect,
  kQuery,
  kPurge,
  kPropfind,
  kReport,
  kSearch,
  kOther,
};

// Method names are case-sensitive (RFC 9110 9.1): "get" is kOther.
Method ParseMethod(std::string_view text);
// Safe by registration (RFC 9110 9.2.1, RFC 3253, 4918, 5323, the QUERY draft). A method we do not
// know is not.
bool IsSafe(Method method);
bool IsIdempotent(Method method);

// A request without its body. Filled by the parser of either protocol version and reused from
// request to request on a connection.
struct RequestHead {
  Method method = Method::kGet;
  std::string method_text;  // as received
  std::string scheme;       // "http" or "https": how it reached us (RFC 9110 4.2)
  std::string authority;    // host[:port], normalised: lower case, no default port, no trailing dot
  std::string target;       // origin-form path and query byte for byte, or "*"
  uint8_t minor_version = 1;  // HTTP/1.x
  // A rule takes this QUERY or POST for a read, with its body as part of the key: its answer is
  // stored and reused as that of a GET.
  bool read_by_rule = false;
  HeaderMap fields;

  void Clear();
  bool ReadsLikeGet() const { return method == Method::kGet || read_by_rule; }
  bool Reads() const { return ReadsLikeGet() || method == Method::kHead; }
  std::string_view path() const;   // target up to '?'
  std::string_view query() const;  // after '?', empty if there is none
};

// A response without its body.
struct ResponseHead {
  uint16_t status = 0;
  uint8_t minor_version = 1;
  std::string reason;
  HeaderMap fields;

  void Clear();
};

// The phrase registered for a status code, or "Unknown".
std::string_view ReasonPhrase(uint16_t status);

// Tokens of RFC 9110 5.6.2.
inline constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> chars{};
  for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789"
                                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    chars[static_cast<unsigned char>(c)] = true;
  }
  return chars;
}();
inline bool IsTokenChar(char c) { return kTokenChars[static_cast<unsigned char>(c)]; }
bool IsToken(std::string_view text);
// Removes optional white space (SP, HTAB) at both ends (RFC 9110 5.6.3).
std::string_view TrimOws(std::string_view text);

}  // namespace satchel::cache
