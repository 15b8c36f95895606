#pragma once

#include "proxy/redis/resp.h"

namespace satchel::redis {

// One of many may act for all while it holds a lease. Key: the lease; arguments: who, for how many
// milliseconds. Replies 1 if it is theirs now.
const Script& LeaseScript();

}  // namespace satchel::redis
