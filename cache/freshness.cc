#include "cache/freshness.h"

#include <algorithm>

#include "cache/http/date.h"
#include "cache/http/fields.h"
#include "cache/http/message.h"

namespace satchel::cache {
namespace {

// A date field that stands exactly once.
std::optional<Time> SingleDate(const HeaderMap& fields, FieldId id, Time now) {
  if (fields.Count(id) != 1) return std::nullopt;
  return ParseHttpDate(TrimOws(*fields.First(id)), now);
}

// Statuses for which a rule's ttl may stand in for a lifetime that the origin did not give.
bool TakesRuleLifetime(uint16_t status) { return status < 400 && IsHeuristicallyCacheable(status); }

}  // namespace

Time DateOf(const HeaderMap& response_fields, Time response_time) {
  const std::optional<std::string_view> value = response_fields.First(FieldId::kDate);
  if (!value) return response_time;
  return ParseHttpDate(TrimOws(*value), response_time).value_or(response_time);
}

Millis AgeField(const HeaderMap& response_fields) {
  const std::optional<std::string_view> value = response_fields.First(FieldId::kAge);
  if (!value) return Millis(0);
  const std::string_view member = TrimOws(value->substr(0, value->find(',')));
  return ParseDeltaSeconds(member).value_or(std::chrono::seconds(0));
}

Millis InitialAge(const HeaderMap& response_fields, Time request_time, Time response_time) {
  const Millis apparent =
      std::max(Millis(0), response_time - DateOf(response_fields, response_time));
  const Millis delay = std::max(Millis(0), response_time - request_time);
  const Millis corrected = AgeField(response_fields) + delay;
  return std::max(apparent, corrected);
}

bool IsHeuristicallyCacheable(uint16_t status) {
  switch (status) {
    case 200:
    case 203:
    case 204:
    case 206:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501:
      return true;
    default:
      return false;
  }
}

Lifetime LifetimeByOrigin(uint16_t status, const HeaderMap& response_fields,
                          const ResponseDirectives& directives, Time response_time,
                          const Overrides& overrides) {
  Lifetime out;
  const ResponseDirectives::Seconds age =
      directives.s_maxage ? directives.s_maxage : directives.max_age;
  if (age) {
    out = {*age, Reason::kExplicitLifetime, true};
    return out;
  }
  const Time date = DateOf(response_fields, response_time);
  if (!directives.targeted && response_fields.Has(FieldId::kExpires)) {
    // Refused or repeated: already expired (5.3).
    const std::optional<Time> expires =
        SingleDate(response_fields, FieldId::kExpires, response_time);
    const Millis value = expires ? std::max(Millis(0), *expires - date) : Millis(0);
    return {value, Reason::kExplicitLifetime, true};
  }
  if (!IsHeuristicallyCacheable(status) && !directives.is_public) return out;
  const std::optional<Time> modified =
      SingleDate(response_fields, FieldId::kLastModified, response_time);
  if (!modified || *modified >= date) return out;
  const double share = std::clamp(overrides.heuristic_fraction, 0.0, 1.0);
  const auto value = static_cast<int64_t>(static_cast<double>((date - *modified).count()) * share);
  return {std::min(Millis(value), overrides.heuristic_max), Reason::kHeuristicLifetime, false};
}

Lifetime LifetimeFor(uint16_t status, const HeaderMap& response_fields,
                     const ResponseDirectives& directives, Millis initial_age, Time response_time,
                     double random, const Overrides& overrides) {
  Lifetime out = LifetimeByOrigin(status, response_fields, directives, response_time, overrides);

  const auto negative = std::find_if(overrides.negative.begin(), overrides.negative.end(),
                                     [&](const auto& entry) { return entry.first == status; });
  if (negative != overrides.negative.end() && !out.explicit_by_origin) {
    out.value = initial_age + negative->second;
    out.source = Reason::kNegativeLifetime;
  } else if (overrides.ttl && status < 400 &&
             (out.explicit_by_origin || TakesRuleLifetime(status))) {
    out.value = initial_age + *overrides.ttl;
    out.source = Reason::kRuleLifetime;
  }
  if (out.source == Reason::kNoLifetime) return out;

  if (overrides.ttl_min > Millis(0)) {
    out.value = std::max(out.value, initial_age + overrides.ttl_min);
  }
  out.value = std::min(out.value, initial_age + overrides.ttl_max);
  const Millis remaining = out.value - initial_age;
  if (remaining > Millis(0) && overrides.jitter > 0) {
    const double kept = 1.0 - std::clamp(overrides.jitter, 0.0, 1.0) * std::clamp(random, 0.0, 1.0);
    out.value =
        initial_age + Millis(static_cast<int64_t>(static_cast<double>(remaining.count()) * kept));
  }
  return out;
}

}  // namespace satchel::cache
