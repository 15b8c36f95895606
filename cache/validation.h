#pragma once

#include <optional>
#include <string_view>

#include "cache/base/clock.h"
#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/response_facts.h"

namespace satchel::cache {

// What the preconditions and the range of a request make of a stored complete response
// (RFC 9110 13.2.2, 14.2).
enum class Precondition : uint8_t { kSendFull, kNotModified };

// Evaluates If-None-Match, else If-Modified-Since, against stored fields (9111 4.3.2). For GET
// and HEAD only. `received` stands in where the response has neither Last-Modified nor Date.
Precondition EvaluatePreconditions(const RequestHead& request, const HeaderMap& stored_fields,
                                   uint16_t stored_status, Time received);

// Weak comparison of entity tags (RFC 9110 8.8.3.2), each as it stands in its field.
bool WeakMatch(std::string_view a, std::string_view b);
bool StrongMatch(std::string_view a, std::string_view b);

// Turns a client's request into the one that validates `stored_fields` at the origin (4.3.1): its
// If-None-Match, If-Modified-Since, If-Match, If-Unmodified-Since, If-Range and Range go, the
// stored validators come, byte for byte. Returns false, and only removes, if there is no validator.
bool MakeConditional(RequestHead& request, const HeaderMap& stored_fields);

// Merges a 304 into stored fields (3.2, 4.3.4): each field of the 304 replaces the stored lines
// of that name, except Content-Length, Content-Encoding, Content-Range and the others
// that describe the stored bytes, and hop-by-hop fields.
HeaderMap MergeNotModified(const HeaderMap& stored_fields, const HeaderMap& not_modified_fields);

// Does a 304 speak of this stored response (4.3.4)? Strong validator equal, or weak validators
// equal, or the 304 has none and the stored one is the only candidate.
bool NotModifiedSelects(const HeaderMap& stored_fields, const HeaderMap& not_modified_fields);

// After a HEAD was forwarded: does its answer still describe the stored GET (4.3.5)? If so the
// stored fields are updated from it, else the stored response is invalid.
bool HeadConfirms(const HeaderMap& stored_fields, uint64_t stored_length,
                  const HeaderMap& head_fields);

// The fields of a 304 made from a stored response (RFC 9110 15.4.5).
bool BelongsInNotModified(FieldId id);

}  // namespace satchel::cache
