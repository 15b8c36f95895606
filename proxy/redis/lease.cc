#include "proxy/redis/lease.h"

#include "proxy/redis/lua/lease.lua.h"

namespace satchel::redis {

const Script& LeaseScript() {
  static const Script script(lua::kLease);
  return script;
}

}  // namespace satchel::redis
