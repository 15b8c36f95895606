// Which field lines pass a hop and which are kept: the other half of storability.h.
#include <algorithm>

#include "cache/cache_control.h"
#include "cache/http/date.h"
#include "cache/http/fields.h"
#include "cache/storability.h"

namespace satchel::cache {
namespace {

// RFC 9110 7.6.1; HTTP2-Settings belongs to an upgrade that is never forwarded.
constexpr FieldSet kHopByHop{FieldId::kConnection,      FieldId::kKeepAlive,
                             FieldId::kProxyConnection, FieldId::kTe,
                             FieldId::kTrailer,         FieldId::kTransferEncoding,
                             FieldId::kUpgrade,         FieldId::kHttp2Settings};

// Fields that Connection can't remove: framing, identity, and what the cache decides by.
constexpr FieldSet kNotRemovable{FieldId::kHost,
                                 FieldId::kContentLength,
                                 FieldId::kContentRange,
                                 FieldId::kContentType,
                                 FieldId::kContentEncoding,
                                 FieldId::kAuthorization,
                                 FieldId::kXApiKey,
                                 FieldId::kCookie,
                                 FieldId::kSetCookie,
                                 FieldId::kForwarded,
                                 FieldId::kXForwardedFor,
                                 FieldId::kXForwardedHost,
                                 FieldId::kXForwardedProto,
                                 FieldId::kVia,
                                 FieldId::kCacheControl,
                                 FieldId::kCdnCacheControl,
                                 FieldId::kSatchelCacheControl,
                                 FieldId::kPragma,
                                 FieldId::kExpires,
                                 FieldId::kDate,
                                 FieldId::kAge,
                                 FieldId::kVary,
                                 FieldId::kEtag,
                                 FieldId::kLastModified,
                                 FieldId::kRange,
                                 FieldId::kIfRange,
                                 FieldId::kIfMatch,
                                 FieldId::kIfNoneMatch,
                                 FieldId::kIfModifiedSince,
                                 FieldId::kIfUnmodifiedSince,
                                 FieldId::kExpect,
                                 FieldId::kCacheStatus};

// RFC 9111 3.1, and numbers that are true for one request only.
constexpr FieldSet kNeverStored{FieldId::kProxyAuthenticate,  FieldId::kProxyAuthenticationInfo,
                                FieldId::kProxyAuthorization, FieldId::kAge,
                                FieldId::kRateLimit,          FieldId::kRateLimitPolicy,
                                FieldId::kXRateLimitLimit,    FieldId::kXRateLimitRemaining,
                                FieldId::kXRateLimitReset};

constexpr FieldSet kNotInTrailers{
    FieldId::kContentLength, FieldId::kTransferEncoding, FieldId::kHost,
    FieldId::kAuthorization, FieldId::kCookie,           FieldId::kSetCookie,
    FieldId::kCacheControl,  FieldId::kContentEncoding,  FieldId::kContentType,
    FieldId::kContentRange,  FieldId::kAge,              FieldId::kExpires,
    FieldId::kDate,          FieldId::kLocation,         FieldId::kRetryAfter,
    FieldId::kVary,          FieldId::kExpect,           FieldId::kRange};

bool Contains(std::span<const std::string> names, std::string_view name) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& candidate) {
    return EqualsIgnoreCase(candidate, name);
  });
}

}  // namespace

bool HasHopByHop(const HeaderMap& fields) { return fields.HasAny(kHopByHop); }

void RemoveHopByHop(HeaderMap& fields, std::span<const std::string> also_kept) {
  if (!HasHopByHop(fields)) return;
  FieldSet known = kHopByHop;
  std::vector<std::string> others;
  if (const auto connection = fields.Joined(FieldId::kConnection)) {
    ListReader reader(*connection);
    for (std::string_view name; reader.Next(name);) {
      const FieldId id = FindFieldId(name);
      if (id == FieldId::kOther) {
        if (!Contains(also_kept, name) && fields.Has(name)) others.emplace_back(name);
      } else if (!kNotRemovable.Contains(id) && !Contains(also_kept, name)) {
        known.Insert(id);
      }
    }
  }
  if (others.empty() && !fields.HasAny(known)) return;
  fields.RemoveIf([&](const HeaderMap::Field& field) {
    return field.id == FieldId::kOther ? Contains(others, field.name) : known.Contains(field.id);
  });
}

void RemoveForbiddenTrailers(HeaderMap& trailers) {
  RemoveHopByHop(trailers);
  trailers.RemoveIf(
      [](const HeaderMap::Field& field) { return kNotInTrailers.Contains(field.id); });
}

HeaderMap StoredFields(const ResponseHead& response, Time response_time,
                       const Overrides& overrides, const ResponseFacts* facts) {
  HeaderMap out = response.fields;
  std::vector<std::string> unstored;
  if (facts == nullptr || facts->has_unstored_fields) {
    unstored = DirectivesInForce(out, overrides).unstored_fields;
  }
  RemoveHopByHop(out);
  if (out.HasAny(kNeverStored) || !unstored.empty()) {
    out.RemoveIf([&](const HeaderMap::Field& field) {
      return kNeverStored.Contains(field.id) || Contains(unstored, field.name);
    });
  }
  if (!out.Has(FieldId::kDate)) out.Add(FieldId::kDate, FormatHttpDate(response_time));
  return out;
}

}  // namespace satchel::cache
