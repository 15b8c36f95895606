#pragma once

#include "cache/http/message.h"

namespace satchel::cache {

// Guards against answers that one client provokes and others would get.

// True if the answer with this status may be owed to what is unusual in the request rather than to
// the resource: an error that limits, conditions, a Range or a method override can cause.
bool MayBeOfOwnMaking(const RequestHead& request, uint16_t status);

// True if the last path segment ends like a static file (".css", ".png") while the answer is HTML
// or JSON: the mark of cache deception, where a private page is fetched under a public name.
bool IsDeceptive(const RequestHead& request, const ResponseHead& response);

}  // namespace satchel::cache
