#include "cache/invalidation.h"

#include <algorithm>

#include "cache/http/structured.h"
#include "cache/http/uri.h"

namespace satchel::cache {
namespace {

bool Invalidates(const RequestHead& request, const ResponseHead& response) {
  return !IsSafe(request.method) && !request.read_by_rule && response.status >= 200 && response.status < 400;
}

std::vector<std::string> Strings(const HeaderMap& fields, FieldId id) {
  std::vector<std::string> out;
  const std::optional<std::string> joined = fields.Joined(id);
  if (!joined) return out;
  const std::optional<sf::List> list = sf::ParseList(*joined);
  if (!list) return out;
  for (const sf::Member& member : *list) {
    const sf::Item* item = std::get_if<sf::Item>(&member);
    const auto* text = item == nullptr ? nullptr : std::get_if<std::string>(&item->value);
    // RFC 9875 2: a list of strings, or nothing.
    if (text == nullptr) return {};
    if (std::find(out.begin(), out.end(), *text) == out.end()) out.push_back(*text);
  }
  return out;
}

}  // namespace

std::vector<InvalidTarget> InvalidatedBy(const RequestHead& request, const ResponseHead& response) {
  std::vector<InvalidTarget> out;
  if (!Invalidates(request, response)) return out;
  const HttpUri own{request.scheme, request.authority, request.target};
  out.push_back({own.scheme, own.authority, own.target});
  for (const FieldId id : {FieldId::kLocation, FieldId::kContentLocation}) {
    const std::optional<std::string_view> reference = response.fields.First(id);
    if (!reference) continue;
    const std::optional<HttpUri> uri = ResolveReference(own, TrimOws(*reference));
    if (!uri || !SameOrigin(*uri, own)) continue;
    const bool known = std::any_of(out.begin(), out.end(), [&](const InvalidTarget& target) {
      return target.target == uri->target;
    });
    if (!known) out.push_back({uri->scheme, uri->authority, uri->target});
  }
  return out;
}

std::vector<std::string> InvalidatedGroups(const RequestHead& request,
                                           const ResponseHead& response) {
  if (!Invalidates(request, response)) return {};
  return Strings(response.fields, FieldId::kCacheGroupInvalidation);
}

std::vector<std::string> GroupsOf(const HeaderMap& response_fields) {
  return Strings(response_fields, FieldId::kCacheGroups);
}

}  // namespace satchel::cache
