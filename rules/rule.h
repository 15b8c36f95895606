#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/base/clock.h"
#include "cache/cache_key.h"
#include "cache/overrides.h"
#include "rules/tag_template.h"

namespace satchel::rules {

using cache::Millis;

// Bounds of one attempt and of the whole exchange. Zero = no bound.
struct Timeouts {
  Millis connect = std::chrono::seconds(2);      // TCP and TLS to the upstream
  Millis first_byte = std::chrono::seconds(15);  // request sent until the response head
  Millis idle = std::chrono::seconds(60);        // between two pieces of a response body
  Millis total{0};                               // the exchange, retries included
  bool operator==(const Timeouts&) const = default;
};

// A condition on a header, query parameter or cookie. `values` empty: it must be present. Else
// one of its values must equal, glob-match ('*' = any run of characters) or, behind "regex:",
// fully match one of `values`.
struct FieldCondition {
  std::string name;
  std::vector<std::string> values;
  bool operator==(const FieldCondition&) const = default;
};

// The text of one `match:` block. All parts must hold; an empty part always holds; of several
// hosts or paths one must match.
//
// Hosts are compared without port unless the pattern has one; `*` is one label, `**` any number.
// Paths are compared on the normalised path (path.h); `*` is one segment or a part of one, `**`
// any rest, {name} captures one segment, {name**} any rest. "regex:..." is RE2, full match.
struct MatchSpec {
  std::vector<std::string> hosts;
  std::vector<std::string> paths;
  std::vector<std::string> methods;  // upper case as written; tokens
  std::vector<FieldCondition> headers;
  std::vector<FieldCondition> queries;
  std::vector<FieldCondition> cookies;
  bool empty() const {
    return hosts.empty() && paths.empty() && methods.empty() && headers.empty() &&
           queries.empty() && cookies.empty();
  }
  bool operator==(const MatchSpec&) const = default;
};

// Edits of a header block, `remove` first, then `set` (replaces all lines of that name).
struct HeaderEdits {
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> remove;
  bool empty() const { return set.empty() && remove.empty(); }
  bool operator==(const HeaderEdits&) const = default;
};

// What an unsafe request under a rule purges when its answer is 2xx or 3xx.
struct OnSuccess {
  std::vector<TagTemplate> purge_tags;
  std::vector<TagTemplate> purge_urls;  // absolute, or beginning with "/": of the request's origin
  bool soft = true;
  bool refresh = false;  // the URLs are fetched again at once
  bool empty() const { return purge_tags.empty() && purge_urls.empty(); }
};

// One entry of `rules:`, every default filled in. Const once a RuleSet owns it; readable by any
// thread.
struct Rule {
  std::string name;
  uint32_t index = 0;  // position in the list, from 0
  std::string file;    // where it stands; empty for the implicit rule
  uint32_t line = 0;   // 1-based; 0 for the implicit rule

  MatchSpec match;
  std::string upstream;
  uint32_t upstream_index = 0;  // into Config::upstreams
  Timeouts timeouts;

  cache::Overrides cache;
  cache::KeyRule key;
  // Replaces Cache-Control towards the client on cacheable answers; absent = the origin's own.
  std::optional<std::string> client_cache_control;

  std::vector<TagTemplate> tags;            // of stored responses
  std::vector<std::string> tags_from_json;  // JSON pointers; "*" stands for every member
  OnSuccess on_success;

  HeaderEdits request_headers;   // before the request goes to the origin
  HeaderEdits response_headers;  // before an answer goes to the client
  // Path sent to the origin; {name} stands for a capture of match.path. Empty = as received. The
  // query is kept.
  std::string rewrite;
  std::vector<std::string> upgrade;  // lower case, for example "websocket"

  // Its name for clients; empty for the implicit rule.
  std::string_view shown_name() const { return line == 0 ? std::string_view() : name; }
  // Is a request with this method, which matched, a read whose body is part of the key? Only where
  // the rule names the method: no POST becomes a read by accident.
  bool ReadsBody(cache::Method method) const;
  bool AllowsUpgrade(std::string_view protocol) const;  // ignores letter case
};

}  // namespace satchel::rules
