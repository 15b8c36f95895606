#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "rules/api_keys.h"
#include "rules/ip_address.h"
#include "rules/rule.h"

namespace satchel::rules {

// At most `limit` units in any stretch of time of length `window`.
struct RateWindow {
  std::string name;  // [A-Za-z0-9_-]{1,32}, unique within its plan; stands in RateLimit fields
  uint64_t limit = 0;
  std::chrono::microseconds window{0};
  bool operator==(const RateWindow&) const = default;
};

struct Plan {
  std::string name;                 // empty: written inline in the policy
  std::vector<RateWindow> windows;  // 1 to 8
  std::string file;                 // where it stands
  uint32_t line = 0;
  bool operator==(const Plan&) const = default;
};

// Who is counted, and what happens when the request does not say.
struct Identify {
  enum class By : uint8_t { kHeader, kQuery, kCookie, kClientIp };
  enum class Missing : uint8_t { kUnauthorized, kByIp, kSkip };
  By by = By::kClientIp;
  std::string name;  // of the header, query parameter or cookie
  Missing missing = Missing::kUnauthorized;
};

enum class CountWhat : uint8_t { kAll, kOrigin };  // kOrigin: cache hits are free
enum class StoreDown : uint8_t { kLocalShare, kOpen, kClosed };
enum class LimitMode : uint8_t { kEnforce, kShadow };  // kShadow: count and report, never refuse

// The first entry whose `match` holds decides how many units a request costs.
struct CostRule {
  MatchSpec match;
  uint32_t units = 1;  // 1 to 1,000,000
};

// One entry of `rate_limits:`. Const once a RuleSet owns it; readable by any thread.
struct RateLimitPolicy {
  std::string name;
  uint32_t index = 0;
  std::string file;
  uint32_t line = 0;
  MatchSpec match;
  Identify identify;
  std::vector<Plan> plans;  // the one written inline, or all of the configuration
  // Plan of a request whose key names none: of the inline limits 0. Absent: an unlisted key is
  // refused like a missing one.
  std::optional<uint32_t> default_plan;
  std::shared_ptr<const ApiKeys> keys;  // null if no keys are listed
  uint32_t cost = 1;                    // where no entry of `costs` matches
  std::vector<CostRule> costs;
  CountWhat count = CountWhat::kAll;
  StoreDown store_down = StoreDown::kLocalShare;
  LimitMode mode = LimitMode::kEnforce;
  bool ietf_headers = true;    // RateLimit and RateLimit-Policy
  bool legacy_headers = true;  // X-RateLimit-*
};

// Who this request belongs to under one policy.
struct Identity {
  enum class Outcome : uint8_t {
    kKnown,         // count it: `plan` and `id` are set
    kUnauthorized,  // answer 401
    kSkip,          // this policy does not apply
  };
  Outcome outcome = Outcome::kSkip;
  const Plan* plan = nullptr;  // owned by the policy
  std::array<char, 22> id{};   // base64url of the first 128 bits of a SHA-256; holds no secret
  std::string_view owner;      // from the key list, for logs; empty if unknown. The policy's.
  bool by_ip = false;
  std::string_view id_text() const { return {id.data(), id.size()}; }
};

// SHA-256 of some bytes. Passed in, because this folder links no cryptography.
using Sha256 = std::array<uint8_t, 32> (*)(std::string_view bytes);

// Pure. `client` is the address after X-Forwarded-For of trusted proxies has been applied. An
// IPv6 client is counted by its /64. The key's quota belongs to its owner: two keys of one owner
// share an identity. A field sent several times with different values is unauthorized.
Identity FindIdentity(const RateLimitPolicy& policy, const cache::RequestHead& request,
                      const IpAddress& client, Sha256 sha256);

// 22 characters of base64url: the first 16 bytes of sha256(bytes).
std::array<char, 22> IdentityHash(std::string_view bytes, Sha256 sha256);

}  // namespace satchel::rules
