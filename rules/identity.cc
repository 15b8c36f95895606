#include <utility>

#include "rules/rate_limit.h"
#include "rules/request_fields.h"

namespace satchel::rules {
namespace {

// The one value that identifies the request, or none. Two different values are no identity: a
// client must not choose which of them is counted.
struct Found {
  std::optional<std::string> value;
  bool conflict = false;

  bool Add(std::string_view text) {
    if (value && *value != text) conflict = true;
    if (!value) value.emplace(text);
    return !conflict;
  }
};

Found FindValue(const Identify& identify, const cache::RequestHead& request) {
  Found found;
  switch (identify.by) {
    case Identify::By::kHeader: {
      const cache::FieldId id = cache::FindFieldId(identify.name);
      for (const auto field : request.fields) {
        if (field.id != id) continue;
        if (id == cache::FieldId::kOther && !cache::EqualsIgnoreCase(field.name, identify.name)) {
          continue;
        }
        if (!found.Add(field.value)) break;
      }
      break;
    }
    case Identify::By::kQuery:
      ForEachQueryValue(request, identify.name,
                        [&](std::string_view value) { return found.Add(value); });
      break;
    case Identify::By::kCookie:
      ForEachCookieValue(request, identify.name,
                         [&](std::string_view value) { return found.Add(value); });
      break;
    case Identify::By::kClientIp:
      break;
  }
  if (found.value && found.value->empty()) found.value.reset();
  return found;
}

}  // namespace

std::array<char, 22> IdentityHash(std::string_view bytes, Sha256 sha256) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const std::array<uint8_t, 32> digest = sha256(bytes);
  std::array<char, 22> text;
  for (size_t i = 0; i < text.size(); ++i) {
    // Bits 6i to 6i+5 of the first 128; the last character holds two of them.
    const size_t bit = 6 * i;
    unsigned pair = static_cast<unsigned>(digest[bit / 8]) << 8;
    if (bit / 8 + 1 < 16) pair |= digest[bit / 8 + 1];
    text[i] = kDigits[(pair >> (10 - bit % 8)) & 63];
  }
  return text;
}

Identity FindIdentity(const RateLimitPolicy& policy, const cache::RequestHead& request,
                      const IpAddress& client, Sha256 sha256) {
  Identity identity;
  identity.outcome = Identity::Outcome::kUnauthorized;
  const Plan* default_plan = policy.default_plan && *policy.default_plan < policy.plans.size()
                                 ? &policy.plans[*policy.default_plan]
                                 : nullptr;
  // The kind stands in the hashed text, so that a key that looks like an owner or an address is
  // still another identity.
  std::string text = policy.name;
  text += '\0';

  bool by_ip = policy.identify.by == Identify::By::kClientIp;
  const ApiKey* known = nullptr;
  if (!by_ip) {
    const Found found = FindValue(policy.identify, request);
    if (found.conflict) return identity;
    if (found.value) {
      if (policy.keys != nullptr) known = policy.keys->Find(sha256(*found.value));
      if (known != nullptr && known->plan < policy.plans.size()) {
        identity.plan = &policy.plans[known->plan];
        identity.owner = known->owner;
        text.append("owner").push_back('\0');
        text += known->owner;
      } else {
        identity.plan = default_plan;
        text.append("key").push_back('\0');
        text += *found.value;
      }
      if (identity.plan == nullptr) return identity;
    } else if (policy.identify.missing == Identify::Missing::kByIp) {
      by_ip = true;
    } else {
      if (policy.identify.missing == Identify::Missing::kSkip) {
        identity.outcome = Identity::Outcome::kSkip;
      }
      return identity;
    }
  }
  if (by_ip) {
    constexpr unsigned kHomeNetwork = 64;  // what one IPv6 subscriber gets
    identity.by_ip = true;
    identity.plan = default_plan;
    if (identity.plan == nullptr) return identity;
    text.append("ip").push_back('\0');
    text += client.v6 ? client.Masked(kHomeNetwork).ToString() : client.ToString();
  }
  identity.outcome = Identity::Outcome::kKnown;
  identity.id = IdentityHash(text, sha256);
  return identity;
}

}  // namespace satchel::rules
