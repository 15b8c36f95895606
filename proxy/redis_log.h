#pragma once

#include <string>

#include "proxy/redis/connect.h"

namespace satchel::proxy {

// Writes what becomes of connections to Redis into the log for operators. `url` stands where the
// server is not known by its address.
redis::OnNodeEvent LogRedisEvents(std::string url);

}  // namespace satchel::proxy
