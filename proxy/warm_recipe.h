#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/http/message.h"
#include "cache/http/uri.h"
#include "cache/vary.h"
#include "proxy/snapshot.h"
#include "rules/rule.h"

namespace satchel::proxy {

// A GET that can be asked again: its URL and the request fields that its answer depends on. It never
// holds credentials. Pure.
struct WarmRequest {
  static constexpr size_t kMaxText = 2048;  // bytes
  static constexpr size_t kMaxFields = 8;

  cache::HttpUri uri;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case, sorted, unique

  // As it stands in Redis: "1 GET https://host/path" and a line "name: value" for each field.
  std::string ToText() const;
  // Nothing for whatever ToText() would not write: others write there too.
  static std::optional<WarmRequest> FromText(std::string_view text);

  // Adds a field, or says what is wrong with it. Fields that carry credentials, speak of the
  // connection, of conditions, ranges, or who asks are refused.
  std::optional<std::string> AddField(std::string_view name, std::string_view value);

  cache::RequestHead Head() const;
  bool operator==(const WarmRequest& other) const { return ToText() == other.ToText(); }
};

// May the answers of the rule be asked for again without anybody's credentials?
bool MayWarm(const rules::Rule& rule);

// Does it hold what the configuration calls a secret: a field or query parameter that is redacted in
// logs, or identifies clients?
bool HasSecrets(const Snapshot& snapshot, const WarmRequest& request);

// What to ask again for the answer that this request got; `vary` is the answer's. Nothing if it
// depends on credentials, or is not to be had by a GET alone.
std::optional<WarmRequest> RecipeOf(const Snapshot& snapshot, const rules::Rule& rule,
                                    const cache::RequestHead& head, const cache::VarySpec& vary);

// Every combination of the values, one of each field: at most kMaxCombinations.
constexpr size_t kMaxCombinations = 64;
using FieldValues = std::vector<std::pair<std::string, std::vector<std::string>>>;
std::vector<WarmRequest> Combine(const cache::HttpUri& uri, const FieldValues& values);

}  // namespace satchel::proxy
