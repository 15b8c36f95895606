#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "cache/overrides.h"

namespace satchel::cache {

// The request fields that selected a stored response (RFC 9111 4.1).
struct VarySpec {
  bool star = false;                // "*": never selected
  std::vector<std::string> names;   // lower case, sorted, unique
  bool empty() const { return !star && names.empty(); }
  bool operator==(const VarySpec&) const = default;
};

VarySpec ParseVary(const HeaderMap& response_fields);

// The nominated fields of a request as one canonical text: equal texts mean that the stored
// response is selected. Lines combined, white space normalised, Accept-Language lower-cased and
// ordered, rule normalisation applied; an absent field differs from an empty one.
std::string VaryValues(const VarySpec& spec, const RequestHead& request,
                       const Overrides& overrides);

}  // namespace satchel::cache
