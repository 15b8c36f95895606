#include "cache/vary.h"

#include <algorithm>

#include "cache/http/fields.h"

namespace satchel::cache {
namespace {

constexpr std::string_view kAcceptLanguage = "accept-language";
constexpr std::string_view kAcceptEncoding = "accept-encoding";

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = ToLowerAscii(c);
  return out;
}

// Lines combined, white space around commas dropped; nothing else is touched, empty members
// included: the field may not be a list at all.
std::string Combine(std::string_view joined) {
  std::string out;
  out.reserve(joined.size());
  bool quoted = false;
  size_t start = 0;
  for (size_t i = 0; i < joined.size(); ++i) {
    if (joined[i] == '"') {
      quoted = !quoted;
    } else if (quoted && joined[i] == '\\') {
      ++i;
    } else if (joined[i] == ',' && !quoted) {
      out.append(TrimOws(joined.substr(start, i - start))).push_back(',');
      start = i + 1;
    }
  }
  out.append(TrimOws(joined.substr(start)));
  return out;
}

// Nothing if a member is malformed.
std::vector<Preference> ParsePreferences(std::string_view joined) {
  std::vector<Preference> out;
  ListReader reader(joined);
  for (std::string_view member; reader.Next(member);) {
    const std::optional<Preference> preference = ParsePreference(member);
    if (!preference) return {};
    out.push_back(*preference);
  }
  return out;
}

// Languages ordered by weight, then tag: two clients with the same tastes agree.
std::string CanonicalLanguages(std::string_view joined) {
  const std::string lower = Lower(joined);
  std::vector<Preference> languages = ParsePreferences(lower);
  if (languages.empty()) return Combine(lower);
  std::sort(languages.begin(), languages.end(), [](const Preference& a, const Preference& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.value < b.value;
  });
  std::string out;
  for (const Preference& language : languages) {
    if (!out.empty()) out.push_back(',');
    out.append(language.value);
    if (language.weight != 1000) out.append(";q=").append(std::to_string(language.weight));
  }
  return out;
}

// The language that stands alone at the top, "" if there is none (RFC 9110 12.5.4).
std::string MostPreferredLanguage(const RequestHead& request) {
  const std::optional<std::string> joined = request.fields.Joined(FieldId::kAcceptLanguage);
  if (!joined) return {};
  const std::vector<Preference> languages = ParsePreferences(*joined);
  const Preference* best = nullptr;
  bool tie = false;
  for (const Preference& language : languages) {
    if (best == nullptr || language.weight > best->weight) {
      best = &language;
      tie = false;
    } else if (language.weight == best->weight) {
      tie = true;
    }
  }
  if (best == nullptr || tie || best->weight == 0 || best->value == "*") return {};
  return Lower(best->value);
}

// How much a client likes `value`, in thousandths, by its Accept-* field.
int WeightOf(const std::vector<Preference>& preferences, std::string_view value, bool language) {
  int by_wildcard = 0;
  int best = -1;
  for (const Preference& preference : preferences) {
    if (preference.value == "*") {
      by_wildcard = preference.weight;
      continue;
    }
    // "en-GB" accepts what is told apart as "en" (RFC 4647 3.4).
    const bool prefix = language && preference.value.size() > value.size() &&
                        preference.value[value.size()] == '-' &&
                        EqualsIgnoreCase(preference.value.substr(0, value.size()), value);
    if (prefix || EqualsIgnoreCase(preference.value, value)) {
      best = std::max(best, preference.weight);
    }
  }
  return best >= 0 ? best : by_wildcard;
}

std::string Choose(std::string_view joined, const std::vector<std::string>& values, bool language) {
  const std::vector<Preference> preferences = ParsePreferences(joined);
  int best_weight = 0;
  std::string best;
  for (const std::string& value : values) {
    const int weight = WeightOf(preferences, value, language);
    if (weight > best_weight) {
      best_weight = weight;
      best = value;
    }
  }
  return best;
}

// The canonical value of one nominated field; nullopt if the request does not have it.
std::optional<std::string> ValueOf(const std::string& name, const RequestHead& request,
                                   const Overrides& overrides) {
  if (std::optional<std::string> value = NormalizedValue(name, request, overrides)) return value;
  const std::optional<std::string> joined = request.fields.Joined(name);
  if (!joined) return std::nullopt;
  if (name == kAcceptLanguage) return CanonicalLanguages(*joined);
  if (name == kAcceptEncoding) return Lower(Combine(*joined));
  return Combine(*joined);
}

// `without`: a name that is left out.
std::string Values(const VarySpec& spec, const RequestHead& request, const Overrides& overrides,
                   std::string_view without) {
  std::string out;
  for (const std::string& name : spec.names) {
    if (name == without) continue;
    // Lengths instead of separators: no value can imitate another field.
    out.append(name);
    if (const std::optional<std::string> value = ValueOf(name, request, overrides)) {
      out.push_back('=');
      out.append(std::to_string(value->size())).push_back(':');
      out.append(*value);
    } else {
      out.push_back('!');
    }
    out.push_back('\n');
  }
  return out;
}

// Takes one field off a text made by Values: how long it is, and what the request had. False: it is
// no such text.
struct OneValue {
  size_t size = 0;  // the line break included
  std::optional<std::string_view> value;
};
bool ReadValue(std::string_view values, std::string_view name, OneValue& out) {
  if (!values.starts_with(name)) return false;
  size_t end = name.size();
  out.value.reset();
  if (end < values.size() && values[end] == '=') {
    const size_t colon = values.find(':', end);
    if (colon == std::string_view::npos) return false;
    const std::optional<uint64_t> size = ParseDecimal(values.substr(end + 1, colon - end - 1));
    if (!size || *size > values.size() - colon - 1) return false;
    out.value = values.substr(colon + 1, *size);
    end = colon + 1 + *size;
  } else {
    ++end;
  }
  if (end >= values.size()) return false;
  out.size = end + 1;
  return true;
}

// Cuts the part of `name` out of a text made by Values.
std::string WithoutField(const VarySpec& spec, std::string_view values, std::string_view without) {
  std::string out;
  OneValue one;
  for (const std::string& name : spec.names) {
    if (!ReadValue(values, name, one)) return {};
    if (name != without) out.append(values.substr(0, one.size));
    values.remove_prefix(one.size);
  }
  return out;
}

}  // namespace

