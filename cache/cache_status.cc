#include "cache/cache_status.h"

#include <algorithm>

#include "cache/base/append.h"
#include "cache/http/message.h"

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

// A token may hold slashes and colons (RFC 9651 3.3.4).
bool FitsToken(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return IsTokenChar(c); });
}

class Writer : public CharWriter {
 public:
  using CharWriter::CharWriter;

  // The inside of a Structured Fields string (RFC 9651 3.3.3). The line feed between the parts of a
  // key, and what else is not printable ASCII, is written as a percent escape.
  void Escaped(std::string_view text) {
    if (IsPlainText(text)) {
      Text(text);
      return;
    }
    constexpr std::string_view kHex = "0123456789ABCDEF";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        Char('\\');
        Char(c);
      } else if (byte < 0x20 || byte >= 0x7f) {
        Char('%');
        Char(kHex[byte >> 4]);
        Char(kHex[byte & 15]);
      } else {
        Char(c);
      }
    }
  }

  void Detail(const CacheStatus& status) {
    const bool token = FitsToken(status.rule);
    Text(token ? "; detail=" : "; detail=\"");
    Text(ReasonWord(status.reason));
    if (!status.tier.empty()) Text("/");
    Text(status.tier);
    if (!status.rule.empty()) Text(":");
    Escaped(status.rule);
    if (!token) Text("\"");
  }
};

bool ShowsKey(const CacheStatus& status) {
  return !status.key.empty() && status.key.size() <= CacheStatus::kMaxKeyShown;
}

}  // namespace

size_t MostCacheStatusBytes(const CacheStatus& status) {
  constexpr size_t kNames = 128;  // of the members, and their punctuation
  size_t bytes = kNames + 2 * Writer::kMostDigits + ReasonWord(status.reason).size() +
                 status.tier.size() + 3 * status.rule.size();
  if (ShowsKey(status)) bytes += status.key.size() * (IsPlainText(status.key) ? 1 : 3);
  return bytes;
}

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

char* WriteCacheStatus(char* to, const CacheStatus& status) {
  Writer writer(to);
  writer.Text("Satchel");
  if (status.hit) {
    writer.Text("; hit");
  } else if (status.forward != CacheStatus::Forward::kNone) {
    writer.Text("; fwd=");
    writer.Text(ForwardWord(status.forward));
  }
  if (status.forward_status) {
    writer.Text("; fwd-status=");
    writer.Number(*status.forward_status);
  }
  if (status.stored) writer.Text("; stored");
  if (status.collapsed) writer.Text("; collapsed");
  if (status.ttl) {
    writer.Text("; ttl=");
    writer.Number(std::chrono::floor<std::chrono::seconds>(*status.ttl).count());
  }
  if (ShowsKey(status)) {
    writer.Text("; key=\"");
    writer.Escaped(status.key);
    writer.Text("\"");
  }
  if (status.reason != Reason::kNone) writer.Detail(status);
  return writer.at();
}

void AppendCacheStatus(std::string& out, const CacheStatus& status) {
  AppendWritten(out, MostCacheStatusBytes(status),
                [&](char* at) { return WriteCacheStatus(at, status); });
}

}  // namespace satchel::cache
