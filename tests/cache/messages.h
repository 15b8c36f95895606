#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "cache/http/date.h"
#include "cache/http/message.h"
#include "cache/storability.h"

// Messages in one line, for the tests of the policy.
namespace satchel::cache::test {

using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// Thu, 01 Jan 2026 00:00:00 GMT
inline constexpr Time kNow = TimeFromUnixSeconds(1767225600);
inline constexpr std::string_view kNowText = "Thu, 01 Jan 2026 00:00:00 GMT";

inline Time At(int64_t seconds) { return kNow + std::chrono::seconds(seconds); }
inline std::string DateAt(int64_t seconds) { return FormatHttpDate(At(seconds)); }

inline HeaderMap Map(Fields fields) {
  HeaderMap out;
  for (const auto& [name, value] : fields) out.Add(name, value);
  return out;
}

inline RequestHead Request(std::string_view method, std::string_view target, Fields fields = {}) {
  RequestHead out;
  out.method = ParseMethod(method);
  out.method_text = method;
  out.scheme = "http";
  out.authority = "example.com";
  out.target = target;
  out.fields = Map(fields);
  return out;
}
inline RequestHead Get(Fields fields = {}) { return Request("GET", "/", fields); }

// Without a Date unless one is given: it then counts as generated at receipt.
inline ResponseHead Response(uint16_t status, Fields fields = {}) {
  ResponseHead out;
  out.status = status;
  out.fields = Map(fields);
  return out;
}

// Sent and received at kNow, without jitter.
inline StoreVerdict Judge(const RequestHead& request, const ResponseHead& response,
                          const Overrides& overrides = {}) {
  return MayStore(request, response, kNow, kNow, 0.0, overrides);
}
inline StoreVerdict Judge(uint16_t status, Fields fields, const Overrides& overrides = {}) {
  return Judge(Get(), Response(status, fields), overrides);
}

// Lifetime in seconds of a 200 with these fields.
inline int64_t LifetimeOf(Fields fields, const Overrides& overrides = {}) {
  const Millis lifetime = Judge(200, fields, overrides).facts.lifetime;
  return std::chrono::floor<std::chrono::seconds>(lifetime).count();
}

}  // namespace satchel::cache::test
