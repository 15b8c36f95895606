#include "cache/cache_control.h"

#include "cache/http/fields.h"
#include "cache/http/message.h"
#include "cache/http/structured.h"

namespace satchel::cache {
namespace {

using std::chrono::seconds;

// One member of Cache-Control: name[=argument], the argument without its quotes.
struct Directive {
  std::string_view name;
  bool has_argument = false;
  std::string_view argument;
  std::string unquoted;  // what `argument` looks at if it was quoted
};

// The text of a quoted-string (RFC 9110 5.6.4); nullopt if it is none.
std::optional<std::string> Unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != '"') return std::nullopt;
  std::string out;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1 == text.size() ? std::optional(out) : std::nullopt;
    if (text[i] == '\\' && ++i == text.size()) return std::nullopt;
    out.push_back(text[i]);
  }
  return std::nullopt;
}

// False for a member whose name is no token; that covers white space before "=". White space
// after it and an argument that is neither token nor quoted-string leave a directive with an
// unusable argument only where something is to the right of "=" at once.
bool ParseDirective(std::string_view member, Directive& out) {
  const size_t equals = member.find('=');
  out.name = member.substr(0, equals);
  out.has_argument = false;
  out.argument = {};
  if (!IsToken(out.name)) return false;
  if (equals == std::string_view::npos) return true;
  out.argument = member.substr(equals + 1);
  if (out.argument.starts_with(' ') || out.argument.starts_with('\t')) return false;
  out.has_argument = true;
  if (!out.argument.starts_with('"')) return true;
  if (auto unquoted = Unquote(out.argument)) {
    out.unquoted = std::move(*unquoted);
    out.argument = out.unquoted;
  }
  return true;
}

// Adds the field names of a qualified directive. False if the list is empty or not a list of names:
// the directive then counts as unqualified, which is the stricter reading.
bool AddFieldNames(std::string_view list, std::vector<std::string>& names) {
  std::vector<std::string> found;
  ListReader reader(list);
  for (std::string_view member; reader.Next(member);) {
    if (!IsToken(member)) return false;
    std::string& name = found.emplace_back(member);
    for (char& c : name) c = ToLowerAscii(c);
  }
  if (found.empty()) return false;
  names.insert(names.end(), found.begin(), found.end());
  return true;
}

// Receives directives in order; both syntaxes end here.
class Collector {
 public:
  explicit Collector(ResponseDirectives& out) : out_(out) {}

  // `list` is the argument of a qualified directive, null for an unqualified one.
  void NoCache(const std::string_view* list) {
    if (list == nullptr || !AddFieldNames(*list, out_.unstored_fields)) out_.no_cache = true;
  }
  void Private(const std::string_view* list) {
    if (list == nullptr || !AddFieldNames(*list, out_.unstored_fields)) out_.is_private = true;
  }
  // Restrictions that hold whatever argument they come with. False if it is none of them.
  bool Restrict(std::string_view name) {
    if (EqualsIgnoreCase(name, "no-store")) {
      out_.no_store = true;
    } else if (EqualsIgnoreCase(name, "must-revalidate")) {
      out_.must_revalidate = true;
    } else if (EqualsIgnoreCase(name, "proxy-revalidate")) {
      out_.proxy_revalidate = true;
    } else {
      return false;
    }
    return true;
  }
  // Arguments of immutable have no meaning (RFC 8246 2); the others take none.
  bool Permit(std::string_view name, bool has_argument) {
    if (EqualsIgnoreCase(name, "immutable")) {
      out_.immutable = true;
    } else if (EqualsIgnoreCase(name, "public")) {
      if (!has_argument) out_.is_public = true;
    } else if (EqualsIgnoreCase(name, "must-understand")) {
      if (!has_argument) out_.must_understand = true;
    } else {
      return false;
    }
    return true;
  }
  // The place of a delta-seconds directive and the bit that says it was seen.
  struct Slot {
    ResponseDirectives::Seconds* value = nullptr;
    unsigned bit = 0;
    bool lifetime = false;
  };
  Slot Find(std::string_view name) {
    if (EqualsIgnoreCase(name, "max-age")) return {&out_.max_age, 1, true};
    if (EqualsIgnoreCase(name, "s-maxage")) return {&out_.s_maxage, 2, true};
    if (EqualsIgnoreCase(name, "stale-while-revalidate")) {
      return {&out_.stale_while_revalidate, 4, false};
    }
    if (EqualsIgnoreCase(name, "stale-if-error")) return {&out_.stale_if_error, 8, false};
    return {};
  }
  void Delta(const Slot& slot, ResponseDirectives::Seconds value) {
    if ((seen_ & slot.bit) != 0) return;
    seen_ |= slot.bit;
    *slot.value = slot.lifetime ? value.value_or(seconds(0)) : value;
  }

 private:
  ResponseDirectives& out_;
  unsigned seen_ = 0;
};

}  // namespace

