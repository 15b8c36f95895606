#include "cache/reason.h"

#include <array>

namespace satchel::cache {
namespace {

struct Entry {
  Reason reason;
  std::string_view word;
  std::string_view section;
};

constexpr std::array<Entry, static_cast<size_t>(Reason::kCount)> kEntries = {{
    {Reason::kNone, "none", ""},
    {Reason::kFresh, "fresh", "RFC 9111 4.2"},
    {Reason::kStaleWhileRevalidate, "stale-while-revalidate", "RFC 5861 3"},
    {Reason::kStaleIfError, "stale-if-error", "RFC 5861 4"},
    {Reason::kStaleDisconnected, "stale-disconnected", "RFC 9111 4.2.4"},
    {Reason::kMaxStale, "max-stale", "RFC 9111 5.2.1.2"},
    {Reason::kRevalidated, "revalidated", "RFC 9111 4.3.3"},
    {Reason::kCollapsed, "collapsed", "RFC 9111 4"},
    {Reason::kOnlyIfCached, "only-if-cached", "RFC 9111 5.2.1.7"},
    {Reason::kImmutable, "immutable", "RFC 8246 2"},
    {Reason::kNoStoredResponse, "no-stored-response", "RFC 9111 4"},
    {Reason::kVaryMismatch, "vary-mismatch", "RFC 9111 4.1"},
    {Reason::kExpired, "expired", "RFC 9111 4.2"},
    {Reason::kResponseNoCache, "response-no-cache", "RFC 9111 5.2.2.4"},
    {Reason::kMustRevalidate, "must-revalidate", "RFC 9111 5.2.2.2"},
    {Reason::kRequestNoCache, "request-no-cache", "RFC 9111 5.2.1.4"},
    {Reason::kRequestMaxAge, "request-max-age", "RFC 9111 5.2.1.1"},
    {Reason::kRequestMinFresh, "request-min-fresh", "RFC 9111 5.2.1.3"},
    {Reason::kRequestNoStore, "request-no-store", "RFC 9111 5.2.1.5"},
    {Reason::kMethod, "method", "RFC 9111 4"},
    {Reason::kRuleBypass, "rule-bypass", ""},
    {Reason::kPartialStored, "partial-stored", "RFC 9111 3.3"},
    {Reason::kPreconditions, "preconditions", "RFC 9110 13.1.1"},
    {Reason::kUpgrade, "upgrade", "RFC 9110 7.8"},
    {Reason::kBodyNotKeyed, "body-not-keyed", ""},
    {Reason::kKnownUncacheable, "known-uncacheable", ""},
    {Reason::kPurged, "purged", ""},
    {Reason::kMethodNotCacheable, "method-not-cacheable", "RFC 9111 3"},
    {Reason::kNotFinal, "not-final", "RFC 9111 3"},
    {Reason::kStatusNotUnderstood, "status-not-understood", "RFC 9111 5.2.2.3"},
    {Reason::kStatusExcluded, "status-excluded", ""},
    {Reason::kNoStore, "no-store", "RFC 9111 5.2.2.5"},
    {Reason::kPrivate, "private", "RFC 9111 5.2.2.7"},
    {Reason::kAuthorization, "authorization", "RFC 9111 3.5"},
    {Reason::kVaryStar, "vary-star", "RFC 9111 4.1"},
    {Reason::kNoLifetime, "no-lifetime", "RFC 9111 4.2.1"},
    {Reason::kSetCookie, "set-cookie", "RFC 9111 7.3"},
    {Reason::kIncomplete, "incomplete", "RFC 9111 3.3"},
    {Reason::kBadPartial, "bad-partial", "RFC 9110 15.3.7"},
    {Reason::kUnsolicitedNotModified, "unsolicited-not-modified", "RFC 9111 4.3.3"},
    {Reason::kTooLarge, "too-large", ""},
    {Reason::kOddRequest, "odd-request", ""},
    {Reason::kDeceptivePath, "deceptive-path", ""},
    {Reason::kExplicitLifetime, "explicit-lifetime", "RFC 9111 4.2.1"},
    {Reason::kHeuristicLifetime, "heuristic-lifetime", "RFC 9111 4.2.2"},
    {Reason::kRuleLifetime, "rule-lifetime", ""},
    {Reason::kNegativeLifetime, "negative-lifetime", ""},
    {Reason::kForValidationOnly, "for-validation-only", "RFC 9111 4.3.1"},
}};

constexpr bool InOrder() {
  for (size_t i = 0; i < kEntries.size(); ++i) {
    if (static_cast<size_t>(kEntries[i].reason) != i || kEntries[i].word.empty()) return false;
  }
  return true;
}
static_assert(InOrder());

}  // namespace

std::string_view ReasonWord(Reason reason) { return kEntries[static_cast<size_t>(reason)].word; }

std::string_view ReasonSection(Reason reason) {
  return kEntries[static_cast<size_t>(reason)].section;
}

}  // namespace satchel::cache
