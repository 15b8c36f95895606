#include "proxy/net/backoff.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace satchel::net {

int64_t Backoff::Next() {
  // The power stays finite whatever the number of attempts.
  const double grown = static_cast<double>(options_.first_ms) *
                       std::pow(options_.factor, std::min<uint32_t>(attempts_, 64));
  if (attempts_ < 64) ++attempts_;
  const double capped = std::min(grown, static_cast<double>(options_.max_ms));
  const double wait = capped * (1 - options_.jitter * random_());
  return std::max<int64_t>(1, static_cast<int64_t>(wait));
}

double RandomUnit() {
  thread_local std::mt19937_64 generator{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(generator);
}

}  // namespace satchel::net
