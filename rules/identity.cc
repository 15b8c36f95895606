#include <algorithm>
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

Found FindValue(const Identify::Part& identify, const cache::RequestHead& request) {
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

const Identify::Part* Identify::key_part() const {
  for (const Part& part : parts) {
    if (part.by != By::kClientIp) return &part;
  }
  return nullptr;
}

namespace {

constexpr std::string_view kKinds[] = {"key", "owner", "ip"};

// The kind stands in the hashed text, so that a key that looks like an owner or an address is
// still another identity; the length, so that no two lists of parts run into one text.
void AppendPart(std::string& text, std::string_view kind, std::string_view value) {
  text.append(kind).push_back('\0');
  text.append(std::to_string(value.size())).push_back('\0');
  text.append(value);
}

std::string ClientText(const IpAddress& client) {
  constexpr unsigned kHomeNetwork = 64;  // what one IPv6 subscriber gets
  return client.v6 ? client.Masked(kHomeNetwork).ToString() : client.ToString();
}

void AppendScope(const QuotaScope& per, const cache::RequestHead& request,
                 const RequestPlace& place, std::string& text) {
  if (per.host) AppendPart(text, "host", request.authority);
  if (per.rule || per.route) AppendPart(text, "rule", place.rule);
  if (per.route) AppendPart(text, "route", place.route);
}

bool IsExempt(const RateLimitPolicy& policy, const IpAddress& client) {
  return std::any_of(policy.exempt.clients.begin(), policy.exempt.clients.end(),
                     [&](const IpPrefix& prefix) { return prefix.Contains(client); });
}

}  // namespace

std::array<char, 22> IdentityOf(IdentityKind kind, std::string_view text, Sha256 sha256) {
  std::string whole;
  if (kind == IdentityKind::kIp) {
    const auto client = ParseIp(text);
    AppendPart(whole, kKinds[static_cast<size_t>(kind)],
               client ? ClientText(*client) : std::string(text));
  } else {
    AppendPart(whole, kKinds[static_cast<size_t>(kind)], text);
  }
  return IdentityHash(whole, sha256);
}

Identity FindIdentity(const RateLimitPolicy& policy, const cache::RequestHead& request,
                      const IpAddress& client, Sha256 sha256, const RequestPlace& place) {
  Identity identity;
  if (IsExempt(policy, client)) return identity;
  const Plan* const default_plan =
      policy.default_plan && *policy.default_plan < policy.plans.size()
          ? &policy.plans[*policy.default_plan]
          : nullptr;
  identity.plan = default_plan;
  identity.outcome = Identity::Outcome::kUnauthorized;
  std::string text;
  text.reserve(96);
  const Identify::Part* const key_part = policy.identify.key_part();
  for (const Identify::Part& part : policy.identify.parts) {
    if (part.by == Identify::By::kClientIp) {
      AppendPart(text, "ip", ClientText(client));
      identity.by_ip = identity.by_ip || key_part == nullptr;
      continue;
    }
    const Found found = FindValue(part, request);
    if (found.conflict) return identity;
    if (!found.value) {
      if (policy.identify.missing == Identify::Missing::kSkip) {
        identity.outcome = Identity::Outcome::kSkip;
        return identity;
      }
      if (policy.identify.missing == Identify::Missing::kUnauthorized) return identity;
      // Whatever else was said: one client without a key is one identity.
      text.clear();
      AppendPart(text, "ip", ClientText(client));
      identity.by_ip = true;
      identity.plan = default_plan;
      identity.owner = {};
      break;
    }
    const ApiKey* known = nullptr;
    if (&part == key_part && policy.keys != nullptr) {
      known = policy.keys->Find(sha256(*found.value));
      if (known != nullptr && known->plan >= policy.plans.size()) known = nullptr;
    }
    if (known != nullptr) {
      identity.plan = &policy.plans[known->plan];
      identity.owner = known->owner;
      AppendPart(text, "owner", known->owner);
      continue;
    }
    if (&part == key_part && policy.keys != nullptr) {
      if (policy.identify.unknown == Identify::Unknown::kUnauthorized) return identity;
      if (policy.identify.unknown == Identify::Unknown::kForbidden) {
        identity.outcome = Identity::Outcome::kForbidden;
        return identity;
      }
    }
    AppendPart(text, "key", *found.value);
  }
  if (identity.plan == nullptr) return identity;
  if (!identity.owner.empty() &&
      std::find(policy.exempt.owners.begin(), policy.exempt.owners.end(), identity.owner) !=
          policy.exempt.owners.end()) {
    identity.outcome = Identity::Outcome::kSkip;
    return identity;
  }
  AppendScope(policy.per, request, place, text);
  identity.outcome = Identity::Outcome::kKnown;
  identity.id = IdentityHash(text, sha256);
  return identity;
}

}  // namespace satchel::rules