VarySpec ParseVary(const HeaderMap& response_fields) {
  VarySpec out;
  if (!response_fields.Has(FieldId::kVary)) return out;
  for (const HeaderMap::Field field : response_fields) {
    if (field.id != FieldId::kVary) continue;
    ListReader reader(field.value);
    for (std::string_view member; reader.Next(member);) {
      if (member == "*")
        out.star = true;
      else
        out.names.push_back(Lower(member));
    }
  }
  std::sort(out.names.begin(), out.names.end());
  out.names.erase(std::unique(out.names.begin(), out.names.end()), out.names.end());
  return out;
}

std::string VaryValues(const VarySpec& spec, const RequestHead& request,
                       const Overrides& overrides) {
  return Values(spec, request, overrides, {});
}

std::optional<HeaderMap> SelectingFields(const VarySpec& spec, std::string_view values) {
  if (spec.star) return std::nullopt;
  HeaderMap fields;
  OneValue one;
  for (const std::string& name : spec.names) {
    if (!ReadValue(values, name, one)) return std::nullopt;
    if (one.value) fields.Add(name, *one.value);
    values.remove_prefix(one.size);
  }
  return fields;
}

bool Selects(const VarySpec& spec, std::string_view stored_values,
             std::string_view content_language, const RequestHead& request,
             const Overrides& overrides) {
  if (spec.star) return false;
  if (VaryValues(spec, request, overrides) == stored_values) return true;
  content_language = TrimOws(content_language);
  if (content_language.empty() ||
      !std::binary_search(spec.names.begin(), spec.names.end(), kAcceptLanguage)) {
    return false;
  }
  if (Lower(content_language) != MostPreferredLanguage(request)) return false;
  const std::string others = Values(spec, request, overrides, kAcceptLanguage);
  return others == WithoutField(spec, stored_values, kAcceptLanguage);
}

std::optional<std::string> NormalizedValue(std::string_view name, const RequestHead& request,
                                           const Overrides& overrides) {
  for (const auto& [field, values] : overrides.normalize) {
    if (!EqualsIgnoreCase(field, name)) continue;
    const std::optional<std::string> joined = request.fields.Joined(field);
    if (!joined) return std::nullopt;
    return Choose(*joined, values, EqualsIgnoreCase(name, kAcceptLanguage));
  }
  return std::nullopt;
}

}  // namespace satchel::cache
