#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/base/clock.h"
#include "cache/http/field_id.h"

namespace satchel::cache {

// What a rule says about caching, beside what origin and client say. The defaults are a plain
// RFC 9111 shared cache. Made by the rule parser, const afterwards, readable by any thread.
struct Overrides {
  bool enabled = true;  // false: neither stored nor looked up
  uint16_t rule = 0;    // RuleTag() of the rule's name, for purges by rule

  // Freshness. An absent value means that the origin's own words decide.
  std::optional<Millis> ttl;
  Millis ttl_min{0};
  Millis ttl_max = std::chrono::hours(24);  // bounds the time since receipt, not the Age
  double heuristic_fraction = 0.1;  // of Date minus Last-Modified (RFC 9111 4.2.2)
  Millis heuristic_max = std::chrono::hours(1);
  std::optional<Millis> stale_while_revalidate;
  std::optional<Millis> stale_if_error;
  // Serving stale when no response came at all and nobody said anything (RFC 9111 4.2.4).
  Millis disconnected_stale = std::chrono::seconds(60);
  double jitter = 0;  // share by which lifetimes are shortened at random, 0 to 1
  std::vector<std::pair<uint16_t, Millis>> negative;  // by status, where the origin is silent

  // Storage.
  std::vector<uint16_t> statuses;  // only these are stored; empty = what RFC 9111 allows
  bool encrypt = false;            // what leaves this process
  bool store_set_cookie = true;    // RFC 9111 7.3 leaves it to the origin
  bool principal_in_key = false;   // shared: per_key; private answers may be stored
  bool keep_parts = true;          // 206 answers are stored, and completed (9111 3.3, 3.4)
  size_t vary_limit = 16;          // variants per key
  std::vector<std::string> targeted_fields = {"Satchel-Cache-Control",
                                              "CDN-Cache-Control"};  // RFC 9213, in order
  // Use.
  bool obey_request_directives = true;
  // How eagerly a response is refreshed before it expires (early_refresh.h); 0: not at all. Absent: 1
  // where no stale window hides the fetch, else 0.
  std::optional<double> early_refresh;
  bool coalesce = true;
  Millis coalesce_wait = std::chrono::seconds(5);  // then an own fetch
  // How long one instance may keep the others of a fleet from fetching; 0: each fetches for itself.
  Millis cluster_lock = std::chrono::seconds(10);
  // Request fields normalised before Vary is compared: name and the values told apart.
  std::vector<std::pair<std::string, std::vector<std::string>>> normalize;
};

}  // namespace satchel::cache
