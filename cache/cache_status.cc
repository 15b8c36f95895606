#include "cache/cache_status.h"

#include <algorithm>
#include <charconv>

#include "cache/http/message.h"

#include "cache/base/append.h"

namespace satchel::cache {
namespace {

std::string_view ForwardWord(CacheStatus::Forward forward) {
  switch (forward) {
    case CacheStatus::Forward::kNone:
      return {};
    case CacheStatus::Forward::kUriMiss:
      return "uri-miss";
    case CacheStatus::Forward::kVaryMiss:
      return "vary-miss";
    case CacheStatus::Forward::kMiss:
      return "miss";
    case CacheStatus::Forward::kStale:
      return "stale";
    case CacheStatus::Forward::kRequest:
      return "request";
    case CacheStatus::Forward::kMethod:
      return "method";
    case CacheStatus::Forward::kBypass:
      return "bypass";
    case CacheStatus::Forward::kPartial:
      return "partial";
  }
  return {};
}

void AppendNumber(std::string& out, int64_t value) {
  char digits[24];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), value);
  out.append(digits, end.ptr);
}

// A Structured Fields string (RFC 9651 3.3.3). The line feed between the parts of a key, and what
// else is not printable ASCII, is written as a percent escape.
void AppendString(std::string& out, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
  out.push_back('"');
  if (plain) {
    out.append(text);
  } else {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out.push_back('\\');
        out.push_back(c);
      } else if (byte < 0x20 || byte >= 0x7f) {
        out.push_back('%');
        out.push_back(kHex[byte >> 4]);
        out.push_back(kHex[byte & 15]);
      } else {
        out.push_back(c);
      }
    }
  }
  out.push_back('"');
}

// A token may hold slashes and colons (RFC 9651 3.3.4).
bool FitsToken(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return IsTokenChar(c); });
}

void AppendDetail(std::string& out, const CacheStatus& status) {
  out.append("; detail=");
  const size_t start = out.size();
  AppendAll(out, {ReasonWord(status.reason), status.tier.empty() ? "" : "/", status.tier,
                  status.rule.empty() ? "" : ":", status.rule});
  if (FitsToken(status.rule)) return;
  const std::string text = out.substr(start);
  out.resize(start);
  AppendString(out, text);
}

}  // namespace

CacheStatus::Forward ForwardFor(Reason reason) {
  using Forward = CacheStatus::Forward;
  switch (reason) {
    case Reason::kNoStoredResponse:
    case Reason::kPurged:
      return Forward::kUriMiss;
    case Reason::kVaryMismatch:
      return Forward::kVaryMiss;
    case Reason::kExpired:
    case Reason::kResponseNoCache:
    case Reason::kMustRevalidate:
    case Reason::kRevalidated:
    case Reason::kStaleWhileRevalidate:
    case Reason::kStaleIfError:
    case Reason::kStaleDisconnected:
      return Forward::kStale;
    case Reason::kRequestNoCache:
    case Reason::kRequestMaxAge:
    case Reason::kRequestMinFresh:
    case Reason::kRequestNoStore:
    case Reason::kPreconditions:
    case Reason::kOnlyIfCached:
      return Forward::kRequest;
    case Reason::kMethod:
      return Forward::kMethod;
    case Reason::kRuleBypass:
    case Reason::kUpgrade:
    case Reason::kKnownUncacheable:
    case Reason::kBodyNotKeyed:
      return Forward::kBypass;
    case Reason::kPartialStored:
      return Forward::kPartial;
    case Reason::kNone:
    case Reason::kFresh:
    case Reason::kMaxStale:
    case Reason::kImmutable:
      return Forward::kNone;
    default:
      // Why it was not stored, or how: the request had found nothing.
      return Forward::kMiss;
  }
}

void AppendCacheStatus(std::string& out, const CacheStatus& status) {
  out.append("Satchel");
  if (status.hit) {
    out.append("; hit");
  } else if (status.forward != CacheStatus::Forward::kNone) {
    AppendAll(out, {"; fwd=", ForwardWord(status.forward)});
  }
  if (status.forward_status) {
    out.append("; fwd-status=");
    AppendNumber(out, *status.forward_status);
  }
  if (status.stored) out.append("; stored");
  if (status.collapsed) out.append("; collapsed");
  if (status.ttl) {
    out.append("; ttl=");
    AppendNumber(out, std::chrono::floor<std::chrono::seconds>(*status.ttl).count());
  }
  if (!status.key.empty() && status.key.size() <= CacheStatus::kMaxKeyShown) {
    out.append("; key=");
    AppendString(out, status.key);
  }
  if (status.reason != Reason::kNone) AppendDetail(out, status);
}

}  // namespace satchel::cache
