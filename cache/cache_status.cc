#include "cache/cache_status.h"

#include <charconv>

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
  if (status.reason != Reason::kNone) {
    // A token may hold slashes (RFC 9651 3.3.4): "fresh/l2".
    AppendAll(out, {"; detail=", ReasonWord(status.reason), status.tier.empty() ? "" : "/",
                    status.tier});
  }
}

}  // namespace satchel::cache
