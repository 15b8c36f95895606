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
  std::string_view key;   // text of the CacheKey, left out if empty or longer than kMaxKeyShown
  std::string_view tier;  // "l1", "l2" or empty; goes into detail
  std::string_view rule;  // name of the operator's rule, or empty; goes into detail
  Reason reason = Reason::kNone;

  static constexpr size_t kMaxKeyShown = 256;
};

CacheStatus::Forward ForwardFor(Reason reason);

// Appends `Satchel; hit; ttl=30; key="http://a/b"; detail=fresh/l1:shop` and the like to `out`: in
// `detail` the reason, then the tier behind a slash, then the rule behind a colon. No allocation
// beyond `out`'s.
void AppendCacheStatus(std::string& out, const CacheStatus& status);
// The same where there is room for MostCacheStatusBytes(); returns the end.
char* WriteCacheStatus(char* to, const CacheStatus& status);
size_t MostCacheStatusBytes(const CacheStatus& status);

}  // namespace satchel::cache
