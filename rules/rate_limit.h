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
  std::vector<RateWindow> windows;  // at most 8; none only where `concurrent` limits
  uint32_t concurrent = 0;          // requests under way at once; 0 = any number
  std::string file;                 // where it stands
  uint32_t line = 0;
  bool operator==(const Plan&) const = default;
};

// Who is counted, and what happens when the request does not say.
struct Identify {
  enum class By : uint8_t { kHeader, kQuery, kCookie, kClientIp };
  enum class Missing : uint8_t { kUnauthorized, kByIp, kSkip };
  enum class Unknown : uint8_t { kDefaultPlan, kUnauthorized, kForbidden };
  struct Part {
    By by = By::kClientIp;
    std::string name;  // of the header, query parameter or cookie
    bool operator==(const Part&) const = default;
  };
  // All together are the identity; the first that is no address is the key that `keys` lists.
  // None: everybody is one.
  std::vector<Part> parts;
  Missing missing = Missing::kUnauthorized;
  // Of a key that `keys` does not list. With the default plan, or where there is none 401.
  Unknown unknown = Unknown::kDefaultPlan;

  bool by_address() const { return key_part() == nullptr && !parts.empty(); }
  const Part* key_part() const;  // null: none
};

// What else tells one quota of a client from another.
struct QuotaScope {
  bool host = false;   // each host of its own
  bool rule = false;   // each rule
  bool route = false;  // each path pattern of a rule
  bool operator==(const QuotaScope&) const = default;
};

enum class CountWhat : uint8_t { kAll, kOrigin };  // kOrigin: cache hits are free
enum class StoreDown : uint8_t { kLocalShare, kOpen, kClosed };
enum class LimitMode : uint8_t { kEnforce, kShadow };  // kShadow: count and report, never refuse
enum class ResetForm : uint8_t { kEpoch, kDelta };     // of X-RateLimit-Reset
// What becomes of the origin's own limit fields.
enum class OriginFields : uint8_t { kMerge, kReplace, kKeep };

// The first entry whose `match` holds decides how many units a request costs.
struct CostRule {
  MatchSpec match;
  uint32_t units = 1;  // 1 to 1,000,000
};

// The origin says what its answer cost; what exceeds the units charged before is charged then.
struct CostField {
  std::string name;  // of the field; empty: none
  uint32_t max = 1'000'000;
};

// Who is not limited.
struct Exemptions {
  std::vector<IpPrefix> clients;
  std::vector<std::string> owners;
  std::vector<MatchSpec> matches;
};

// One entry of `rate_limits:`. Const once a RuleSet owns it; readable by any thread.
struct RateLimitPolicy {
  std::string name;
  uint32_t index = 0;
  std::string file;
  uint32_t line = 0;
  MatchSpec match;
  Identify identify;
  QuotaScope per;
  Exemptions exempt;
  std::vector<Plan> plans;  // the one written inline, or all of the configuration
  // Plan of a request whose key names none: of the inline limits 0.
  std::optional<uint32_t> default_plan;
  std::shared_ptr<const ApiKeys> keys;  // null if no keys are listed
  uint32_t cost = 1;                    // where no entry of `costs` matches
  std::vector<CostRule> costs;
  CostField cost_field;
  CountWhat count = CountWhat::kAll;
  StoreDown store_down = StoreDown::kLocalShare;
  LimitMode mode = LimitMode::kEnforce;
  // Who is refused stays refused for at least this long.
  std::chrono::microseconds penalty{0};
  // Slots are taken ahead for a moment where the rate makes it worth while.
  bool lease = false;
  uint32_t max_entries = 4096;  // of one log; a longer one counts in steps of time
  bool ietf_headers = true;     // RateLimit and RateLimit-Policy
  bool legacy_headers = true;   // X-RateLimit-*
  ResetForm reset = ResetForm::kEpoch;
  OriginFields origin_fields = OriginFields::kMerge;
  Millis retry_jitter{0};  // upward only, so that waiting as told is enough
};

// Who this request belongs to under one policy.
struct Identity {
  enum class Outcome : uint8_t {
    kKnown,         // count it: `plan` and `id` are set
    kUnauthorized,  // answer 401
    kForbidden,     // answer 403: the key is not listed
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

// Where the request goes, for policies that count `per` rule or route.
struct RequestPlace {
  std::string_view rule;   // its name
  std::string_view route;  // the path pattern that matched; empty: the rule has none
};

// Pure. `client` is the address after X-Forwarded-For of trusted proxies has been applied. An
// IPv6 client is counted by its /64. The key's quota belongs to its owner: two keys of one owner
// share an identity. A field sent several times with different values is unauthorized. The
// identity does not depend on the policy: the logs of all policies that see the same client
// share a hash tag.
Identity FindIdentity(const RateLimitPolicy& policy, const cache::RequestHead& request,
                      const IpAddress& client, Sha256 sha256, const RequestPlace& place = {});

// What an identity is made of, for whoever names one by hand: of a key that no list names, an
// owner, or an address. Without scopes.
enum class IdentityKind : uint8_t { kKey, kOwner, kIp };
std::array<char, 22> IdentityOf(IdentityKind kind, std::string_view text, Sha256 sha256);

// 22 characters of base64url: the first 16 bytes of sha256(bytes).
std::array<char, 22> IdentityHash(std::string_view bytes, Sha256 sha256);

}  // namespace satchel::rules
