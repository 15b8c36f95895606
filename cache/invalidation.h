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

// The groups of the request's origin whose responses an answer invalidates (RFC 9875 3): none for
// safe methods and errors. Names are those of one origin: the same word elsewhere is another group.
std::vector<std::string> InvalidatedGroups(const RequestHead& request,
                                           const ResponseHead& response);

// The groups a response belongs to (RFC 9875 2); at most sf::kMaxMembers.
std::vector<std::string> GroupsOf(const HeaderMap& response_fields);

}  // namespace satchel::cache
