#include "proxy/limit_fields.h"

#include <algorithm>

#include "proxy/json_escape.h"

namespace satchel::proxy {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr uint64_t kMaxSfInteger = 999'999'999'999'999;  // RFC 9651 3.3.1

int64_t CeilSeconds(int64_t micros) { return micros <= 0 ? 0 : (micros - 1) / kSecond + 1; }

bool Speaks(const LimitVerdict& verdict) {
  return verdict.policy != nullptr && verdict.policy->mode == rules::LimitMode::kEnforce &&
         verdict.window_count != 0;
}

std::string SfInteger(uint64_t number) { return std::to_string(std::min(number, kMaxSfInteger)); }

// Names consist of letters, digits, '-' and '_': nothing to escape in a Structured Field String.
std::string QuotedName(const LimitVerdict& verdict, const WindowVerdict& window, bool qualify) {
  std::string name = "\"";
  if (qualify) {
    name += verdict.policy->name;
    name += '-';
  }
  name += window.name;
  name += '"';
  return name;
}

void SetIetf(std::span<const LimitVerdict> verdicts, cache::HeaderMap& fields) {
  const auto wants = [](const LimitVerdict& verdict) {
    return Speaks(verdict) && verdict.policy->ietf_headers;
  };
  const bool qualify = std::count_if(verdicts.begin(), verdicts.end(), wants) > 1;
  std::string policies;
  std::string limits;
  for (const LimitVerdict& verdict : verdicts) {
    if (!wants(verdict)) continue;
    for (const WindowVerdict& window : verdict.windows()) {
      const char* comma = policies.empty() ? "" : ", ";
      const std::string name = QuotedName(verdict, window, qualify);
      policies += comma + name + ";q=" + SfInteger(window.limit);
      // w counts whole seconds; another length can't be said.
      if (window.window_us % kSecond == 0) {
        policies += ";w=" + SfInteger(static_cast<uint64_t>(window.window_us / kSecond));
      }
      limits += comma + name + ";r=" + SfInteger(static_cast<uint64_t>(window.remaining));
      if (window.reset_us > 0) {
        limits += ";t=" + SfInteger(static_cast<uint64_t>(CeilSeconds(window.reset_us)));
      }
    }
  }
  if (policies.empty()) return;
  fields.Set("RateLimit-Policy", policies);
  fields.Set("RateLimit", limits);
}

// The smaller share of its limit is left; a limit of 0 leaves none.
bool Tighter(const WindowVerdict& a, const WindowVerdict& b) {
  return static_cast<double>(a.remaining) * static_cast<double>(b.limit) <
         static_cast<double>(b.remaining) * static_cast<double>(a.limit);
}

void SetLegacy(std::span<const LimitVerdict> verdicts, cache::Time now, cache::HeaderMap& fields) {
  const WindowVerdict* told = nullptr;
  bool refused = false;
  for (const LimitVerdict& verdict : verdicts) {
    if (!Speaks(verdict) || !verdict.policy->legacy_headers) continue;
    if (verdict.violated >= 0) {
      const WindowVerdict& window = verdict.window_storage[static_cast<size_t>(verdict.violated)];
      const bool longer = told == nullptr || !refused || window.wait_us < 0 ||
                          (told->wait_us >= 0 && window.wait_us > told->wait_us);
      if (longer) told = &window;
      refused = true;
      continue;
    }
    if (refused) continue;
    for (const WindowVerdict& window : verdict.windows()) {
      if (told == nullptr || Tighter(window, *told)) told = &window;
    }
  }
  if (told == nullptr) return;
  // Admitted: when all that is counted now has left. Refused: when one more fits.
  const int64_t ahead = refused && told->wait_us > 0 ? told->wait_us : told->window_us;
  const int64_t now_us = now.time_since_epoch().count() * 1000;
  fields.Set("X-RateLimit-Limit", std::to_string(told->limit));
  fields.Set("X-RateLimit-Remaining", std::to_string(told->remaining));
  fields.Set("X-RateLimit-Reset", std::to_string(CeilSeconds(now_us + ahead)));
}

std::string Json(std::string_view text) {
  std::string quoted = "\"";
  AppendEscaped(quoted, text);
  quoted += '"';
  return quoted;
}

}  // namespace

void SetLimitFields(std::span<const LimitVerdict> verdicts, cache::Time now,
                    cache::HeaderMap& fields) {
  SetLegacy(verdicts, now, fields);
  SetIetf(verdicts, fields);
}

int64_t RetryAfterSeconds(const LimitVerdict& verdict) {
  if (verdict.violated < 0) return 1;
  const WindowVerdict& window = verdict.window_storage[static_cast<size_t>(verdict.violated)];
  const int64_t wait = window.wait_us < 0 ? window.window_us : window.wait_us;
  return std::max<int64_t>(1, CeilSeconds(wait));
}

LimitAnswer RefusalOf(const LimitVerdict& verdict) {
  LimitAnswer answer;
  answer.retry_after = std::to_string(RetryAfterSeconds(verdict));
  std::string violated;
  for (const WindowVerdict& window : verdict.windows()) {
    if (window.wait_us == 0) continue;
    if (!violated.empty()) violated += ',';
    violated += Json(window.name);
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
  const char* where = nullptr;
  switch (policy.identify.by) {
    case rules::Identify::By::kHeader:
      where = "header";
      break;
    case rules::Identify::By::kQuery:
      where = "query";
      break;
    case rules::Identify::By::kCookie:
      where = "cookie";
      break;
    case rules::Identify::By::kClientIp:
      break;
  }
  if (where != nullptr) {
    std::string quoted;
    for (const char c : policy.identify.name) {
      if (c == '"' || c == '\\') quoted += '\\';
      if (c >= 0x20 && c < 0x7f) quoted += c;
    }
    answer.authenticate += ", " + std::string(where) + "=\"" + quoted + "\"";
  }
  answer.body =
      R"({"type":"about:blank","title":"Unauthorized","status":401,"error":"API key required"})";
  return answer;
}

}  // namespace satchel::proxy
