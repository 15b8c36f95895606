#include "cache/parts.h"

#include <algorithm>
#include <utility>

#include "cache/range.h"
#include "cache/tags.h"
#include "cache/validation.h"

namespace satchel::cache {
namespace {

TagSet TagsOf(const StoredResponse& one, const StoredResponse* other) {
  TagSet tags;
  for (const TagId id : one.tags()) tags.AddId(id);
  if (other != nullptr) {
    for (const TagId id : other->tags()) tags.AddId(id);
  }
  return tags;
}

// As `like`, but for what it holds of its whole.
StoredPtr MakePart(const StoredResponse& like, HeaderMap fields, TagSet tags,
                   uint64_t purge_sequence, Body body, const ByteRange& range,
                   uint64_t complete_length) {
  StoredResponse::Parts parts;
  parts.key = like.key();
  parts.vary = like.vary();
  parts.vary_values = like.vary_values();
  parts.facts = like.facts();
  parts.tags = tags.Take();
  parts.purge_sequence = purge_sequence;
  parts.body = std::move(body);
  parts.complete = true;
  fields.Remove(FieldId::kContentLength);
  fields.Remove(FieldId::kContentRange);
  const bool whole = range.size() == complete_length;
  parts.facts.partial = !whole;
  parts.facts.status = whole ? 200 : 206;
  parts.reason = ReasonPhrase(parts.facts.status);
  if (!whole) {
    fields.Add(FieldId::kContentRange, FormatContentRange(range, complete_length));
    parts.partial_range = range;
    parts.complete_length = complete_length;
  }
  parts.fields = std::move(fields);
  return StoredResponse::Make(std::move(parts));
}

}  // namespace

std::optional<uint64_t> DescribePart(const ResponseHead& answer, StoredResponse::Parts& parts) {
  const auto field = answer.fields.First(FieldId::kContentRange);
  const auto content = field ? ParseContentRange(*field) : std::nullopt;
  if (!content || !content->complete_length) return std::nullopt;
  if (content->range.size() < *content->complete_length) {
    parts.partial_range = content->range;
    parts.complete_length = *content->complete_length;
  } else {
    parts.facts.status = 200;
    parts.facts.partial = false;
    parts.reason = ReasonPhrase(200);
    parts.fields.Remove(FieldId::kContentRange);
  }
  return content->range.size();
}

StoredPtr CombineParts(const StoredResponse& older, const StoredResponse& newer) {
  if (!older.facts().partial || !newer.facts().partial ||
      older.complete_length() != newer.complete_length() || older.vary() != newer.vary() ||
      older.vary_values() != newer.vary_values()) {
    return nullptr;
  }
  const HeaderMap old_fields = older.Fields();
  const HeaderMap new_fields = newer.Fields();
  if (!StrongMatch(old_fields.First(FieldId::kEtag).value_or(""),
                   new_fields.First(FieldId::kEtag).value_or(""))) {
    return nullptr;
  }
  const bool old_first = older.partial_range().first <= newer.partial_range().first;
  const StoredResponse& left = old_first ? older : newer;
  const StoredResponse& right = old_first ? newer : older;
  const ByteRange& before = left.partial_range();
  const ByteRange& behind = right.partial_range();
  if (behind.first > before.last + 1) return nullptr;
  Body body = left.body();
  if (behind.last > before.last) {
    const uint64_t skip = before.last + 1 - behind.first;
    body.Append(right.body(), skip, behind.last - before.last);
  }
  const ByteRange range{before.first, std::max(before.last, behind.last)};
  if (body.size() != range.size()) return nullptr;
  // A purge that either must heed ends both.
  return MakePart(newer, MergeNotModified(old_fields, new_fields), TagsOf(older, &newer),
                  std::min(older.purge_sequence(), newer.purge_sequence()), std::move(body), range,
                  newer.complete_length());
}

StoredPtr PrefixOf(const StoredResponse& head, Body body, uint64_t complete_length) {
  const ResponseFacts& facts = head.facts();
  if (facts.status != 200 || facts.partial || !facts.strong_etag || body.empty() ||
      body.size() >= complete_length) {
    return nullptr;
  }
  const ByteRange range{0, body.size() - 1};
  return MakePart(head, head.Fields(), TagsOf(head, nullptr), head.purge_sequence(),
                  std::move(body), range, complete_length);
}

}  // namespace satchel::cache