ResponseDirectives ParseCacheControl(std::string_view joined) {
  ResponseDirectives out;
  Collector collector(out);
  ListReader reader(joined);
  Directive directive;
  for (std::string_view member; reader.Next(member);) {
    if (!ParseDirective(member, directive)) continue;
    const std::string_view* list = directive.has_argument ? &directive.argument : nullptr;
    if (EqualsIgnoreCase(directive.name, "no-cache")) {
      collector.NoCache(list);
    } else if (EqualsIgnoreCase(directive.name, "private")) {
      collector.Private(list);
    } else if (const Collector::Slot slot = collector.Find(directive.name);
               slot.value != nullptr) {
      collector.Delta(slot, ParseDeltaSeconds(directive.argument));
    } else if (!collector.Restrict(directive.name)) {
      collector.Permit(directive.name, directive.has_argument);
    }
  }
  return out;
}

std::optional<ResponseDirectives> ParseTargetedField(std::string_view joined) {
  const std::optional<sf::Dictionary> members = sf::ParseDictionary(joined);
  if (!members || members->empty()) return std::nullopt;
  ResponseDirectives out;
  out.targeted = true;
  Collector collector(out);
  for (const auto& [name, member] : *members) {
    const sf::Item* item = std::get_if<sf::Item>(&member);
    const sf::BareItem* value = item == nullptr ? nullptr : &item->value;
    const bool* boolean = value == nullptr ? nullptr : std::get_if<bool>(value);
    if (const Collector::Slot slot = collector.Find(name); slot.value != nullptr) {
      const int64_t* number = value == nullptr ? nullptr : std::get_if<int64_t>(value);
      if (number == nullptr) {
        if (slot.lifetime) return std::nullopt;
        continue;
      }
      ResponseDirectives::Seconds delta;
      if (*number >= 0) delta = std::min(seconds(*number), kMaxDeltaSeconds);
      collector.Delta(slot, delta);
      continue;
    }
    // "no-store=?0" says in so many words that it does not hold.
    if (boolean != nullptr && !*boolean) continue;
    if (name == "no-cache" || name == "private") {
      std::optional<std::string_view> list;
      if (value != nullptr && boolean == nullptr) {
        const auto* text = std::get_if<std::string>(value);
        const auto* token = std::get_if<sf::Token>(value);
        list = text != nullptr ? *text : token != nullptr ? token->text : std::string_view();
      }
      name == "private" ? collector.Private(list ? &*list : nullptr)
                        : collector.NoCache(list ? &*list : nullptr);
    } else if (!collector.Restrict(name)) {
      collector.Permit(name, boolean == nullptr);
    }
  }
  return out;
}

ResponseDirectives DirectivesInForce(const HeaderMap& response_fields, const Overrides& overrides) {
  for (const std::string& name : overrides.targeted_fields) {
    const std::optional<std::string> value = response_fields.Joined(name);
    if (!value) continue;
    if (std::optional<ResponseDirectives> found = ParseTargetedField(*value)) return *found;
  }
  // One line is the rule: it is read where it stands.
  if (response_fields.Count(FieldId::kCacheControl) == 1) {
    return ParseCacheControl(*response_fields.First(FieldId::kCacheControl));
  }
  const std::optional<std::string> value = response_fields.Joined(FieldId::kCacheControl);
  return value ? ParseCacheControl(*value) : ResponseDirectives();
}

RequestDirectives ParseRequestDirectives(const HeaderMap& request_fields) {
  RequestDirectives out;
  const std::optional<std::string> value = request_fields.Joined(FieldId::kCacheControl);
  if (!value) {
    const std::optional<std::string> pragma = request_fields.Joined(FieldId::kPragma);
    if (!pragma) return out;
    ListReader reader(*pragma);
    for (std::string_view member; reader.Next(member);) {
      if (EqualsIgnoreCase(member, "no-cache")) out.no_cache = true;
    }
    return out;
  }
  ListReader reader(*value);
  Directive directive;
  for (std::string_view member; reader.Next(member);) {
    if (!ParseDirective(member, directive)) continue;
    const auto delta = [&](RequestDirectives::Seconds& slot) {
      if (!slot) slot = ParseDeltaSeconds(directive.argument);
    };
    if (EqualsIgnoreCase(directive.name, "no-cache")) {
      out.no_cache = true;
    } else if (EqualsIgnoreCase(directive.name, "no-store")) {
      out.no_store = true;
    } else if (EqualsIgnoreCase(directive.name, "only-if-cached")) {
      out.only_if_cached = true;
    } else if (EqualsIgnoreCase(directive.name, "max-age")) {
      delta(out.max_age);
    } else if (EqualsIgnoreCase(directive.name, "min-fresh")) {
      delta(out.min_fresh);
    } else if (EqualsIgnoreCase(directive.name, "stale-if-error")) {
      delta(out.stale_if_error);
    } else if (EqualsIgnoreCase(directive.name, "max-stale")) {
      if (directive.has_argument) {
        delta(out.max_stale);
      } else if (!out.max_stale) {
        out.max_stale = RequestDirectives::kUnbounded;
      }
    }
  }
  return out;
}

}  // namespace satchel::cache
