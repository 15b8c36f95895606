#include "proxy/limit_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace satchel::proxy {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr uint64_t kMaxSfInteger = 999'999'999'999'999;  // RFC 9651 3.3.1

int64_t CeilSeconds(int64_t micros) { return micros <= 0 ? 0 : (micros - 1) / kSecond + 1; }

bool Speaks(const LimitVerdict& verdict) {
  return verdict.policy != nullptr && verdict.policy->mode == rules::LimitMode::kEnforce &&
         verdict.window_count != 0;
}

void AppendNumber(std::string& out, uint64_t number) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void AppendSfInteger(std::string& out, uint64_t number) {
  AppendNumber(out, std::min(number, kMaxSfInteger));
}

// Names consist of letters, digits, '-' and '_': nothing to escape in a Structured Field String.
void AppendName(std::string& out, const LimitVerdict& verdict, const WindowVerdict& window,
                bool qualify) {
  out += '"';
  if (qualify) out.append(verdict.policy->name).append("-");
  out.append(window.name).append("\"");
}

// A quota of requests under way at once has no window, and a penalty is no quota.
bool IsQuota(const WindowVerdict& window) { return window.window_us > 0; }

void AppendIetf(std::span<const LimitVerdict> verdicts, std::string& out) {
  const auto wants = [](const LimitVerdict& verdict) {
    return Speaks(verdict) && verdict.policy->ietf_headers;
  };
  const bool qualify = std::count_if(verdicts.begin(), verdicts.end(), wants) > 1;
  const auto list = [&](std::string_view field, auto append_parameters) {
    bool first = true;
    for (const LimitVerdict& verdict : verdicts) {
      if (!wants(verdict)) continue;
      for (const WindowVerdict& window : verdict.windows()) {
        if (!IsQuota(window)) continue;
        out.append(first ? field : std::string_view(", "));
        first = false;
        AppendName(out, verdict, window, qualify);
        append_parameters(window);
      }
    }
    if (!first) out.append("\r\n");
  };
  list("RateLimit-Policy: ", [&out](const WindowVerdict& window) {
    out.append(";q=");
    AppendSfInteger(out, window.limit);
    // w counts whole seconds; another length can't be said.
    if (window.window_us % kSecond != 0) return;
    out.append(";w=");
    AppendSfInteger(out, static_cast<uint64_t>(window.window_us / kSecond));
  });
  list("RateLimit: ", [&out](const WindowVerdict& window) {
    out.append(";r=");
    AppendSfInteger(out, static_cast<uint64_t>(window.remaining));
    if (window.reset_us <= 0) return;
    out.append(";t=");
    AppendSfInteger(out, static_cast<uint64_t>(CeilSeconds(window.reset_us)));
  });
}

// The smaller share of its limit is left; a limit of 0 leaves none.
bool Tighter(const WindowVerdict& a, const WindowVerdict& b) {
  return static_cast<double>(a.remaining) * static_cast<double>(b.limit) <
         static_cast<double>(b.remaining) * static_cast<double>(a.limit);
}

// The window that X-RateLimit tells of.
struct Told {
  const WindowVerdict* window = nullptr;
  const rules::RateLimitPolicy* policy = nullptr;
  bool refused = false;
  int64_t wait_us = 0;  // of the refusal
};

// Of what refuses, else of the tightest. A refusal that no quota made is told with the tightest
// quota beside it.
Told FindTold(std::span<const LimitVerdict> verdicts) {
  Told told;
  const auto tightest = [](const LimitVerdict& verdict) {
    const WindowVerdict* found = nullptr;
    for (const WindowVerdict& window : verdict.windows()) {
      if (!IsQuota(window)) continue;
      if (found == nullptr || Tighter(window, *found)) found = &window;
    }
    return found;
  };
  for (const LimitVerdict& verdict : verdicts) {
    if (!Speaks(verdict) || !verdict.policy->legacy_headers) continue;
    if (verdict.violated >= 0) {
      const WindowVerdict& window = verdict.window_storage[static_cast<size_t>(verdict.violated)];
      const WindowVerdict* const shown = IsQuota(window) ? &window : tightest(verdict);
      const bool longer = !told.refused || window.wait_us < 0 ||
                          (told.wait_us >= 0 && window.wait_us > told.wait_us);
      if (longer && shown != nullptr) told = {shown, verdict.policy, true, window.wait_us};
      continue;
    }
    if (told.refused) continue;
    const WindowVerdict* const window = tightest(verdict);
    if (window != nullptr && (told.window == nullptr || Tighter(*window, *told.window))) {
      told = {window, verdict.policy, false, 0};
    }
  }
  return told;
}

void AppendLegacy(std::span<const LimitVerdict> verdicts, cache::Time now, std::string& out) {
  const Told told = FindTold(verdicts);
  if (told.window == nullptr) return;
  // Admitted: when all that is counted now has left. Refused: when one more fits.
  const int64_t ahead = told.refused && told.wait_us > 0 ? told.wait_us : told.window->window_us;
  const int64_t from =
      told.policy->reset == rules::ResetForm::kDelta ? 0 : now.time_since_epoch().count() * 1000;
  out.append("X-RateLimit-Limit: ");
  AppendNumber(out, told.window->limit);
  out.append("\r\nX-RateLimit-Remaining: ");
  AppendNumber(out, static_cast<uint64_t>(told.window->remaining));
  out.append("\r\nX-RateLimit-Reset: ");
  AppendNumber(out, static_cast<uint64_t>(CeilSeconds(from + ahead)));
  out.append("\r\n");
}

}  // namespace

