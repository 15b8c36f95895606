#include "cache/variants.h"

#include <algorithm>
#include <optional>
#include <string>

#include "cache/http/fields.h"
#include "cache/validation.h"
#include "cache/vary.h"

namespace satchel::cache {
namespace {

constexpr size_t kMaxNamed = 16;
constexpr size_t kMaxTag = 128;  // bytes

constexpr FieldSet kOwnAnswer{FieldId::kRange,       FieldId::kIfRange,
                              FieldId::kIfNoneMatch, FieldId::kIfModifiedSince,
                              FieldId::kIfMatch,     FieldId::kIfUnmodifiedSince};

bool MayBeShared(const VarySpec& vary, bool weak) {
  for (const std::string& name : vary.names) {
    if (name == "cookie" || name == "authorization") return false;
    if (weak && name != "accept-encoding") return false;
  }
  return !vary.star;
}

}  // namespace

bool AcceptsCodings(const RequestHead& request, std::string_view content_encoding) {
  std::vector<Preference> accepted;
  const std::string joined = request.fields.Joined(FieldId::kAcceptEncoding).value_or("");
  ListReader preferences(joined);
  for (std::string_view member; preferences.Next(member);) {
    const std::optional<Preference> preference = ParsePreference(member);
    if (!preference) return false;
    accepted.push_back(*preference);
  }
  // "x-gzip" is "gzip" (8.4.1.3).
  const auto canonical = [](std::string_view coding) {
    return EqualsIgnoreCase(coding, "x-gzip") ? std::string_view("gzip") : coding;
  };
  const auto weight_of = [&](std::string_view coding) {
    std::optional<int> any;
    for (const Preference& preference : accepted) {
      if (EqualsIgnoreCase(canonical(preference.value), canonical(coding))) {
        return preference.weight;
      }
      if (preference.value == "*") any = preference.weight;
    }
    return any.value_or(EqualsIgnoreCase(coding, "identity") ? 1 : 0);
  };
  bool coded = false;
  ListReader codings(content_encoding);
  for (std::string_view coding; codings.Next(coding);) {
    if (EqualsIgnoreCase(coding, "identity")) continue;
    coded = true;
    if (weight_of(coding) == 0) return false;
  }
  return coded || weight_of("identity") > 0;
}

std::vector<StoredPtr> NameableVariants(const RequestHead& request, std::vector<StoredPtr> stored) {
  if (request.method != Method::kGet || request.fields.HasAny(kOwnAnswer)) return {};
  std::erase_if(stored, [&](const StoredPtr& variant) {
    if (variant->facts().partial || !variant->facts().has_etag || !variant->complete()) return true;
    const HeaderMap fields = variant->Fields();
    const std::optional<EntityTag> tag =
        ParseEntityTag(fields.First(FieldId::kEtag).value_or(std::string_view()));
    // One without quotes can't stand in a list with others.
    return !tag || !tag->quoted || tag->opaque.size() > kMaxTag ||
           !MayBeShared(variant->vary(), tag->weak) ||
           !AcceptsCodings(request, fields.Joined(FieldId::kContentEncoding).value_or(""));
  });
  if (stored.size() > kMaxNamed) stored.resize(kMaxNamed);
  return stored;
}

void NameVariants(RequestHead& request, const std::vector<StoredPtr>& variants) {
  std::vector<std::string> tags;
  for (const StoredPtr& variant : variants) {
    const HeaderMap fields = variant->Fields();
    tags.emplace_back(fields.First(FieldId::kEtag).value_or(""));
  }
  std::sort(tags.begin(), tags.end());
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  std::string list;
  for (const std::string& tag : tags) {
    if (!list.empty()) list.append(", ");
    list.append(tag);
  }
  if (!list.empty()) request.fields.Add(FieldId::kIfNoneMatch, list);
}

StoredPtr VariantNamedBy(const HeaderMap& not_modified_fields,
                         const std::vector<StoredPtr>& variants) {
  // Without a tag it speaks of the only one there is.
  if (!not_modified_fields.Has(FieldId::kEtag) && variants.size() != 1) return nullptr;
  StoredPtr found;
  for (const StoredPtr& variant : variants) {
    if (!NotModifiedSelects(variant->Fields(), not_modified_fields)) continue;
    if (!found || variant->facts().date > found->facts().date) found = variant;
  }
  return found;
}

StoredPtr WithUpdate(const StoredResponse& old, const UpdateResult& update,
                     const RequestHead& request, const Overrides& overrides,
                     StoredResponse::Update with, bool for_request) {
  VarySpec vary = ParseVary(update.fields);
  if (for_request || vary != old.vary()) {
    with.vary_values = VaryValues(vary, request, overrides);
    with.vary = std::move(vary);
  }
  return StoredResponse::WithFields(old, update.fields, update.verdict.facts, std::move(with));
}

}  // namespace satchel::cache
