#include "proxy/purge_targets.h"

#include <algorithm>
#include <optional>
#include <string>

#include "cache/cache_key.h"
#include "cache/invalidation.h"

namespace satchel::proxy {
namespace {

using cache::PurgeRecord;

rules::Captures CapturesOf(const rules::RuleSet& rules, const cache::RequestHead& request) {
  rules::Captures captures;
  rules.Match(request, &captures);
  return captures;
}

void AddOnSuccess(const rules::RuleSet& rules, const rules::Rule& rule,
                  const cache::RequestHead& request, const cache::ResponseHead& response,
                  OwnPurges& own_purges) {
  std::vector<PurgeRecord>& records = own_purges.records;
  const rules::OnSuccess& todo = rule.on_success;
  const rules::Captures captures = CapturesOf(rules, request);
  std::string text;
  for (const rules::TagTemplate& tag : todo.purge_tags) {
    if (tag.Fill(request, captures, &response.fields, &text)) {
      records.push_back(PurgeRecord::Tag(text, todo.soft));
      if (todo.refresh) own_purges.refresh.records.push_back(records.back());
    }
  }
  const cache::HttpUri own{request.scheme, request.authority, request.target};
  for (const rules::TagTemplate& url : todo.purge_urls) {
    if (!url.Fill(request, captures, &response.fields, &text)) continue;
    const std::optional<cache::HttpUri> uri = cache::ResolveReference(own, text);
    if (uri && AddUrl(rules, *uri, todo.soft, records) && todo.refresh) {
      own_purges.refresh.uris.push_back(*uri);
    }
  }
}

}  // namespace

cache::RequestHead GetOf(const cache::HttpUri& uri) {
  cache::RequestHead get;
  get.method = cache::Method::kGet;
  get.method_text = "GET";
  get.scheme = uri.scheme;
  get.authority = uri.authority;
  get.target = uri.target;
  return get;
}

bool AddUrl(const rules::RuleSet& rules, const cache::HttpUri& uri, bool soft,
            std::vector<PurgeRecord>& records) {
  const cache::RequestHead get = GetOf(uri);
  const rules::MatchResult match = rules.Match(get);
  if (match.status != rules::MatchResult::Status::kMatched) return false;
  cache::CacheKey key;
  key.Build(get, match.rule->key);
  records.push_back(PurgeRecord::Url(cache::UrlOfKey(key.text()), soft));
  return true;
}

void AddPrefix(const rules::RuleSet& rules, std::string_view prefix, bool soft,
               std::vector<PurgeRecord>& records) {
  const size_t scheme_end = prefix.find("://");
  const std::string_view scheme =
      scheme_end == std::string_view::npos ? std::string_view() : prefix.substr(0, scheme_end);
  const std::string_view rest =
      scheme_end == std::string_view::npos ? prefix : prefix.substr(scheme_end + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  for (const rules::Rule& rule : rules.rules()) {
    std::string text;
    if (rule.key.scheme) text += scheme;
    text += "://";
    if (rule.key.host) text += rest.substr(0, slash);
    text += rest.substr(slash);
    const PurgeRecord record = PurgeRecord::Prefix(text, soft);
    if (std::find(records.begin(), records.end(), record) == records.end()) {
      records.push_back(record);
    }
  }
}

void CollectTags(const rules::RuleSet& rules, const rules::Rule& rule,
                 const cache::RequestHead& request, const cache::HeaderMap& response,
                 cache::TagSet& tags) {
  cache::AddTagsOf(response, tags);
  if (response.Has(cache::FieldId::kCacheGroups)) {
    for (const std::string& group : cache::GroupsOf(response)) {
      tags.AddId(cache::GroupTag(request.scheme, request.authority, group));
    }
  }
  if (rule.tags.empty()) return;
  const rules::Captures captures = CapturesOf(rules, request);
  std::string text;
  for (const rules::TagTemplate& tag : rule.tags) {
    if (tag.Fill(request, captures, &response, &text)) tags.Add(text);
  }
}

OwnPurges PurgedBy(const rules::RuleSet& rules, const rules::Rule& rule,
                   const cache::RequestHead& request, const cache::ResponseHead& response) {
  OwnPurges own_purges;
  std::vector<PurgeRecord>& records = own_purges.records;
  const auto targets = cache::InvalidatedBy(request, response);
  if (targets.empty()) return own_purges;
  for (const cache::InvalidTarget& target : targets) {
    const cache::HttpUri uri{target.scheme, target.authority, target.target};
    if (AddUrl(rules, uri, false, records) && rule.on_success.refresh) {
      own_purges.refresh.uris.push_back(uri);
    }
  }
  for (const std::string& group : cache::InvalidatedGroups(request, response)) {
    records.push_back(PurgeRecord::Group(request.scheme, request.authority, group, false));
  }
  if (!rule.on_success.empty()) AddOnSuccess(rules, rule, request, response, own_purges);
  return own_purges;
}

}  // namespace satchel::proxy
