#pragma once

#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/storability.h"
#include "cache/stored_response.h"

namespace satchel::cache {

// A request that none of the stored variants was stored for may ask the origin whether one of them
// is its answer all the same (RFC 9111 4.1, 4.3.1). Pure.

// A content coding that the client takes (RFC 9110 12.5.3), each of them if there are several. A
// request that does not say what it takes gets no coding.
bool AcceptsCodings(const RequestHead& request, std::string_view content_encoding);

// Those of a URI's variants that may be asked for: complete, with an entity tag, in a coding that
// the client takes. None for a request with conditions or a range of its own. Left out are variants
// selected by Cookie or Authorization, whose bytes are one user's, and weak tags unless
// only the coding varies: other representations may share them (8.8.1). At most 16.
std::vector<StoredPtr> NameableVariants(const RequestHead& request, std::vector<StoredPtr> stored);

// Adds their entity tags to a request without conditions, as If-None-Match.
void NameVariants(RequestHead& request, const std::vector<StoredPtr>& variants);

// The variant that a 304 speaks of (9111 4.3.4), of several the most recent; null if it is none.
StoredPtr VariantNamedBy(const HeaderMap& not_modified_fields,
                         const std::vector<StoredPtr>& variants);

// `old` as an update (a 304, a HEAD) to `request` left it. It varies on what the updated fields
// name, by the values of `request` if that is new, or if it is stored `for_request` in the first
// place.
StoredPtr WithUpdate(const StoredResponse& old, const UpdateResult& update,
                     const RequestHead& request, const Overrides& overrides,
                     StoredResponse::Update with, bool for_request = false);

}  // namespace satchel::cache
