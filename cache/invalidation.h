#pragma once

#include <string>
#include <vector>

#include "cache/http/message.h"

namespace satchel::cache {

// An absolute URI that an answer invalidates, in the parts that keys are made of.
struct InvalidTarget {
  std::string scheme;
  std::string authority;
  std::string target;
};

// What a final answer to a request invalidates (RFC 9111 4.4): nothing for safe methods and for
// errors, else the request's own URI and those in Location and Content-Location if same-origin.
std::vector<InvalidTarget> InvalidatedBy(const RequestHead& request, const ResponseHead& response);

}  // namespace satchel::cache
