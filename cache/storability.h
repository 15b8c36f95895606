#pragma once

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

// May a shared cache store this answer, and what are its freshness facts (RFC 9111 3, 4.2)?
// `request_time` is when the request was sent, `response_time` when the head arrived.
// `random` in [0, 1) drives the jitter. A 206 passes only if it is a single well-formed part (3.3).
// Pure.
StoreVerdict MayStore(const RequestHead& request, const ResponseHead& response,
                      Time request_time, Time response_time, double random,
                      const Overrides& overrides);

// The field lines that may be kept: without hop-by-hop fields and those Connection names
// (3.1), Age (it becomes a number in the facts), rate limit fields, and fields that a qualified
// no-cache or private names (5.2.2.4, 5.2.2.7). Adds Date if there was none (RFC 9110 6.6.1).
HeaderMap StoredFields(const ResponseHead& response, Time response_time,
                       const Overrides& overrides);

// The fields every hop removes, both ways (RFC 9110 7.6.1): Connection and what it names,
// Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade. A sender can't
// remove fields that security or framing rests on (Host, Content-Length, X-Forwarded-*, ...).
void RemoveHopByHop(HeaderMap& fields);

}  // namespace satchel::cache
