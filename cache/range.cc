#include "cache/range.h"

#include <algorithm>

#include "cache/http/date.h"
#include "cache/http/fields.h"
#include "cache/validation.h"

namespace satchel::cache {
namespace {

constexpr size_t kMaxRanges = 16;
constexpr std::string_view kUnit = "bytes";

// Digits only; what does not fit is as good as the largest number.
std::optional<uint64_t> ParsePosition(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  return ParseDecimal(text).value_or(UINT64_MAX);
}

enum class Spec : uint8_t { kMalformed, kUnsatisfiable, kSatisfiable };

// One range-spec (RFC 9110 14.1.1, 14.1.2).
Spec ParseSpec(std::string_view spec, uint64_t length, ByteRange& out) {
  const size_t dash = spec.find('-');
  if (dash == std::string_view::npos) return Spec::kMalformed;
  const std::string_view before = TrimOws(spec.substr(0, dash));
  const std::string_view after = TrimOws(spec.substr(dash + 1));
  if (before.empty()) {
    const std::optional<uint64_t> suffix = ParsePosition(after);
    if (!suffix) return Spec::kMalformed;
    if (*suffix == 0 || length == 0) return Spec::kUnsatisfiable;
    out = {length - std::min(*suffix, length), length - 1};
    return Spec::kSatisfiable;
  }
  const std::optional<uint64_t> first = ParsePosition(before);
  const std::optional<uint64_t> last = after.empty() ? UINT64_MAX : ParsePosition(after);
  if (!first || !last || *last < *first) return Spec::kMalformed;
  if (*first >= length) return Spec::kUnsatisfiable;
  out = {*first, std::min(*last, length - 1)};
  return Spec::kSatisfiable;
}

// Adds a range, joined with those it overlaps or touches, in the place of the first of them. One
// pass will do: what was apart from both is apart from what they make together.
void AddCoalesced(std::vector<ByteRange>& ranges, ByteRange range) {
  size_t place = ranges.size();
  for (size_t i = 0; i < ranges.size();) {
    const bool apart = ranges[i].first > range.last + 1 || range.first > ranges[i].last + 1;
    if (apart) {
      ++i;
      continue;
    }
    range = {std::min(range.first, ranges[i].first), std::max(range.last, ranges[i].last)};
    place = std::min(place, i);
    ranges.erase(ranges.begin() + static_cast<ptrdiff_t>(i));
  }
  place = std::min(place, ranges.size());
  ranges.insert(ranges.begin() + static_cast<ptrdiff_t>(place), range);
}

// RFC 9110 13.1.5. True if there is no If-Range.
bool IfRangeHolds(const RequestHead& request, const HeaderMap& stored_fields) {
  const std::optional<std::string_view> field = request.fields.First(FieldId::kIfRange);
  if (!field) return true;
  if (request.fields.Count(FieldId::kIfRange) != 1) return false;
  const std::string_view condition = TrimOws(*field);
  if (condition.starts_with('"') || condition.starts_with("W/")) {
    return StrongMatch(condition, stored_fields.First(FieldId::kEtag).value_or(""));
  }
  // A date counts only as a strong validator (8.8.2.2): the response was generated at least a
  // second after its last modification, by the same clock.
  const Time epoch;
  const auto date_of = [&](FieldId id) {
    return ParseHttpDate(TrimOws(stored_fields.First(id).value_or("")), epoch);
  };
  const std::optional<Time> wanted = ParseHttpDate(condition, epoch);
  const std::optional<Time> modified = date_of(FieldId::kLastModified);
  const std::optional<Time> date = date_of(FieldId::kDate);
  return wanted && modified && date && *wanted == *modified &&
         *date - *modified >= std::chrono::seconds(1);
}

}  // namespace

RangeVerdict EvaluateByteRanges(std::string_view range_field, uint64_t length) {
  RangeVerdict whole;
  RangeVerdict out;
  const std::string_view text = TrimOws(range_field);
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || !EqualsIgnoreCase(text.substr(0, equals), kUnit)) {
    return whole;
  }
  ListReader reader(text.substr(equals + 1));
  size_t count = 0;
  for (std::string_view member; reader.Next(member);) {
    ByteRange range;
    const Spec spec = ParseSpec(member, length, range);
    if (spec == Spec::kMalformed || ++count > kMaxRanges) return whole;
    if (spec == Spec::kSatisfiable) AddCoalesced(out.ranges, range);
  }
  if (count == 0) return whole;
  // Of nothing, the last bytes are all there is (14.1.2): the whole, not an error.
  if (length == 0 && text.substr(equals + 1).find('-') == 0) return whole;
  out.kind = out.ranges.empty() ? RangeVerdict::Kind::kUnsatisfiable : RangeVerdict::Kind::kPartial;
  return out;
}

