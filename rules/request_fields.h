#pragma once

#include <string>
#include <string_view>

#include "cache/http/message.h"
#include "rules/path.h"

namespace satchel::rules {

// Calls `use(value)` for every query parameter of that name until it returns false; returns
// whether it did. Names and values are percent-decoded once; a part with an invalid escape counts
// as written. Allocates only where something is escaped.
template <typename Use>
bool ForEachQueryValue(const cache::RequestHead& request, std::string_view name, Use use) {
  std::string_view rest = request.query();
  const auto decoded = [](std::string_view text, std::string* memory) -> std::string_view {
    if (text.find('%') == std::string_view::npos) return text;
    auto plain = PercentDecode(text);
    if (!plain) return text;
    *memory = std::move(*plain);
    return *memory;
  };
  while (!rest.empty()) {
    const size_t end = rest.find('&');
    const std::string_view part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const size_t equals = part.find('=');
    std::string name_memory;
    if (decoded(part.substr(0, equals), &name_memory) != name) continue;
    std::string value_memory;
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
    if (!use(decoded(value, &value_memory))) return true;
  }
  return false;
}

// The same for cookies (RFC 6265 4.2.1); names are case-sensitive, values as sent.
template <typename Use>
bool ForEachCookieValue(const cache::RequestHead& request, std::string_view name, Use use) {
  if (!request.fields.Has(cache::FieldId::kCookie)) return false;
  for (const auto field : request.fields) {
    if (field.id != cache::FieldId::kCookie) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t end = rest.find(';');
      const std::string_view part = cache::TrimOws(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      const size_t equals = part.find('=');
      if (equals == std::string_view::npos || part.substr(0, equals) != name) continue;
      if (!use(part.substr(equals + 1))) return true;
    }
  }
  return false;
}

}  // namespace satchel::rules
