#pragma once

#include <cstdint>
#include <string_view>

namespace satchel::cache {

// Why a decision came out as it did. The same word stands in Cache-Status (detail), the access
// log and the metrics. The RFC section stands beside each; section numbers are RFC 9111's unless
// another is named.
enum class Reason : uint8_t {
  kNone,
  // Served from the store.
  kFresh,                  // 4.2
  kStaleWhileRevalidate,   // RFC 5861 3
  kStaleIfError,           // RFC 5861 4
  kStaleDisconnected,      // 4.2.4
  kMaxStale,               // 5.2.1.2
  kRevalidated,            // 4.3.3
  kCollapsed,              // 4: one fetch answered several requests
  kOnlyIfCached,           // 5.2.1.7
  kImmutable,              // RFC 8246 2
  // Sent on to the origin.
  kNoStoredResponse,       // 4
  kVaryMismatch,           // 4.1
  kExpired,                // 4.2
  kResponseNoCache,        // 5.2.2.4
  kMustRevalidate,         // 5.2.2.2, 5.2.2.8, 5.2.2.10
  kRequestNoCache,         // 5.2.1.4, 5.4
  kRequestMaxAge,          // 5.2.1.1
  kRequestMinFresh,        // 5.2.1.3
  kRequestNoStore,         // 5.2.1.5
  kMethod,                 // 4: not GET or HEAD
  kRuleBypass,             // the rule says cache: false
  kPartialStored,          // 3.3: only another part is stored
  kPreconditions,          // RFC 9110 13.1.1, 13.1.4: only the origin can tell
  kUpgrade,                // RFC 9110 7.8
  kBodyNotKeyed,           // a body too large, or with trailers, to be part of the key
  kKnownUncacheable,       // learned from an earlier answer to this key
  kPurged,
  // Not stored.
  kMethodNotCacheable,     // 3
  kNotFinal,               // 3: 1xx
  kStatusNotUnderstood,    // 5.2.2.3
  kStatusExcluded,         // the rule's list of statuses
  kNoStore,                // 5.2.2.5
  kPrivate,                // 5.2.2.7
  kAuthorization,          // 3.5
  kVaryStar,               // 4.1
  kNoLifetime,             // 4.2.1, 4.2.2: nothing explicit, no heuristic, no validator
  kSetCookie,              // the rule's switch
  kIncomplete,             // 3.3
  kBadPartial,             // 3.3, RFC 9110 15.3.7
  kUnsolicitedNotModified, // 4.3.3
  kTooLarge,               // the rule's or the store's max_object
  kOddRequest,             // error caused by unusual request fields
  kDeceptivePath,          // a page under the name of an image, without explicit freshness
  // Stored.
  kExplicitLifetime,       // 4.2.1
  kHeuristicLifetime,      // 4.2.2
  kRuleLifetime,
  kNegativeLifetime,
  kForValidationOnly,      // kept for its validator
  kCount
};

// A lower-case word with hyphens, for example "stale-while-revalidate".
std::string_view ReasonWord(Reason reason);

// For example "RFC 9111 5.2.2.5"; empty where no RFC is behind it.
std::string_view ReasonSection(Reason reason);

}  // namespace satchel::cache
