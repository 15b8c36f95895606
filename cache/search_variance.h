#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/http/headers.h"

namespace satchel::cache {

// What a response says about the part that the query of its URI plays (No-Vary-Search, HTTPbis).
// The default is that every byte counts.
struct SearchVariance {
  bool ignore_order = false;         // key-order
  bool ignore_all = false;           // params without a list
  std::vector<std::string> ignored;  // params=(...): these do not count
  std::vector<std::string> except;   // next to ignore_all: these do count
  bool byte_for_byte() const { return !ignore_order && !ignore_all && ignored.empty(); }
};

// Anything malformed, and `except` without `params` that holds for all, gives the default.
SearchVariance ParseNoVarySearch(const HeaderMap& response_fields);

// A text that two queries (without '?') share exactly when the variance makes them equivalent. For
// the default it is the query itself.
std::string CanonicalQuery(std::string_view query, const SearchVariance& variance);

// A text that the keys of two URIs share exactly when the variance makes them equivalent. It holds
// the variance too, and whatever a rule added to the key.
std::string EquivalentText(std::string_view key, const SearchVariance& variance);
// A key without its query: the same for all queries of a path.
std::string PathOfKey(std::string_view key);

}  // namespace satchel::cache
