#include "rules/warm_fields.h"

#include <algorithm>
#include <array>

#include "cache/http/field_id.h"
#include "cache/http/message.h"

namespace satchel::rules {
namespace {

constexpr std::array<std::string_view, 23> kRefused = {
    "authorization", "cache-control", "connection",        "cookie",     "cookie2",       "date",
    "early-data",    "expect",        "forwarded",         "from",       "host",          "keep-alive",
    "max-forwards",  "pragma",        "range",             "set-cookie", "te",            "trailer",
    "transfer-encoding", "upgrade",   "via",               "http2-settings", "x-api-key"};
constexpr std::array<std::string_view, 7> kRefusedFamilies = {
    "proxy-", "if-", "content-", "x-forwarded-", "sec-", "x-real-", "x-http-method"};

}  // namespace

std::optional<std::string> WarmFieldMistake(std::string_view name) {
  if (!cache::IsToken(name)) return "is no field name; write letters, digits and hyphens only";
  const auto is = [&](std::string_view word) { return cache::EqualsIgnoreCase(name, word); };
  const auto begins = [&](std::string_view family) {
    return cache::EqualsIgnoreCase(name.substr(0, family.size()), family);
  };
  if (std::ranges::any_of(kRefused, is) || std::ranges::any_of(kRefusedFamilies, begins)) {
    return "may not be sent to warm by; write fields that answers are selected by, as Accept-Language";
  }
  return std::nullopt;
}

}  // namespace satchel::rules
