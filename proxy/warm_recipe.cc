#include "proxy/warm_recipe.h"

#include <algorithm>

#include "cache/http/fields.h"
#include "cache/http/query.h"
#include "proxy/purge_targets.h"
#include "rules/warm_fields.h"

namespace satchel::proxy {
namespace {

constexpr std::string_view kBegin = "1 GET ";

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsValue(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

// The URL as it is written, if that reads back as the same.
std::optional<cache::HttpUri> ExactUri(std::string_view text) {
  auto uri = cache::ParseHttpUri(text);
  if (!uri || uri->scheme + "://" + uri->authority + uri->target != text) return std::nullopt;
  return uri;
}

// Redacted in logs, or what identifies clients.
bool IsSecretName(const Snapshot& snapshot, std::string_view name) {
  if (std::ranges::any_of(snapshot.access_log.redact.all(), [&](const std::string& word) {
        return cache::EqualsIgnoreCase(word, name);
      })) {
    return true;
  }
  for (const rules::RateLimitPolicy& policy : snapshot.config.rate_limits) {
    for (const rules::Identify::Part& part : policy.identify.parts) {
      if (cache::EqualsIgnoreCase(part.name, name)) return true;
    }
  }
  return false;
}

bool HasSecretParameter(const Snapshot& snapshot, std::string_view target) {
  const size_t query = target.find('?');
  if (query == std::string_view::npos) return false;
  cache::QueryReader reader(target.substr(query + 1));
  for (std::string_view parameter; reader.Next(parameter);) {
    const std::string name = cache::DecodeFormText(cache::SplitParameter(parameter).name);
    if (IsSecretName(snapshot, name)) return true;
  }
  return false;
}

}  // namespace

std::string WarmRequest::ToText() const {
  std::string text(kBegin);
  text.append(uri.scheme).append("://").append(uri.authority).append(uri.target);
  for (const auto& [name, value] : fields) text.append("\n").append(name).append(": ").append(value);
  return text;
}

std::optional<WarmRequest> WarmRequest::FromText(std::string_view text) {
  if (text.size() > kMaxText || !text.starts_with(kBegin)) return std::nullopt;
  text.remove_prefix(kBegin.size());
  size_t end = std::min(text.find('\n'), text.size());
  auto uri = ExactUri(text.substr(0, end));
  if (!uri) return std::nullopt;
  WarmRequest request;
  request.uri = std::move(*uri);
  while (end < text.size()) {
    text.remove_prefix(end + 1);
    end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) return std::nullopt;
    const std::string_view name = line.substr(0, colon);
    // Sorted and unique, or it is not ours.
    if (!request.fields.empty() && name <= request.fields.back().first) return std::nullopt;
    if (Lower(name) != name || request.AddField(name, line.substr(colon + 2))) return std::nullopt;
  }
  return request;
}

std::optional<std::string> WarmRequest::AddField(std::string_view name, std::string_view value) {
  if (auto why = rules::WarmFieldMistake(name)) return why;
  std::string lower = Lower(name);
  if (!IsValue(value) || cache::TrimOws(value) != value) {
    return "has a value that no field may have; write it without control characters";
  }
  const auto at = std::ranges::lower_bound(fields, lower, {}, &std::pair<std::string, std::string>::first);
  if (at != fields.end() && at->first == lower) return "stands there twice; write it once";
  if (fields.size() >= kMaxFields) return "is one too many; write at most 8";
  fields.insert(at, {std::move(lower), std::string(value)});
  return std::nullopt;
}

cache::RequestHead WarmRequest::Head() const {
  cache::RequestHead head = GetOf(uri);
  for (const auto& [name, value] : fields) head.fields.Add(name, value);
  return head;
}

bool MayWarm(const rules::Rule& rule) {
  return rule.cache.enabled && !rule.cache.principal_in_key && rule.key.cookies.empty();
}

bool HasSecrets(const Snapshot& snapshot, const WarmRequest& request) {
  return HasSecretParameter(snapshot, request.uri.target) ||
         std::ranges::any_of(request.fields, [&](const auto& field) {
           return IsSecretName(snapshot, field.first);
         });
}

std::optional<WarmRequest> RecipeOf(const Snapshot& snapshot, const rules::Rule& rule,
                                    const cache::RequestHead& head, const cache::VarySpec& vary) {
  if (head.method != cache::Method::kGet || !MayWarm(rule) || vary.star ||
      head.fields.Has(cache::FieldId::kAuthorization) ||
      HasSecretParameter(snapshot, head.target)) {
    return std::nullopt;
  }
  WarmRequest request;
  request.uri = {head.scheme, head.authority, head.target};
  std::vector<std::string> names = vary.names;
  for (const std::string& name : rule.key.headers) names.push_back(Lower(name));
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    if (!head.fields.Has(name)) continue;
    if (IsSecretName(snapshot, name)) return std::nullopt;
    auto value = cache::NormalizedValue(name, head, rule.cache);
    if (!value) value = head.fields.Joined(name);
    if (request.AddField(name, value.value_or(""))) return std::nullopt;
  }
  // What would not be read again is not worth telling.
  if (!WarmRequest::FromText(request.ToText())) return std::nullopt;
  return request;
}

std::vector<WarmRequest> Combine(const cache::HttpUri& uri, const FieldValues& values) {
  std::vector<WarmRequest> all(1);
  all[0].uri = uri;
  for (const auto& [name, texts] : values) {
    if (texts.empty()) continue;
    std::vector<WarmRequest> more;
    for (const WarmRequest& request : all) {
      for (const std::string& text : texts) {
        if (more.size() >= kMaxCombinations) break;
        WarmRequest next = request;
        if (!next.AddField(name, text)) more.push_back(std::move(next));
      }
    }
    all = std::move(more);
  }
  return all;
}

}  // namespace satchel::proxy
