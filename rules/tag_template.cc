#include "rules/tag_template.h"

#include <algorithm>
#include <utility>

#include "rules/request_fields.h"
#include "rules/rule_set.h"

namespace satchel::rules {
namespace {

using Source = TagTemplate::Source;

bool IsCaptureName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::expected<TagTemplate::Part, std::string> Variable(std::string_view name) {
  constexpr std::pair<std::string_view, Source> kPrefixes[] = {
      {"query.", Source::kQuery},
      {"request.header.", Source::kRequestHeader},
      {"response.header.", Source::kResponseHeader}};
  if (name == "host") return TagTemplate::Part{Source::kHost, ""};
  for (const auto& [prefix, source] : kPrefixes) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view rest = name.substr(prefix.size());
    const bool good = source == Source::kQuery ? !rest.empty() : cache::IsToken(rest);
    if (good) return TagTemplate::Part{source, std::string(rest)};
  }
  if (IsCaptureName(name)) return TagTemplate::Part{Source::kCapture, std::string(name)};
  return std::unexpected("has {" + std::string(name) +
                         "}, which is no variable; write {name} as in match.path, {query.NAME}, "
                         "{request.header.NAME}, {response.header.NAME} or {host}");
}

}  // namespace

std::expected<TagTemplate, std::string> TagTemplate::Compile(std::string_view text) {
  TagTemplate made;
  made.text_ = text;
  if (text.empty()) return std::unexpected("is empty; write a name, for example product:{id}");
  if (std::any_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return std::unexpected("holds a control character; write visible characters only");
  }
  while (!text.empty()) {
    const size_t open = std::min(text.find('{'), text.size());
    if (open > 0) {
      if (text.substr(0, open).find('}') != std::string_view::npos) {
        return std::unexpected("has } without {; write {name}");
      }
      made.parts_.push_back({Source::kLiteral, std::string(text.substr(0, open))});
      text.remove_prefix(open);
      continue;
    }
    const size_t close = text.find('}');
    if (close == std::string_view::npos) return std::unexpected("has { without }; write {name}");
    auto part = Variable(text.substr(1, close - 1));
    if (!part) return std::unexpected(std::move(part.error()));
    made.parts_.push_back(std::move(*part));
    text.remove_prefix(close + 1);
  }
  return made;
}

bool TagTemplate::Fill(const cache::RequestHead& request, const Captures& captures,
                       const cache::HeaderMap* response, std::string* out) const {
  const auto lookup = [&](Source source, const std::string& name, std::string* value) {
    switch (source) {
      case Source::kCapture:
        if (const std::string* found = captures.Find(name)) *value = *found;
        return true;
      case Source::kQuery:
        return ForEachQueryValue(request, name, [value](std::string_view first) {
          *value = first;
          return false;
        }) || !value->empty();
      case Source::kRequestHeader:
        *value = request.fields.Joined(name).value_or("");
        return true;
      case Source::kResponseHeader:
        if (response != nullptr) *value = response->Joined(name).value_or("");
        return true;
      case Source::kHost:
        *value = request.authority;
        return true;
      case Source::kLiteral:
        break;
    }
    return false;
  };
  return Fill(lookup, out);
}

}  // namespace satchel::rules