void AppendLimitFields(std::span<const LimitVerdict> verdicts, cache::Time now, std::string& out) {
  AppendLegacy(verdicts, now, out);
  AppendIetf(verdicts, out);
}

void MergeOriginFields(std::span<const LimitVerdict> verdicts, cache::HeaderMap& fields,
                       cache::Time now, std::string& ours) {
  using cache::FieldId;
  static const cache::FieldSet kTheirs(FieldId::kRateLimit, FieldId::kRateLimitPolicy,
                                       FieldId::kXRateLimitLimit, FieldId::kXRateLimitRemaining,
                                       FieldId::kXRateLimitReset);
  if (!fields.HasAny(kTheirs) || ours.empty()) return;
  const auto wish = [&verdicts](rules::OriginFields what) {
    return std::any_of(verdicts.begin(), verdicts.end(), [what](const LimitVerdict& verdict) {
      return Speaks(verdict) && verdict.policy->origin_fields == what;
    });
  };
  if (wish(rules::OriginFields::kKeep)) {
    ours.clear();
    return;
  }
  if (!wish(rules::OriginFields::kReplace)) {
    // Lists are joined by being there twice (RFC 9110 5.3); of the other kind one set can stand.
    ours.clear();
    AppendIetf(verdicts, ours);
    std::string legacy;
    AppendLegacy(verdicts, now, legacy);
    const Told told = FindTold(verdicts);
    const auto remaining = fields.First(FieldId::kXRateLimitRemaining);
    uint64_t theirs = 0;
    const bool number =
        remaining &&
        std::from_chars(remaining->data(), remaining->data() + remaining->size(), theirs).ec ==
            std::errc();
    if (number && told.window != nullptr &&
        theirs < static_cast<uint64_t>(told.window->remaining)) {
      return;
    }
    ours.insert(0, legacy);
    if (legacy.empty()) return;
  } else {
    fields.Remove(FieldId::kRateLimit);
    fields.Remove(FieldId::kRateLimitPolicy);
  }
  fields.Remove(FieldId::kXRateLimitLimit);
  fields.Remove(FieldId::kXRateLimitRemaining);
  fields.Remove(FieldId::kXRateLimitReset);
}

int64_t RetryAfterSeconds(const LimitVerdict& verdict) {
  if (verdict.violated < 0) return 1;
  const WindowVerdict& window = verdict.window_storage[static_cast<size_t>(verdict.violated)];
  const int64_t wait = window.wait_us < 0 ? window.window_us : window.wait_us;
  return std::max<int64_t>(1, CeilSeconds(wait));
}

LimitAnswer RefusalOf(const LimitVerdict& verdict, double random) {
  LimitAnswer answer;
  const double jitter = static_cast<double>(verdict.policy->retry_jitter.count()) / 1000;
  answer.retry_after =
      std::to_string(RetryAfterSeconds(verdict) + static_cast<int64_t>(std::ceil(jitter * random)));
  std::string violated;
  for (const WindowVerdict& window : verdict.windows()) {
    if (window.wait_us == 0) continue;
    if (!violated.empty()) violated += ',';
    violated.append("\"").append(window.name).append("\"");
  }
  if (verdict.source == LimitVerdict::Source::kClosed) {
    answer.status = 503;
    answer.body =
        R"({"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",)"
        R"("title":"Request cannot be satisfied due to temporary server capacity constraints",)"
        R"("status":503,"error":"Rate limit cannot be checked","retry_after":)" +
        answer.retry_after + "}";
    return answer;
  }
  answer.body = R"({"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",)"
                R"("title":"Request cannot be satisfied as assigned quota has been exceeded",)"
                R"("status":429,"violated-policies":[)" +
                violated + R"(],"error":"Rate limit exceeded","retry_after":)" +
                answer.retry_after + "}";
  return answer;
}

LimitAnswer UnauthorizedOf(const rules::RateLimitPolicy& policy) {
  LimitAnswer answer;
  answer.status = 401;
  // A challenge is required on every 401 (RFC 9110 11.6.1). There is no registered scheme for keys
  // in fields of their own; this one says where the key is looked for.
  answer.authenticate = "ApiKey realm=\"api\"";
  if (const rules::Identify::Part* part = policy.identify.key_part()) {
    static constexpr const char* kWhere[] = {"header", "query", "cookie"};
    std::string quoted;
    for (const char c : part->name) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (c >= 0x20 && c < 0x7f) quoted += c;
    }
    answer.authenticate +=
        ", " + std::string(kWhere[static_cast<size_t>(part->by)]) + "=\"" + quoted + "\"";
  }
  answer.body =
      R"({"type":"about:blank","title":"Unauthorized","status":401,"error":"API key required"})";
  return answer;
}

LimitAnswer ForbiddenOf() {
  LimitAnswer answer;
  answer.status = 403;
  answer.body =
      R"({"type":"about:blank","title":"Forbidden","status":403,"error":"API key unknown"})";
  return answer;
}

}  // namespace satchel::proxy
