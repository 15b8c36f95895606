#include "cache/cache_status.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

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

constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x7f; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

bool IsPlain(std::string_view text) {
  bool plain = true;
  for (const char c : text) plain &= kPlain[static_cast<unsigned char>(c)];
  return plain;
}

// A token may hold slashes and colons (RFC 9651 3.3.4).
bool FitsToken(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return IsTokenChar(c); });
}

// Writes into memory that is large enough.
class Writer {
 public:
  explicit Writer(char* at) : at_(at) {}

  void Text(std::string_view text) {
    if (text.empty()) return;  // its data may be null
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void Number(int64_t value) { at_ = std::to_chars(at_, at_ + kMostDigits, value).ptr; }

  // The inside of a Structured Fields string (RFC 9651 3.3.3). The line feed between the parts of a
  // key, and what else is not printable ASCII, is written as a percent escape.
  void Escaped(std::string_view text) {
    if (IsPlain(text)) {
      Text(text);
      return;
    }
    constexpr std::string_view kHex = "0123456789ABCDEF";
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        *at_++ = '\\';
        *at_++ = c;
      } else if (!kPlain[byte]) {
        *at_++ = '%';
        *at_++ = kHex[byte >> 4];
        *at_++ = kHex[byte & 15];
      } else {
        *at_++ = c;
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

  char* at() const { return at_; }

  static constexpr size_t kMostDigits = 24;

 private:
  char* at_;
};

bool ShowsKey(const CacheStatus& status) {
  return !status.key.empty() && status.key.size() <= CacheStatus::kMaxKeyShown;
}

size_t MostBytes(const CacheStatus& status) {
  constexpr size_t kNames = 128;  // of the members, and their punctuation
  size_t bytes = kNames + 2 * Writer::kMostDigits + ReasonWord(status.reason).size() +
                 status.tier.size() + 3 * status.rule.size();
  if (ShowsKey(status)) bytes += status.key.size() * (IsPlain(status.key) ? 1 : 3);
  return bytes;
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
  const size_t before = out.size();
  const size_t most = before + MostBytes(status);
  if (most > out.capacity()) out.reserve(std::max(most, 2 * out.capacity()));
  out.resize_and_overwrite(most, [&](char* data, size_t) {
    Writer writer(data + before);
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
    return static_cast<size_t>(writer.at() - data);
  });
}

}  // namespace satchel::cache
