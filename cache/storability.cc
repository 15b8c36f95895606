#include "cache/storability.h"

#include <algorithm>

#include "cache/cache_control.h"
#include "cache/freshness.h"
#include "cache/http/date.h"
#include "cache/http/fields.h"
#include "cache/http/uri.h"
#include "cache/range.h"
#include "cache/request_oddity.h"
#include "cache/validation.h"
#include "cache/vary.h"

namespace satchel::cache {
namespace {

// Status codes whose caching requirements we keep (RFC 9111 3): those of RFC 9110 and RFC 6585.
bool Understands(uint16_t status) {
  switch (status) {
    case 304:
      return false;
    case 421:
    case 422:
    case 426:
    case 428:
    case 429:
    case 431:
    case 451:
    case 511:
      return true;
    default:
      return (status >= 200 && status <= 206) || (status >= 300 && status <= 303) ||
             status == 307 || status == 308 || (status >= 400 && status <= 417) ||
             (status >= 500 && status <= 505);
  }
}

// RFC 9110 9.3.3: a 200 to POST may be the answer to a later GET of the same URI.
bool IsRepresentationOfTarget(const RequestHead& request, const ResponseHead& response) {
  if (request.method != Method::kPost || response.status != 200) return false;
  const std::optional<std::string_view> location = response.fields.First(FieldId::kContentLocation);
  if (!location || response.fields.Count(FieldId::kContentLocation) != 1) return false;
  const HttpUri own{request.scheme, request.authority, request.target};
  return ResolveReference(own, TrimOws(*location)) == own;
}

// RFC 9111 3.3: a part that can be used later, and that was asked for.
bool IsUsablePartial(const RequestHead& request, const ResponseHead& response) {
  const std::optional<std::string_view> field = response.fields.First(FieldId::kContentRange);
  if (!field || response.fields.Count(FieldId::kContentRange) != 1) return false;
  const std::optional<ContentRange> content = ParseContentRange(*field);
  if (!content || !content->complete_length) return false;
  if (const auto length = response.fields.First(FieldId::kContentLength)) {
    if (ParseDecimal(TrimOws(*length)) != content->range.size()) return false;
  }
  const RangeVerdict asked = EvaluateByteRanges(request.fields.Joined(FieldId::kRange).value_or(""),
                                                *content->complete_length);
  return asked.kind == RangeVerdict::Kind::kPartial && asked.ranges.size() == 1 &&
         asked.ranges[0].first == content->range.first &&
         asked.ranges[0].last >= content->range.last;
}

ResponseFacts MakeFacts(const ResponseHead& response, const ResponseDirectives& directives,
                        Time request_time, Time response_time, double random,
                        const Overrides& overrides, Lifetime& lifetime) {
  const HeaderMap& fields = response.fields;
  ResponseFacts facts;
  facts.received = response_time;
  facts.date = DateOf(fields, response_time);
  facts.initial_age = InitialAge(fields, request_time, response_time);
  lifetime = LifetimeFor(response.status, fields, directives, facts.initial_age, response_time,
                         random, overrides);
  facts.status = response.status;
  facts.rule = overrides.rule;
  facts.no_cache = directives.no_cache;
  facts.lifetime = facts.no_cache ? Millis(0) : lifetime.value;

  const bool strict =
      directives.no_cache || directives.must_revalidate || directives.proxy_revalidate;
  facts.must_revalidate = strict || directives.s_maxage.has_value();
  const auto grant = [&](const std::optional<Millis>& rule,
                         const ResponseDirectives::Seconds& origin) -> std::optional<Millis> {
    // Without a lifetime there is nothing that a grant could extend.
    if (strict || lifetime.source == Reason::kNoLifetime) return std::nullopt;
    return rule ? rule : std::optional<Millis>(origin);
  };
  const auto swr = grant(overrides.stale_while_revalidate, directives.stale_while_revalidate);
  const auto sie = grant(overrides.stale_if_error, directives.stale_if_error);
  facts.swr_granted = swr.has_value();
  facts.sie_granted = sie.has_value();
  facts.stale_while_revalidate = swr.value_or(Millis(0));
  facts.stale_if_error = sie.value_or(Millis(0));

  facts.immutable = directives.immutable;
  if (const auto etag = fields.First(FieldId::kEtag)) {
    const std::optional<EntityTag> tag = ParseEntityTag(*etag);
    facts.has_etag = tag.has_value();
    facts.strong_etag = tag && tag->strong();
  }
  facts.has_last_modified = fields.Has(FieldId::kLastModified);
  facts.has_vary = fields.Has(FieldId::kVary);
  facts.partial = response.status == 206;
  facts.has_unstored_fields =
      std::any_of(directives.unstored_fields.begin(), directives.unstored_fields.end(),
                  [&](const std::string& name) { return fields.Has(name); });
  return facts;
}

// Reasons that forbid storing whatever the lifetime is; kNone if there is none.
Reason Obstacle(const RequestHead& request, const ResponseHead& response,
                const ResponseDirectives& directives, const Overrides& overrides) {
  const uint16_t status = response.status;
  if (!overrides.enabled) return Reason::kRuleBypass;
  if (!request.ReadsLikeGet() && !IsRepresentationOfTarget(request, response)) {
    return Reason::kMethodNotCacheable;
  }
  if (status < 200) return Reason::kNotFinal;
  if (status == 304) return Reason::kUnsolicitedNotModified;
  if (!overrides.statuses.empty() && std::find(overrides.statuses.begin(), overrides.statuses.end(),
                                               status) == overrides.statuses.end()) {
    return Reason::kStatusExcluded;
  }
  if (overrides.obey_request_directives && request.fields.Has(FieldId::kCacheControl) &&
      ParseRequestDirectives(request.fields).no_store) {
    return Reason::kRequestNoStore;
  }
  if (directives.must_understand && !Understands(status)) return Reason::kStatusNotUnderstood;
  if (directives.no_store && !directives.must_understand) return Reason::kNoStore;
  if (directives.is_private && !overrides.principal_in_key) return Reason::kPrivate;
  if (request.fields.Has(FieldId::kAuthorization) && !overrides.principal_in_key &&
      !directives.is_public && !directives.s_maxage && !directives.must_revalidate) {
    return Reason::kAuthorization;
  }
  if (ParseVary(response.fields).star) return Reason::kVaryStar;
  if (!overrides.store_set_cookie && response.fields.Has(FieldId::kSetCookie)) {
    return Reason::kSetCookie;
  }
  if (status == 206 && !IsUsablePartial(request, response)) return Reason::kBadPartial;
  if (MayBeOfOwnMaking(request, status)) return Reason::kOddRequest;
  return Reason::kNone;
}

}  // namespace

StoreVerdict MayStore(const RequestHead& request, const ResponseHead& response, Time request_time,
                      Time response_time, double random, const Overrides& overrides) {
  StoreVerdict out;
  const ResponseDirectives directives = DirectivesInForce(response.fields, overrides);
  out.reason = Obstacle(request, response, directives, overrides);
  if (out.reason != Reason::kNone) return out;

  Lifetime lifetime;
  ResponseFacts facts =
      MakeFacts(response, directives, request_time, response_time, random, overrides, lifetime);
  if (IsDeceptive(request, response) &&
      (!lifetime.explicit_by_origin || response.fields.Has(FieldId::kSetCookie))) {
    out.reason = Reason::kDeceptivePath;
    return out;
  }
  if (!request.ReadsLikeGet() &&
      (!lifetime.explicit_by_origin || !facts.IsFreshAt(response_time))) {
    out.reason = Reason::kMethodNotCacheable;
    return out;
  }

  const bool fresh = facts.IsFreshAt(response_time);
  const bool refreshable =
      facts.swr_granted && facts.StaleFor(response_time) < facts.stale_while_revalidate;
  // Stale already, but of use to max-stale, after an error, or while the origin is lost (4.2.4).
  const bool usable_stale =
      facts.sie_granted || (lifetime.value > Millis(0) && !facts.must_revalidate);
  const bool validator = facts.has_etag || facts.has_last_modified;
  const bool kept_for_validator =
      validator && (lifetime.explicit_by_origin || directives.no_cache ||
                    IsHeuristicallyCacheable(response.status) || directives.is_public);
  if (fresh || refreshable || usable_stale) {
    out.reason = lifetime.source;
  } else if (kept_for_validator) {
    out.reason = Reason::kForValidationOnly;
  } else {
    out.reason = directives.no_cache ? Reason::kResponseNoCache : Reason::kNoLifetime;
    return out;
  }
  out.store = true;
  // An answer that has to be validated before its next use is nobody else's (4).
  out.shareable = request.ReadsLikeGet() && !facts.partial && (fresh || refreshable);
  facts.stored_because = out.reason;
  out.facts = facts;
  return out;
}

UpdateResult UpdateStored(const RequestHead& request, const HeaderMap& stored_fields,
                          const ResponseFacts& stored, const ResponseHead& update,
                          Time request_time, Time response_time, double random,
                          const Overrides& overrides) {
  ResponseHead merged;
  merged.status = stored.status;
  const HeaderMap update_fields = StoredFields(update, response_time, overrides);
  merged.fields = MergeNotModified(stored_fields, update_fields);
  UpdateResult out;
  out.fields = StoredFields(merged, response_time, overrides);
  // Age is no stored field, but this update's own Age says how old it was when it came.
  merged.fields.Remove(FieldId::kAge);
  for (const HeaderMap::Field field : update.fields) {
    if (field.id == FieldId::kAge) merged.fields.Add(field.id, field.value);
  }
  // The stored part was asked for when it was stored; this request asked whether it still holds.
  RequestHead as_get = request;
  if (!as_get.ReadsLikeGet()) as_get.method = Method::kGet;
  if (stored.partial) {
    if (const auto content = merged.fields.First(FieldId::kContentRange)) {
      if (const std::optional<ContentRange> range = ParseContentRange(*content)) {
        as_get.fields.Set(FieldId::kRange, "bytes=" + std::to_string(range->range.first) + "-" +
                                               std::to_string(range->range.last));
      }
    }
  }
  out.verdict = MayStore(as_get, merged, request_time, response_time, random, overrides);
  if (!out.verdict.store) {
    Lifetime unused;
    out.verdict.facts = MakeFacts(merged, DirectivesInForce(merged.fields, overrides), request_time,
                                  response_time, random, overrides, unused);
    out.verdict.facts.lifetime = Millis(0);
  }
  return out;
}

}  // namespace satchel::cache
