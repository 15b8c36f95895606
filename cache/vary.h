#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "cache/overrides.h"

namespace satchel::cache {

// The request fields that selected a stored response (RFC 9111 4.1).
struct VarySpec {
  bool star = false;               // "*": never selected
  std::vector<std::string> names;  // lower case, sorted, unique
  bool empty() const { return !star && names.empty(); }
  bool operator==(const VarySpec&) const = default;
};

VarySpec ParseVary(const HeaderMap& response_fields);

// The nominated fields of a request as one canonical text: equal texts mean that the stored
// response is selected. Lines combined, white space normalised, Accept-Language lower-cased and
// ordered, rule normalisation applied; an absent field differs from an empty one.
std::string VaryValues(const VarySpec& spec, const RequestHead& request,
                       const Overrides& overrides);

// Fields that have these values: a request with them selects what `values`, made for `spec`, stands
// for. nullopt if it is no such text.
std::optional<HeaderMap> SelectingFields(const VarySpec& spec, std::string_view values);

// Does the stored response with these values answer the request (4.1)? Equal texts do; so does a
// stored Content-Language that is the request's single most preferred language, if all other
// nominated fields agree. `content_language` is the stored field's value, empty if there is none.
bool Selects(const VarySpec& spec, std::string_view stored_values,
             std::string_view content_language, const RequestHead& request,
             const Overrides& overrides);

// The value that a rule's normalisation gives a request field: the listed value the client likes
// best, the earlier one among equals, "" if none will do. nullopt if the rule says nothing about
// this field or the request does not have it. Sent to the origin in place of the client's own, or
// the answer would depend on who asked first.
std::optional<std::string> NormalizedValue(std::string_view name, const RequestHead& request,
                                           const Overrides& overrides);

}  // namespace satchel::cache
