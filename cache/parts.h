#pragma once

#include <cstdint>
#include <optional>

#include "cache/body.h"
#include "cache/http/message.h"
#include "cache/stored_response.h"

namespace satchel::cache {

// Fills in what a single-part 206 that MayStore() passed holds of its whole; one that holds
// everything becomes the whole, a 200 (RFC 9111 3.4). `parts` has the fields and facts already.
// Returns the length that the body must have, nullopt if there is no telling.
std::optional<uint64_t> DescribePart(const ResponseHead& answer, StoredResponse::Parts& parts);

// What two stored parts (206) make together (RFC 9111 3.4, RFC 9110 15.3.7.3): they must have the
// same strong entity tag and complete length, and overlap or touch. The fields and facts are those
// of `newer`, over what only `older` had. The result is a part again or, if nothing is missing, the
// whole, a 200. Null if they are not to be combined. Bodies are shared, not copied, where whole
// segments are used.
StoredPtr CombineParts(const StoredResponse& older, const StoredResponse& newer);

// The beginning of a response that was cut short, as the part it is (RFC 9111 3.3). `head` is the
// head of a 200 with a strong entity tag, `body` what came of `complete_length` bytes. Null if it
// may not be kept so.
StoredPtr PrefixOf(const StoredResponse& head, Body body, uint64_t complete_length);

}  // namespace satchel::cache
