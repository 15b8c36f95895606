#include "proxy/redis/lease.h"

#include "proxy/redis/lua/claim.lua.h"
#include "proxy/redis/lua/lease.lua.h"

namespace satchel::redis {

const Script& LeaseScript() {
  static const Script script(lua::kLease);
  return script;
}

const Script& ClaimScript() {
  static const Script script(lua::kClaim);
  return script;
}

}  // namespace satchel::redis
