// Range, If-Range and Content-Range: parts lie inside, apart from each other, and are few.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cache/range.h"
#include "cache/validation.h"

namespace {

using namespace satchel::cache;

void Check(const RangeVerdict& verdict, uint64_t length) {
  const std::vector<ByteRange>& ranges = verdict.ranges;
  if (verdict.kind == RangeVerdict::Kind::kPartial ? ranges.empty() : !ranges.empty()) std::abort();
  if (ranges.size() > 16) std::abort();
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].first > ranges[i].last || ranges[i].last >= length) std::abort();
    for (size_t k = 0; k < i; ++k) {
      if (ranges[i].first <= ranges[k].last && ranges[k].first <= ranges[i].last) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{1}, uint64_t{10}, uint64_t{1} << 40, UINT64_MAX}) {
    Check(EvaluateByteRanges(text, length), length);
  }
  if (const std::optional<ContentRange> content = ParseContentRange(text)) {
    if (content->range.first > content->range.last) std::abort();
    if (content->complete_length) {
      if (content->range.last >= *content->complete_length) std::abort();
      const auto again =
          ParseContentRange(FormatContentRange(content->range, *content->complete_length));
      if (!again || again->range.first != content->range.first) std::abort();
    }
  }
  // The same text as condition and as validator.
  RequestHead request;
  request.fields.Add(FieldId::kRange, "bytes=0-1");
  request.fields.Add(FieldId::kIfRange, text);
  request.fields.Add(FieldId::kIfNoneMatch, text);
  HeaderMap stored;
  stored.Add(FieldId::kEtag, text);
  Check(EvaluateRange(request, stored, 10), 10);
  EvaluatePreconditions(request, stored, 200, Time());
  if (StrongMatch(text, text) && !WeakMatch(text, text)) std::abort();
  return 0;
}
