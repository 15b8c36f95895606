// The cache block of a rule and of the defaults.
#include <algorithm>
#include <charconv>

#include "rules/config_parser_blocks.h"

namespace satchel::rules {
namespace {

// "origin" or a duration.
void OriginOr(MapReader& map, std::string_view key, std::optional<Millis>* to) {
  const auto value = map.Take(key);
  if (!value) return;
  const auto text = value->Scalar("origin or a duration such as 30s");
  if (!text) return;
  if (text->text == "origin") {
    to->reset();
    return;
  }
  const auto duration = ParseDuration(text->text);
  if (duration) {
    *to = *duration;
    return;
  }
  const bool word = !text->text.empty() && text->text[0] >= 'A';
  value->BadValue(
      *text, word ? "is neither origin nor a duration; write origin or 30s" : duration.error());
}

// 0 to 10.
std::optional<double> ParseWeight(std::string_view text) {
  double weight = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight,
                                            std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(weight >= 0 && weight <= 10)) return std::nullopt;
  return weight;
}

void ParseHeuristic(const Cursor& cursor, cache::Overrides* cache) {
  if (cursor.IsScalar()) {
    if (const auto ratio = cursor.Ratio()) cache->heuristic_fraction = *ratio;
    return;
  }
  MapReader map(cursor, "a heuristic");
  map.Ratio("fraction", &cache->heuristic_fraction);
  map.Duration("max", &cache->heuristic_max);
  map.Finish();
}

void ParseNegative(const Cursor& cursor, cache::Overrides* cache) {
  MapReader map(cursor, "a map of statuses");
  cache->negative.clear();
  for (const auto& [key, value] : map.All()) {
    const auto status = ParseNumber(key, 400, 599);
    const auto duration = value.Duration();
    if (!status) {
      value.Error("\"" + key + "\" is no error status; write 400 to 599, as in 404: 10s");
    } else if (duration) {
      cache->negative.emplace_back(static_cast<uint16_t>(*status), *duration);
    }
  }
}

void ParseStatuses(const Cursor& cursor, cache::Overrides* cache) {
  const bool list = cursor.IsList();
  cache->statuses.clear();
  for (size_t i = 0; i < (list ? cursor.node().items.size() : 1); ++i) {
    const auto status = (list ? cursor.Item(i) : cursor).Number(200, 599);
    if (status) cache->statuses.push_back(static_cast<uint16_t>(*status));
  }
  if (list && cursor.node().items.empty()) {
    cursor.Error("is an empty list; write the statuses to store, or cache: false for none");
  }
}

void ParseEarlyRefresh(const Cursor& cursor, cache::Overrides* cache) {
  const auto text = cursor.Scalar("auto, off or a weight such as 1.0");
  if (!text) return;
  if (text->text == "auto") {
    cache->early_refresh.reset();
    return;
  }
  if (text->text == "off" || text->text == "false") {
    cache->early_refresh = 0;
    return;
  }
  const auto weight = ParseWeight(text->text);
  if (weight) {
    cache->early_refresh = *weight;
  } else {
    cursor.BadValue(*text, "is no weight from 0 to 10; write auto, off or 1.0");
  }
}

// How long one instance may hold it, or nothing.
void ParseClusterLock(const Cursor& cursor, cache::Overrides* cache) {
  const auto text = cursor.Scalar("a duration such as 10s, or off");
  if (!text) return;
  if (text->text == "off" || text->text == "false") {
    cache->cluster_lock = Millis(0);
    return;
  }
  const auto duration = ParseDuration(text->text);
  if (duration) {
    cache->cluster_lock = *duration;
  } else {
    const bool word = !text->text.empty() && text->text[0] >= 'A';
    cursor.BadValue(*text, word ? "is neither off nor a duration; write off or 10s"
                                : duration.error());
  }
}

void ParseNormalize(const Cursor& cursor, cache::Overrides* cache) {
  MapReader map(cursor, "a map of header fields");
  cache->normalize.clear();
  for (const auto& [name, value] : map.All()) {
    CheckToken(value, name, "a field name");
    auto texts = value.Texts();
    if (texts) cache->normalize.emplace_back(name, std::move(*texts));
  }
}

void CheckTokens(MapReader& map, std::string_view key, std::vector<std::string>* to,
                 std::string_view what) {
  const auto value = map.Take(key);
  if (!value) return;
  auto texts = value->Texts();
  if (!texts) return;
  for (const std::string& text : *texts) CheckToken(*value, text, what);
  *to = std::move(*texts);
}

void ParseKeyBody(const Cursor& cursor, cache::KeyRule* key) {
  constexpr uint64_t kMost = uint64_t{1} << 20;
  MapReader map(cursor, "body settings");
  if (const auto max = map.Require("max", "max: 16KiB")) {
    if (const auto size = max->Size()) {
      key->body_max = *size;
      if (*size > kMost) max->Error("is larger than 1MiB; write 1MiB or less");
    }
  }
  map.Bool("canonical_json", &key->body_canonical_json);
  map.Finish();
}

void ParseKey(const Cursor& cursor, cache::KeyRule* key) {
  MapReader map(cursor, "key settings");
  map.Bool("scheme", &key->scheme);
  map.Bool("host", &key->host);
  if (const auto query = map.Take("query")) {
    MapReader settings(*query, "query settings");
    key->query_sort = true;  // who shapes the query at all does not mean its order
    settings.Texts("allow", &key->query_allow);
    settings.Texts("deny", &key->query_deny);
    settings.Bool("sort", &key->query_sort);
    settings.Finish();
  }
  CheckTokens(map, "headers", &key->headers, "a field name");
  CheckTokens(map, "cookies", &key->cookies, "a cookie name");
  if (const auto body = map.Take("body")) ParseKeyBody(*body, key);
  map.Finish();
}

}  // namespace

