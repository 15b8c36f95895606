#include "proxy/redis/vary_memory.h"

namespace satchel::redis {

VaryMemory::VaryMemory(size_t capacity) : places_(capacity) {}

const cache::VarySpec* VaryMemory::Find(uint64_t hash) const {
  const Place& place = places_[hash & (places_.size() - 1)];
  return place.hash == hash && !place.vary.names.empty() ? &place.vary : nullptr;
}

void VaryMemory::Remember(uint64_t hash, const cache::VarySpec& vary) {
  size_t bytes = 0;
  for (const std::string& name : vary.names) bytes += name.size();
  if (vary.star || vary.names.size() > kMaxNames || bytes > kMaxNameBytes) {
    Forget(hash);
    return;
  }
  Place& place = At(hash);
  if (place.hash == hash && place.vary == vary) return;
  place = {hash, vary};
}

void VaryMemory::Forget(uint64_t hash) {
  Place& place = At(hash);
  if (place.hash == hash) place = {};
}

}  // namespace satchel::redis
