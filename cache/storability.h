#pragma once

#include <span>
#include <string>

#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/reason.h"
#include "cache/response_facts.h"

namespace satchel::cache {

struct StoreVerdict {
  bool store = false;
  bool shareable = false;  // followers of the same fetch may have it too
  Reason reason = Reason::kNone;
  ResponseFacts facts;  // filled when `store`
};

// May a shared cache store this answer, and what are its freshness facts (RFC 9111 3, 4.2)? A 200
// to POST passes if it says that it is the representation of the request URI (RFC 9110 9.3.3): it
// is then stored as the answer to GET, after what it invalidates went. `request_time` is when the
// request was sent, `response_time` when the head arrived. `random` in [0, 1) drives the jitter. A
// 206 passes only if it is a single well-formed part (3.3). Pure.
StoreVerdict MayStore(const RequestHead& request, const ResponseHead& response, Time request_time,
                      Time response_time, double random, const Overrides& overrides);

// The field lines that may be kept: without hop-by-hop fields and those Connection names
// (3.1), Age (it becomes a number in the facts), rate limit fields, and fields that a qualified
// no-cache or private names (5.2.2.4, 5.2.2.7). Adds Date if there was none (RFC 9110 6.6.1).
// `facts`, if MayStore() has made them of the same head, spare reading its directives again.
HeaderMap StoredFields(const ResponseHead& response, Time response_time,
                       const Overrides& overrides,
                       const ResponseFacts* facts = nullptr);

// The fields every hop removes, both ways (RFC 9110 7.6.1): Connection and what it names,
// Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade. A sender can't
// remove fields that security or framing rests on (Host, Content-Length, X-Forwarded-*, ...).
// `also_kept`: further names that Connection can't remove, such as the field of the API key.
// True if there is anything that RemoveHopByHop might take.
bool HasHopByHop(const HeaderMap& fields);
void RemoveHopByHop(HeaderMap& fields, std::span<const std::string> also_kept = {});

// Takes away what means nothing, or something dangerous, in a trailer section (RFC 9110 6.5.1):
// framing, routing, authentication, what the cache decides by, and hop-by-hop fields.
void RemoveForbiddenTrailers(HeaderMap& trailers);

// A stored response brought up to date by a 304 (RFC 9111 3.2, 4.3.4) or by the 200 to a HEAD that
// HeadConfirms (4.3.5). The clock restarts from the update's times, Date and Age. The caller has
// checked that the update speaks of this response. If the verdict is not to store, the fields
// still answer this request, with the facts of the verdict (of lifetime 0, but of the true age),
// and the stored response has to go (kRequestNoStore: it stays as it was).
struct UpdateResult {
  HeaderMap fields;
  StoreVerdict verdict;
};
UpdateResult UpdateStored(const RequestHead& request, const HeaderMap& stored_fields,
                          const ResponseFacts& stored, const ResponseHead& update,
                          Time request_time, Time response_time, double random,
                          const Overrides& overrides);

}  // namespace satchel::cache
