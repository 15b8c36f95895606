#include "cache/search_variance.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cache/http/query.h"
#include "cache/http/structured.h"

namespace satchel::cache {
namespace {

// The strings of an inner list, decoded as names of a query are; nullopt for anything else.
std::optional<std::vector<std::string>> Names(const sf::Member& member) {
  const auto* list = std::get_if<sf::InnerList>(&member);
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> out;
  for (const sf::Item& item : list->items) {
    const auto* text = std::get_if<std::string>(&item.value);
    if (text == nullptr) return std::nullopt;
    out.push_back(DecodeFormText(*text));
  }
  return out;
}

const bool* Boolean(const sf::Member& member) {
  const auto* item = std::get_if<sf::Item>(&member);
  return item == nullptr ? nullptr : std::get_if<bool>(&item->value);
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void AppendSized(std::string& out, std::string_view text) {
  out.append(std::to_string(text.size())).push_back(':');
  out.append(text);
}

}  // namespace

SearchVariance ParseNoVarySearch(const HeaderMap& response_fields) {
  SearchVariance out;
  const std::optional<std::string> joined = response_fields.Joined(FieldId::kNoVarySearch);
  if (!joined) return out;
  const std::optional<sf::Dictionary> members = sf::ParseDictionary(*joined);
  if (!members) return out;
  if (const sf::Member* order = sf::Find(*members, "key-order")) {
    const bool* value = Boolean(*order);
    if (value == nullptr) return {};
    out.ignore_order = *value;
  }
  if (const sf::Member* params = sf::Find(*members, "params")) {
    if (const bool* value = Boolean(*params)) {
      out.ignore_all = *value;
    } else if (auto names = Names(*params)) {
      out.ignored = std::move(*names);
    } else {
      return {};
    }
  }
  if (const sf::Member* except = sf::Find(*members, "except")) {
    auto names = Names(*except);
    if (!names || !out.ignore_all) return {};
    out.except = std::move(*names);
  }
  return out;
}

std::string CanonicalQuery(std::string_view query, const SearchVariance& variance) {
  if (variance.byte_for_byte()) return std::string(query);
  std::vector<std::pair<std::string, std::string>> parameters;
  QueryReader reader(query);
  for (std::string_view text; reader.Next(text);) {
    const QueryParameter parameter = SplitParameter(text);
    std::string name = DecodeFormText(parameter.name);
    const bool ignored =
        variance.ignore_all ? !Contains(variance.except, name) : Contains(variance.ignored, name);
    if (!ignored) parameters.emplace_back(std::move(name), DecodeFormText(parameter.value));
  }
  if (variance.ignore_order) {
    // Values of one name keep their order.
    std::stable_sort(parameters.begin(), parameters.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  std::string out;
  for (const auto& [name, value] : parameters) {
    AppendSized(out, name);
    AppendSized(out, value);
  }
  return out;
}

namespace {

struct KeyParts {
  std::string_view path;
  std::string_view query;
  std::string_view rest;  // the parts that a rule added, from their line feed on
};

KeyParts SplitKey(std::string_view text) {
  KeyParts out;
  const size_t end = std::min(text.find('\n'), text.size());
  const size_t query = std::min(text.find('?'), end);
  out.path = text.substr(0, query);
  out.query = text.substr(std::min(query + 1, end), end - std::min(query + 1, end));
  out.rest = text.substr(end);
  return out;
}

void AppendNames(std::string& out, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  out.append(std::to_string(names.size())).push_back(',');
  for (const std::string& name : names) AppendSized(out, name);
}

}  // namespace

std::string EquivalentText(std::string_view key, const SearchVariance& variance) {
  if (variance.byte_for_byte()) return std::string(key);
  const KeyParts parts = SplitKey(key);
  std::string query;
  query.push_back(variance.ignore_order ? 'o' : '-');
  query.push_back(variance.ignore_all ? 'a' : '-');
  AppendNames(query, variance.ignored);
  AppendNames(query, variance.except);
  query.append(CanonicalQuery(parts.query, variance));
  std::string text(parts.path);
  text.append("\n?");
  AppendSized(text, query);
  text.append(parts.rest);
  return text;
}

std::string PathOfKey(std::string_view key) {
  const KeyParts parts = SplitKey(key);
  return std::string(parts.path).append(parts.rest);
}

}  // namespace satchel::cache
