// Cache-Control, targeted fields and request directives. Whatever else stands in the field, a
// no-store of its own in front is seen.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cache/cache_control.h"
#include "cache/vary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace satchel::cache;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ResponseDirectives directives = ParseCacheControl(text);
  const auto check = [](const ResponseDirectives::Seconds& value) {
    if (value && (value->count() < 0 || value->count() > int64_t{1} << 31)) std::abort();
  };
  check(directives.max_age);
  check(directives.s_maxage);
  check(directives.stale_while_revalidate);
  check(directives.stale_if_error);
  if (!ParseCacheControl("no-store, " + std::string(text)).no_store) std::abort();

  if (const auto targeted = ParseTargetedField(text)) {
    check(targeted->max_age);
    if (!targeted->targeted) std::abort();
  }
  HeaderMap fields;
  fields.Add(FieldId::kCacheControl, text);
  fields.Add(FieldId::kVary, text);
  check(ParseRequestDirectives(fields).max_age);

  // The same text as a request field that Vary names: it selects itself.
  RequestHead request;
  request.fields.Add(FieldId::kAcceptLanguage, text);
  request.fields.Add(FieldId::kAcceptEncoding, text);
  request.fields.Add("X-Any", text);
  VarySpec spec = ParseVary(fields);
  if (spec.star && Selects(spec, VaryValues(spec, request, {}), text, request, {})) std::abort();
  spec = {false, {"accept-encoding", "accept-language", "x-any"}};
  const std::string values = VaryValues(spec, request, {});
  if (!Selects(spec, values, {}, request, {})) std::abort();
  Selects(spec, text, text, request, {});
  return 0;
}
