#pragma once

#include "proxy/redis/resp.h"

namespace satchel::redis {

// One of many may act for all while it holds a lease. Key: the lease; arguments: who, for how many
// milliseconds. Replies 1 if it is theirs now.
const Script& LeaseScript();

// One of many does something once. Key: the deed; arguments: who, for how many milliseconds, "take" or
// "done". Replies 1: theirs to do, 0: another is at it, 2: it has been done. Who takes it and does not
// say "done" within that time loses it to another.
const Script& ClaimScript();

}  // namespace satchel::redis
