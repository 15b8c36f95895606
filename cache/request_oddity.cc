#include "cache/request_oddity.h"

#include <algorithm>
#include <array>

namespace satchel::cache {
namespace {

constexpr size_t kUsualFieldBytes = 8192;
constexpr size_t kUsualFields = 64;
constexpr size_t kUsualTarget = 2048;

constexpr FieldSet kConditions{FieldId::kIfMatch, FieldId::kIfModifiedSince, FieldId::kIfNoneMatch,
                               FieldId::kIfRange, FieldId::kIfUnmodifiedSince};

constexpr std::array<std::string_view, 5> kMethodOverrides = {
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method",
    "X-Rewrite-Method"};

constexpr std::array<std::string_view, 34> kStaticSuffixes = {
    "css", "js",   "mjs", "map", "png", "jpg",   "jpeg", "gif", "webp", "avif", "svg", "ico",
    "bmp", "woff", "ttf", "otf", "eot", "pdf",   "mp3",  "mp4", "webm", "ogg",  "wav", "avi",
    "zip", "gz",   "tar", "jar", "swf", "woff2", "csv",  "doc", "docx", "exe"};

bool HasUnusualFields(const RequestHead& request) {
  if (request.target.size() > kUsualTarget || request.fields.size() > kUsualFields) return true;
  size_t bytes = 0;
  for (const HeaderMap::Field field : request.fields) {
    bytes += field.name.size() + field.value.size();
    if (field.id == FieldId::kExpect || field.id == FieldId::kUpgrade) return true;
    if (field.id == FieldId::kOther &&
        std::any_of(kMethodOverrides.begin(), kMethodOverrides.end(),
                    [&](std::string_view name) { return EqualsIgnoreCase(name, field.name); })) {
      return true;
    }
    const bool odd_bytes = std::any_of(field.value.begin(), field.value.end(), [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return (byte < 0x20 && byte != '\t') || byte == 0x7f;
    });
    if (odd_bytes) return true;
  }
  return bytes > kUsualFieldBytes;
}

}  // namespace

bool MayBeOfOwnMaking(const RequestHead& request, uint16_t status) {
  const bool ranged = request.fields.Has(FieldId::kRange);
  switch (status) {
    case 400:
    case 413:
    case 414:
    case 431:
    case 405:
    case 501:
      return ranged || HasUnusualFields(request);
    case 412:
      return request.fields.HasAny(kConditions);
    case 416:
      return ranged;
    case 417:
      return request.fields.Has(FieldId::kExpect);
    default:
      return false;
  }
}

bool IsDeceptive(const RequestHead& request, const ResponseHead& response) {
  const std::string_view path = request.path();
  const std::string_view segment = path.substr(path.rfind('/') + 1);
  const size_t dot = segment.rfind('.');
  if (dot == std::string_view::npos) return false;
  const std::string_view suffix = segment.substr(dot + 1);
  if (std::none_of(kStaticSuffixes.begin(), kStaticSuffixes.end(),
                   [&](std::string_view known) { return EqualsIgnoreCase(known, suffix); })) {
    return false;
  }
  const std::optional<std::string_view> type = response.fields.First(FieldId::kContentType);
  if (!type) return false;
  const std::string_view media = TrimOws(type->substr(0, type->find(';')));
  return EqualsIgnoreCase(media, "text/html") || EqualsIgnoreCase(media, "application/json") ||
         EqualsIgnoreCase(media, "application/xhtml+xml") ||
         (media.size() > 5 && EqualsIgnoreCase(media.substr(media.size() - 5), "+json"));
}

}  // namespace satchel::cache
