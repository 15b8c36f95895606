#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache/base/clock.h"
#include "cache/reason.h"

namespace satchel::cache {

// What our member of Cache-Status says (RFC 9211 2).
struct CacheStatus {
  enum class Forward : uint8_t {
    kNone,  // a hit
    kUriMiss,
    kVaryMiss,
    kMiss,
    kStale,
    kRequest,
    kMethod,
    kBypass,
    kPartial,
  };
  bool hit = false;
  Forward forward = Forward::kNone;
  std::optional<uint16_t> forward_status;
  std::optional<Millis> ttl;  // remaining lifetime, negative when stale
  bool stored = false;
  bool collapsed = false;
  std::string_view tier;  // "l1", "l2" or empty; goes into detail
  Reason reason = Reason::kNone;
};

CacheStatus::Forward ForwardFor(Reason reason);

// Appends `Satchel; hit; ttl=30; detail=fresh` and the like to `out`. No allocation beyond `out`'s.
void AppendCacheStatus(std::string& out, const CacheStatus& status);

}  // namespace satchel::cache
