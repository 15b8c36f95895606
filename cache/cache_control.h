#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/headers.h"
#include "cache/overrides.h"

namespace satchel::cache {

// The directives of a response (RFC 9111 5.2.2), whichever field they came from. A directive that
// is repeated counts as it stood first (4.2.1), but a restriction stays once it was said.
struct ResponseDirectives {
  using Seconds = std::optional<std::chrono::seconds>;

  bool targeted = false;  // from a targeted field (RFC 9213): Expires is out of force too

  // Present but unusable is 0, not absent (4.2.1).
  Seconds max_age;
  Seconds s_maxage;
  // RFC 5861. Present but unusable grants nothing.
  Seconds stale_while_revalidate;
  Seconds stale_if_error;

  bool no_store = false;
  bool no_cache = false;    // unqualified
  bool is_private = false;  // unqualified
  bool is_public = false;
  bool must_revalidate = false;
  bool proxy_revalidate = false;
  bool must_understand = false;
  bool immutable = false;  // RFC 8246

  // The names of no-cache="..." and private="..." together, lower case.
  std::vector<std::string> unstored_fields;
};

// Parses Cache-Control, all lines joined (RFC 9111 5.2). Unknown and malformed members are ignored.
ResponseDirectives ParseCacheControl(std::string_view joined);

// Parses a targeted field: a Structured Fields dictionary (RFC 9213 2.1). nullopt if it is empty,
// does not parse, or has a lifetime that is not an integer: then the field counts as absent.
std::optional<ResponseDirectives> ParseTargetedField(std::string_view joined);

// The directives in force for this cache: the first usable field of the rule's target list, else
// Cache-Control (RFC 9213 2.2).
ResponseDirectives DirectivesInForce(const HeaderMap& response_fields, const Overrides& overrides);

// The directives of a request (5.2.1), Pragma included (5.4). Arguments that are not
// delta-seconds make their directive count as absent.
struct RequestDirectives {
  using Seconds = std::optional<std::chrono::seconds>;

  bool no_cache = false;
  bool no_store = false;
  bool only_if_cached = false;
  Seconds max_age;
  Seconds min_fresh;
  Seconds max_stale;       // without argument: without bound
  Seconds stale_if_error;  // RFC 5861 4

  static constexpr std::chrono::seconds kUnbounded = std::chrono::hours(24 * 365 * 100);
};

RequestDirectives ParseRequestDirectives(const HeaderMap& request_fields);

}  // namespace satchel::cache
