#include "cache/http/field_id.h"

#include <array>

namespace satchel::cache {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(FieldId::kCount)> kNames = {
    "",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Age",
    "Authorization",
    "Cache-Control",
    "Cache-Group-Invalidation",
    "Cache-Groups",
    "Cache-Status",
    "Cache-Tag",
    "CDN-Cache-Control",
    "Connection",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "Cookie",
    "Date",
    "ETag",
    "Expect",
    "Expires",
    "Forwarded",
    "Host",
    "HTTP2-Settings",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Keep-Alive",
    "Last-Modified",
    "Location",
    "No-Vary-Search",
    "Pragma",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Range",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Satchel-Cache-Control",
    "Server",
    "Set-Cookie",
    "Surrogate-Key",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "Vary",
    "Via",
    "Warning",
    "X-API-Key",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "xkey",
};

constexpr size_t kSlots = 512;

constexpr size_t SlotOf(std::string_view name) {
  const auto lower = [&](size_t i) { return static_cast<size_t>(ToLowerAscii(name[i])); };
  const size_t n = name.size();
  return (n * 67 + lower(0) * 31 + lower(n - 1) * 7 + lower(n / 2) * 131) % kSlots;
}

// Open addressing, filled at compile time; a probe ends at the first empty slot.
constexpr std::array<uint8_t, kSlots> MakeTable() {
  std::array<uint8_t, kSlots> table{};
  for (size_t i = 1; i < kNames.size(); ++i) {
    size_t slot = SlotOf(kNames[i]);
    while (table[slot] != 0) slot = (slot + 1) % kSlots;
    table[slot] = static_cast<uint8_t>(i);
  }
  return table;
}

constexpr std::array<uint8_t, kSlots> kTable = MakeTable();

}  // namespace

FieldId FindFieldId(std::string_view name) {
  if (name.empty()) return FieldId::kOther;
  for (size_t slot = SlotOf(name); kTable[slot] != 0; slot = (slot + 1) % kSlots) {
    if (EqualsIgnoreCase(kNames[kTable[slot]], name)) return static_cast<FieldId>(kTable[slot]);
  }
  return FieldId::kOther;
}

std::string_view FieldName(FieldId id) { return kNames[static_cast<size_t>(id)]; }

}  // namespace satchel::cache
