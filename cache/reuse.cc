#include "cache/reuse.h"

#include "cache/cache_control.h"

namespace satchel::cache {
namespace {

constexpr FieldSet kDirectiveFields{FieldId::kCacheControl, FieldId::kPragma};
constexpr FieldSet kOriginOnly{FieldId::kIfMatch, FieldId::kIfUnmodifiedSince};
// An answer to a request with one of these is not what others asked for.
constexpr FieldSet kOwnAnswer{FieldId::kRange, FieldId::kIfRange, FieldId::kIfNoneMatch,
                              FieldId::kIfModifiedSince};
constexpr FieldSet kNotPlain{FieldId::kCacheControl,  FieldId::kPragma,
                             FieldId::kIfMatch,       FieldId::kIfUnmodifiedSince,
                             FieldId::kIfNoneMatch,   FieldId::kIfModifiedSince,
                             FieldId::kIfRange,       FieldId::kRange,
                             FieldId::kUpgrade,       FieldId::kExpect,
                             FieldId::kContentLength, FieldId::kTransferEncoding};

RequestDirectives DirectivesOf(const RequestHead& request, const Overrides& overrides) {
  if (!overrides.obey_request_directives || !request.fields.HasAny(kDirectiveFields)) return {};
  return ParseRequestDirectives(request.fields);
}

// Serve or validate, for a response that the request selects.
void DecideReuse(const RequestDirectives& client, const ResponseFacts& stored, Time now,
                 Decision& out) {
  const Millis age = stored.AgeAt(now);
  const auto validate = [&](Reason reason) {
    out.action = Action::kRevalidate;
    out.reason = reason;
  };
  const auto serve = [&](Action action, Reason reason) {
    out.action = action;
    out.reason = reason;
  };
  if (stored.no_cache) return validate(Reason::kResponseNoCache);
  if (client.no_cache) return validate(Reason::kRequestNoCache);

  if (stored.IsFreshAt(now)) {
    if (client.min_fresh && stored.lifetime - age < *client.min_fresh) {
      return validate(Reason::kRequestMinFresh);
    }
    if (client.max_age && age > *client.max_age) {
      // A reload asks with max-age=0 and need not reach the origin (RFC 8246 2).
      if (!stored.immutable) return validate(Reason::kRequestMaxAge);
      return serve(Action::kServe, Reason::kImmutable);
    }
    return serve(Action::kServe, Reason::kFresh);
  }

  const Reason stale = stored.stale_by_purge    ? Reason::kPurged
                       : stored.must_revalidate ? Reason::kMustRevalidate
                                                : Reason::kExpired;
  if (client.min_fresh) return validate(stale);
  if (client.max_age && age > *client.max_age) {
    // Stale is out of the question unless max-stale says otherwise (5.2.1.1).
    if (!client.max_stale) return validate(stale);
  }
  const Millis stale_for = stored.StaleFor(now);
  if (stored.swr_granted && stale_for < stored.stale_while_revalidate) {
    // A refresh on behalf of a request with no-store could not be kept (5.2.1.5).
    return serve(client.no_store ? Action::kServe : Action::kServeStaleAndRefresh,
                 Reason::kStaleWhileRevalidate);
  }
  if (client.max_stale && !stored.must_revalidate && !stored.stale_by_purge &&
      stale_for <= *client.max_stale) {
    return serve(Action::kServe, Reason::kMaxStale);
  }
  validate(stale);
}

}  // namespace

Decision Decide(const RequestHead& request, const ResponseFacts* stored, bool other_variants,
                Time now, const Overrides& overrides, bool part_holds) {
  Decision out;
  if (!overrides.enabled || !request.Reads()) {
    out.action = Action::kBypass;
    out.reason = overrides.enabled ? Reason::kMethod : Reason::kRuleBypass;
    // An answer to POST may be stored for GET (RFC 9110 9.3.3).
    out.may_store = overrides.enabled && request.method == Method::kPost;
    out.may_collapse = false;
    return out;
  }
  const HeaderMap& fields = request.fields;
  const RequestDirectives client = DirectivesOf(request, overrides);
  out.may_store = !client.no_store;
  out.may_collapse = !client.no_store && !client.no_cache && request.ReadsLikeGet();

  out.may_follow = out.may_collapse;

  if (fields.HasAny(kOriginOnly)) {
    out.reason = Reason::kPreconditions;
    out.may_collapse = false;
    out.may_follow = false;
  } else if (stored == nullptr) {
    out.reason = other_variants ? Reason::kVaryMismatch : Reason::kNoStoredResponse;
    if (fields.HasAny(kOwnAnswer)) out.may_collapse = false;
  } else if (stored->partial && (!fields.Has(FieldId::kRange) || !part_holds)) {
    out.reason = Reason::kPartialStored;
    if (fields.HasAny(kOwnAnswer)) out.may_collapse = false;
  } else {
    DecideReuse(client, *stored, now, out);
  }
  if (client.only_if_cached &&
      (out.action == Action::kFetch || out.action == Action::kRevalidate)) {
    out.action = Action::kGatewayTimeout;
    out.reason = Reason::kOnlyIfCached;
  }
  return out;
}

Reason MayServeOnError(const RequestHead& request, const ResponseFacts& stored, Time now,
                       bool reached, uint16_t status, const Overrides& overrides) {
  if (!overrides.enabled || !request.Reads() || stored.no_cache) return Reason::kNone;
  if (request.fields.HasAny(kOriginOnly)) return Reason::kNone;
  if (stored.partial && !request.fields.Has(FieldId::kRange)) return Reason::kNone;
  if (reached && status != 500 && status != 502 && status != 503 && status != 504) {
    return Reason::kNone;
  }
  const RequestDirectives client = DirectivesOf(request, overrides);
  if (client.no_cache || client.min_fresh) return Reason::kNone;
  if (client.max_age && !client.max_stale && stored.AgeAt(now) > *client.max_age) {
    return Reason::kNone;
  }
  const Millis stale_for = stored.StaleFor(now);
  if (stored.sie_granted && stale_for < stored.stale_if_error) return Reason::kStaleIfError;
  if (stored.must_revalidate) return Reason::kNone;
  if (client.stale_if_error && stale_for < *client.stale_if_error) return Reason::kStaleIfError;
  if (!reached && stale_for < overrides.disconnected_stale) return Reason::kStaleDisconnected;
  return Reason::kNone;
}

bool MayCollapseOn(const ResponseFacts& facts, Time now) {
  if (facts.no_cache) return false;
  return facts.IsFreshAt(now) ||
         (facts.swr_granted && facts.StaleFor(now) < facts.stale_while_revalidate);
}

bool IsPlainLookup(const RequestHead& request) {
  return (request.method == Method::kGet || request.method == Method::kHead) &&
         !request.fields.HasAny(kNotPlain);
}

}  // namespace satchel::cache
