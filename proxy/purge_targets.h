#pragma once

#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "cache/http/uri.h"
#include "cache/purge_table.h"
#include "cache/tags.h"
#include "proxy/purge_order.h"
#include "rules/rule_set.h"

namespace satchel::proxy {

// Between what people and origins name and what the purge table knows. Pure.

// A GET of the URL, as the rules see it.
cache::RequestHead GetOf(const cache::HttpUri& uri);

// Adds the record that purges every variant of the URL, under the key that a GET of it would get.
// False if no rule matches it: then nothing of it is stored.
bool AddUrl(const rules::RuleSet& rules, const cache::HttpUri& uri, bool soft,
            std::vector<cache::PurgeRecord>& records);
// Adds the records for keys that begin with the prefix, "https://host/path": rules whose keys leave
// out scheme or host are reached by shorter ones.
void AddPrefix(const rules::RuleSet& rules, std::string_view prefix, bool soft,
               std::vector<cache::PurgeRecord>& records);

// The tags of an answer: those the origin names, its groups, and those of the rule.
void CollectTags(const rules::RuleSet& rules, const rules::Rule& rule,
                 const cache::RequestHead& request, const cache::HeaderMap& response,
                 cache::TagSet& tags);

// What an unsafe request purges that was answered so: its URL, Location, Content-Location (RFC 9111
// 4.4), cache groups (RFC 9875), and what its rule says.
struct OwnPurges {
  std::vector<cache::PurgeRecord> records;
  PurgeRefresh refresh;
};
OwnPurges PurgedBy(const rules::RuleSet& rules, const rules::Rule& rule,
                   const cache::RequestHead& request, const cache::ResponseHead& response);

}  // namespace satchel::proxy
