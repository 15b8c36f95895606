#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace satchel::redis {

// Paths of which the shared tier knew no search variance a moment ago, so that the next queries
// need not ask again. A bounded table in which a newer path takes an older one's place; it knows
// paths by a hash and may be wrong: what it costs is a fetch.
class PathMemory {
 public:
  static constexpr int64_t kFor = 10'000;  // milliseconds

  explicit PathMemory(size_t capacity = 4096) : places_(capacity) {}  // a power of two

  bool Contains(uint64_t hash, int64_t now_ms) const {
    const Place& place = places_[hash & (places_.size() - 1)];
    return place.until_ms > now_ms && place.hash == hash;
  }
  void Remember(uint64_t hash, int64_t now_ms) {
    places_[hash & (places_.size() - 1)] = {hash, now_ms + kFor};
  }
  void Forget(uint64_t hash) {
    Place& place = places_[hash & (places_.size() - 1)];
    if (place.hash == hash) place = {};
  }

 private:
  struct Place {
    uint64_t hash = 0;
    int64_t until_ms = 0;
  };
  std::vector<Place> places_;
};

}  // namespace satchel::redis
