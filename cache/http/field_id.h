#pragma once

#include <cstdint>
#include <string_view>

#include "cache/base/text.h"

namespace satchel::cache {

// Field names that any part of the program asks for. Comparing an id costs one byte compare; all
// other names are kOther and compare by text.
enum class FieldId : uint8_t {
  kOther,
  kAccept,
  kAcceptEncoding,
  kAcceptLanguage,
  kAge,
  kAuthorization,
  kCacheControl,
  kCacheGroupInvalidation,
  kCacheGroups,
  kCacheStatus,
  kCacheTag,
  kCdnCacheControl,
  kConnection,
  kContentEncoding,
  kContentLanguage,
  kContentLength,
  kContentLocation,
  kContentRange,
  kContentType,
  kCookie,
  kDate,
  kEtag,
  kExpect,
  kExpires,
  kForwarded,
  kHost,
  kHttp2Settings,
  kIfMatch,
  kIfModifiedSince,
  kIfNoneMatch,
  kIfRange,
  kIfUnmodifiedSince,
  kKeepAlive,
  kLastModified,
  kLocation,
  kNoVarySearch,
  kPragma,
  kProxyAuthenticate,
  kProxyAuthenticationInfo,
  kProxyAuthorization,
  kProxyConnection,
  kRange,
  kRateLimit,
  kRateLimitPolicy,
  kRetryAfter,
  kSatchelCacheControl,
  kServer,
  kSetCookie,
  kSurrogateKey,
  kTe,
  kTrailer,
  kTransferEncoding,
  kUpgrade,
  kUserAgent,
  kVary,
  kVia,
  kWarning,
  kXApiKey,
  kXForwardedFor,
  kXForwardedHost,
  kXForwardedProto,
  kXRateLimitLimit,
  kXRateLimitRemaining,
  kXRateLimitReset,
  kXkey,
  kCount
};

// The id of a field name in any letter case (RFC 9110 5.1), kOther if it is none of ours.
FieldId FindFieldId(std::string_view name);

// The usual spelling, for example "ETag". Empty for kOther.
std::string_view FieldName(FieldId id);

constexpr char ToLowerAscii(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

// A set of field ids in two words.
class FieldSet {
 public:
  constexpr FieldSet() = default;
  template <typename... Ids>
  explicit constexpr FieldSet(FieldId first, Ids... rest) {
    Insert(first);
    (Insert(rest), ...);
  }
  constexpr void Insert(FieldId id) {
    words_[static_cast<size_t>(id) >> 6] |= uint64_t{1} << (static_cast<size_t>(id) & 63);
  }
  constexpr void Erase(FieldId id) {
    words_[static_cast<size_t>(id) >> 6] &= ~(uint64_t{1} << (static_cast<size_t>(id) & 63));
  }
  constexpr bool Contains(FieldId id) const {
    return (words_[static_cast<size_t>(id) >> 6] >> (static_cast<size_t>(id) & 63)) & 1;
  }
  constexpr bool Intersects(const FieldSet& other) const {
    return ((words_[0] & other.words_[0]) | (words_[1] & other.words_[1])) != 0;
  }
  constexpr void Clear() { words_[0] = words_[1] = 0; }

 private:
  uint64_t words_[2] = {0, 0};
};
static_assert(static_cast<size_t>(FieldId::kCount) <= 128);

}  // namespace satchel::cache
