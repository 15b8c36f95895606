#pragma once

#include <cstdint>

#include "cache/base/clock.h"
#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/reason.h"
#include "cache/response_facts.h"

namespace satchel::cache {

// What to do with a request.
enum class Action : uint8_t {
  kServe,                 // the stored response answers
  kServeStaleAndRefresh,  // it answers now, one refresh runs in the background (RFC 5861 3)
  kRevalidate,            // ask the origin with the stored validators (4.3.1)
  kFetch,                 // ask the origin; the answer may be stored
  kBypass,                // forward; neither lookup nor storing
  kGatewayTimeout,        // only-if-cached and nothing to give: 504 (5.2.1.7)
};

struct Decision {
  Action action = Action::kFetch;
  Reason reason = Reason::kNone;
  bool may_store = true;     // false: request no-store; the answer must not be kept
  bool may_collapse = true;  // false: must not wait for another request's fetch, nor lead one
  // May read along with a fetch of the whole that is under way, though its own answer would be
  // no other's: a range, a condition.
  bool may_follow = false;
};

// Decides for any request. `stored` is the response that the request selects (4.1), null if none.
// `other_variants`: the key has stored responses, but none that this request selects. `part_holds`:
// a stored 206 holds what is asked for (3.3, EvaluateStoredPart). Pure.
Decision Decide(const RequestHead& request, const ResponseFacts* stored, bool other_variants,
                Time now, const Overrides& overrides, bool part_holds = true);

// May the stored response stand in for an answer the origin could not give? `reached` is false if
// no response came at all; `status` is the origin's when it came (RFC 5861 4, 9111 4.2.4).
// Returns kNone if not, else the reason that allows it.
Reason MayServeOnError(const RequestHead& request, const ResponseFacts& stored, Time now,
                       bool reached, uint16_t status, const Overrides& overrides);

// May a request that waited for another's fetch have its answer? Not if the answer has to be
// validated before it is used again (RFC 9111 4).
bool MayCollapseOn(const ResponseFacts& facts, Time now);

// True for requests that need no thought: a GET or HEAD without any field that could change what
// a fresh stored response means. The caller may then serve a fresh response at once.
bool IsPlainLookup(const RequestHead& request);

}  // namespace satchel::cache
