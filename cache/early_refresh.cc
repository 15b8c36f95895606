#include "cache/early_refresh.h"

#include <algorithm>
#include <cmath>

namespace satchel::cache {

bool RefreshesEarly(const ResponseFacts& facts, Millis left, double random,
                    const Overrides& overrides) {
  if (!NearsExpiry(facts, left, overrides)) return false;
  const double draw = std::min(-std::log1p(-random), kLongestDraw);
  const double ahead = static_cast<double>(UnpackFetchTime(facts.fetch_time).count()) *
                       EarlyRefreshWeight(facts, overrides) * draw;
  return ahead >= static_cast<double>(left.count());
}

}  // namespace satchel::cache