RangeVerdict EvaluateRange(const RequestHead& request, const HeaderMap& stored_fields,
                           uint64_t length) {
  if (request.method != Method::kGet || request.fields.Count(FieldId::kRange) != 1 ||
      !IfRangeHolds(request, stored_fields)) {
    return {};
  }
  return EvaluateByteRanges(*request.fields.First(FieldId::kRange), length);
}

RangeVerdict EvaluateStoredPart(const RequestHead& request, const HeaderMap& stored_fields,
                                const ByteRange& have, uint64_t length) {
  RangeVerdict verdict = EvaluateRange(request, stored_fields, length);
  const bool held = verdict.kind == RangeVerdict::Kind::kPartial && verdict.ranges.size() == 1 &&
                    verdict.ranges[0].first >= have.first && verdict.ranges[0].last <= have.last;
  if (!held) return {};
  return verdict;
}

std::string FormatContentRange(const ByteRange& range, uint64_t length) {
  std::string out(kUnit);
  out.append(" ").append(std::to_string(range.first)).append("-");
  out.append(std::to_string(range.last)).append("/").append(std::to_string(length));
  return out;
}

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  std::string_view text = TrimOws(value);
  if (text.size() <= kUnit.size() || !EqualsIgnoreCase(text.substr(0, kUnit.size()), kUnit) ||
      text[kUnit.size()] != ' ') {
    return std::nullopt;
  }
  text = TrimOws(text.substr(kUnit.size()));
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) {
    return std::nullopt;
  }
  const std::optional<uint64_t> first = ParseDecimal(text.substr(0, dash));
  const std::optional<uint64_t> last = ParseDecimal(text.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first || *last == UINT64_MAX) return std::nullopt;
  ContentRange out{{*first, *last}, std::nullopt};
  const std::string_view complete = text.substr(slash + 1);
  if (complete != "*") {
    out.complete_length = ParseDecimal(complete);
    if (!out.complete_length || *out.complete_length <= *last) return std::nullopt;
  }
  return out;
}

bool MakeCompletion(RequestHead& request, const HeaderMap& stored_fields, const ByteRange& have) {
  const std::string_view etag = stored_fields.First(FieldId::kEtag).value_or("");
  if (have.first != 0 || have.last == UINT64_MAX || !StrongMatch(etag, etag)) return false;
  MakeConditional(request, HeaderMap());
  request.fields.Add(FieldId::kRange, "bytes=" + std::to_string(have.last + 1) + "-");
  request.fields.Add(FieldId::kIfRange, TrimOws(etag));
  return true;
}

ResponseHead CompletedHead(const HeaderMap& stored_fields, uint64_t complete_length,
                           const ResponseHead& answer) {
  ResponseHead whole;
  whole.status = 200;
  whole.reason = ReasonPhrase(200);
  whole.fields = MergeNotModified(stored_fields, answer.fields);
  whole.fields.Remove(FieldId::kContentRange);
  whole.fields.Set(FieldId::kContentLength, std::to_string(complete_length));
  // How old the answer was when it came: no stored field, but part of the whole's age.
  whole.fields.Remove(FieldId::kAge);
  if (const auto age = answer.fields.First(FieldId::kAge)) {
    whole.fields.Add(FieldId::kAge, *age);
  }
  return whole;
}

bool CompletesPrefix(const HeaderMap& stored_fields, const ByteRange& have,
                     uint64_t complete_length, const ResponseHead& answer) {
  if (answer.status != 206 || answer.fields.Count(FieldId::kContentRange) != 1) return false;
  const auto content = ParseContentRange(*answer.fields.First(FieldId::kContentRange));
  if (!content || content->complete_length != complete_length || have.first != 0 ||
      content->range.first != have.last + 1 || content->range.last != complete_length - 1) {
    return false;
  }
  return StrongMatch(stored_fields.First(FieldId::kEtag).value_or(""),
                     answer.fields.First(FieldId::kEtag).value_or(""));
}

}  // namespace satchel::cache