void ParseCache(const Cursor& cursor, RuleDefaults* to) {
  if (cursor.IsScalar()) {
    const auto flag = cursor.Bool();
    if (flag) to->cache.enabled = *flag;
    return;
  }
  cache::Overrides& cache = to->cache;
  cache.enabled = true;
  MapReader map(cursor, "cache settings");
  OriginOr(map, "ttl", &cache.ttl);
  map.Duration("ttl_max", &cache.ttl_max);
  map.Duration("ttl_min", &cache.ttl_min);
  OriginOr(map, "swr", &cache.stale_while_revalidate);
  OriginOr(map, "sie", &cache.stale_if_error);
  if (const auto heuristic = map.Take("heuristic")) ParseHeuristic(*heuristic, &cache);
  map.Ratio("jitter", &cache.jitter);
  if (const auto negative = map.Take("negative")) ParseNegative(*negative, &cache);
  if (const auto statuses = map.Take("statuses")) ParseStatuses(*statuses, &cache);
  map.Bool("coalesce", &cache.coalesce);
  map.Duration("wait", &cache.coalesce_wait);
  if (const auto weight = map.Take("early_refresh")) ParseEarlyRefresh(*weight, &cache);
  if (const auto lease = map.Take("cluster_lock")) ParseClusterLock(*lease, &cache);
  map.Number("vary_limit", &cache.vary_limit, 1, 1024);
  if (const auto key = map.Take("key")) ParseKey(*key, &to->key);
  if (const auto normalize = map.Take("normalize")) ParseNormalize(*normalize, &cache);
  map.Bool("encrypt", &cache.encrypt);
  map.Word("shared", &cache.principal_in_key, {{"public_only", false}, {"per_key", true}});
  map.Word("set_cookie", &cache.store_set_cookie, {{"store", true}, {"refuse", false}});
  map.Word("range", &cache.keep_parts, {{"complete", true}, {"pass", false}});
  CheckTokens(map, "targeted_fields", &cache.targeted_fields, "a field name");
  map.Word("request_directives", &cache.obey_request_directives,
           {{"obey", true}, {"ignore", false}});
  if (const auto control = map.Take("client_cache_control")) {
    if (auto text = control->Text()) {
      CheckFieldValue(*control, *text);
      to->client_cache_control = std::move(*text);
    }
  }
  if (const auto tags = map.Take("tags")) ParseTagTemplates(*tags, &to->tags);
  if (const auto pointers = map.Take("tags_from_json")) {
    ParsePointers(*pointers, &to->tags_from_json);
  }
  map.Finish();
  if (cache.ttl_min > cache.ttl_max) {
    cursor.Error("ttl_min " + DurationText(cache.ttl_min) + " is longer than ttl_max " +
                 DurationText(cache.ttl_max) + "; write a shorter ttl_min or a longer ttl_max");
  }
  if (cache.principal_in_key && to->key.headers.empty() && to->key.cookies.empty()) {
    cursor.Error(
        "shared: per_key without a principal in the key would hand one user's answer to another; "
        "add key.headers or key.cookies, or write shared: public_only");
  }
}

}  // namespace satchel::rules
