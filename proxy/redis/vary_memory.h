#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache/vary.h"

namespace satchel::redis {

// By which request fields the responses of a URL were last seen to be selected, so that one read
// goes straight to the variant. A bounded table in which a newer URL takes an older one's place; it
// knows URLs by a hash and may be wrong: it tells where to look first, never what is there.
class VaryMemory {
 public:
  explicit VaryMemory(size_t capacity = 4096);  // a power of two

  const cache::VarySpec* Find(uint64_t hash) const;  // null: not known; valid until a change
  void Remember(uint64_t hash, const cache::VarySpec& vary);
  void Forget(uint64_t hash);

 private:
  static constexpr size_t kMaxNames = 16;       // of one URL
  static constexpr size_t kMaxNameBytes = 512;  // all of them together

  struct Place {
    uint64_t hash = 0;
    cache::VarySpec vary;  // without names: free
  };
  Place& At(uint64_t hash) { return places_[hash & (places_.size() - 1)]; }

  std::vector<Place> places_;
};

}  // namespace satchel::redis
