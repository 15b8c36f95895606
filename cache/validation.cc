#include "cache/validation.h"

#include <algorithm>

#include "cache/http/date.h"
#include "cache/http/fields.h"
#include "cache/storability.h"

namespace satchel::cache {
namespace {

constexpr FieldSet kClientConditions{FieldId::kIfMatch,           FieldId::kIfModifiedSince,
                                     FieldId::kIfNoneMatch,       FieldId::kIfRange,
                                     FieldId::kIfUnmodifiedSince, FieldId::kRange};

// What a 304 can't change: it describes the bytes we hold (RFC 9111 3.2).
constexpr FieldSet kOfTheStoredBytes{FieldId::kContentLength, FieldId::kContentEncoding,
                                     FieldId::kContentRange};

// 304 fields: RFC 9110 15.4.5, and what else guides caches.
constexpr FieldSet kInNotModified{FieldId::kEtag,
                                  FieldId::kDate,
                                  FieldId::kCacheControl,
                                  FieldId::kExpires,
                                  FieldId::kVary,
                                  FieldId::kContentLocation,
                                  FieldId::kCacheGroups,
                                  FieldId::kCdnCacheControl,
                                  FieldId::kSatchelCacheControl,
                                  FieldId::kNoVarySearch,
                                  FieldId::kCacheStatus};

std::string_view Field(const HeaderMap& fields, FieldId id) {
  return TrimOws(fields.First(id).value_or(std::string_view()));
}

bool MatchesAny(std::string_view list, std::string_view etag) {
  if (TrimOws(list) == "*") return true;
  const std::optional<EntityTag> own = ParseEntityTag(etag);
  if (!own) return false;
  EntityTagReader reader(list);
  for (EntityTag tag; reader.Next(tag);) {
    if (tag.opaque == own->opaque) return true;
  }
  return false;
}

}  // namespace

bool WeakMatch(std::string_view a, std::string_view b) {
  const std::optional<EntityTag> first = ParseEntityTag(a);
  const std::optional<EntityTag> second = ParseEntityTag(b);
  return first && second && first->opaque == second->opaque;
}

bool StrongMatch(std::string_view a, std::string_view b) {
  const std::optional<EntityTag> first = ParseEntityTag(a);
  const std::optional<EntityTag> second = ParseEntityTag(b);
  return first && second && first->strong() && second->strong() && first->opaque == second->opaque;
}

Precondition EvaluatePreconditions(const RequestHead& request, const HeaderMap& stored_fields,
                                   uint16_t stored_status, Time received) {
  if (!request.Reads()) return Precondition::kSendFull;
  // Conditions are about what would have been a success (RFC 9110 13.2.1).
  if (stored_status < 200 || stored_status > 299) return Precondition::kSendFull;

  if (const auto list = request.fields.Joined(FieldId::kIfNoneMatch)) {
    return MatchesAny(*list, Field(stored_fields, FieldId::kEtag)) ? Precondition::kNotModified
                                                                   : Precondition::kSendFull;
  }
  if (request.fields.Count(FieldId::kIfModifiedSince) != 1) return Precondition::kSendFull;
  const std::optional<Time> since =
      ParseHttpDate(Field(request.fields, FieldId::kIfModifiedSince), received);
  if (!since) return Precondition::kSendFull;
  std::optional<Time> modified =
      ParseHttpDate(Field(stored_fields, FieldId::kLastModified), received);
  if (!modified) modified = ParseHttpDate(Field(stored_fields, FieldId::kDate), received);
  const Time at = std::chrono::floor<std::chrono::seconds>(modified.value_or(received));
  return at <= *since ? Precondition::kNotModified : Precondition::kSendFull;
}

bool MakeConditional(RequestHead& request, const HeaderMap& stored_fields) {
  if (request.fields.HasAny(kClientConditions)) {
    request.fields.RemoveIf(
        [](const HeaderMap::Field& field) { return kClientConditions.Contains(field.id); });
  }
  const std::string_view etag = Field(stored_fields, FieldId::kEtag);
  const std::string_view modified = Field(stored_fields, FieldId::kLastModified);
  if (!etag.empty()) request.fields.Add(FieldId::kIfNoneMatch, etag);
  if (!modified.empty()) request.fields.Add(FieldId::kIfModifiedSince, modified);
  return !etag.empty() || !modified.empty();
}

HeaderMap MergeNotModified(const HeaderMap& stored_fields, const HeaderMap& not_modified_fields) {
  HeaderMap update = not_modified_fields;
  RemoveHopByHop(update);
  update.RemoveIf(
      [](const HeaderMap::Field& field) { return kOfTheStoredBytes.Contains(field.id); });
  HeaderMap out = stored_fields;
  out.RemoveIf([&](const HeaderMap::Field& field) {
    return field.id == FieldId::kOther ? update.Has(field.name) : update.Has(field.id);
  });
  for (const HeaderMap::Field field : update) out.Add(field.name, field.value);
  return out;
}

bool NotModifiedSelects(const HeaderMap& stored_fields, const HeaderMap& not_modified_fields) {
  const std::string_view etag = Field(not_modified_fields, FieldId::kEtag);
  if (const std::optional<EntityTag> tag = ParseEntityTag(etag)) {
    const std::string_view stored = Field(stored_fields, FieldId::kEtag);
    return tag->strong() ? StrongMatch(etag, stored) : WeakMatch(etag, stored);
  }
  const std::string_view modified = Field(not_modified_fields, FieldId::kLastModified);
  return modified.empty() || modified == Field(stored_fields, FieldId::kLastModified);
}

bool HeadConfirms(const HeaderMap& stored_fields, uint64_t stored_length,
                  const HeaderMap& head_fields) {
  const std::string_view etag = Field(head_fields, FieldId::kEtag);
  const std::string_view stored = Field(stored_fields, FieldId::kEtag);
  if (!etag.empty() && etag != stored) return false;
  const std::string_view modified = Field(head_fields, FieldId::kLastModified);
  if (!modified.empty() && modified != Field(stored_fields, FieldId::kLastModified)) return false;
  if (!head_fields.Has(FieldId::kContentLength)) return true;
  return ParseDecimal(Field(head_fields, FieldId::kContentLength)) == stored_length;
}

bool BelongsInNotModified(FieldId id) { return kInNotModified.Contains(id); }

}  // namespace satchel::cache
