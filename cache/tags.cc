#include "cache/tags.h"

#include <algorithm>
#include <string>

#include "cache/base/xxh3.h"
#include "cache/http/message.h"

namespace satchel::cache {
namespace {

// Not the process' own seed: records and messages between processes mean the same by a number.
constexpr uint64_t kSeed = 0x5461675f53746352;

void AddSplit(std::string_view text, std::string_view separators, TagSet& tags) {
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of(separators), text.size());
    tags.Add(TrimOws(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

uint64_t TextId(std::string_view text) {
  const uint64_t id = XXH3_64bits_withSeed(text.data(), text.size(), kSeed);
  return id == kAnyTag ? 1 : id;
}

TagId TagOf(std::string_view text) { return TextId(text.substr(0, kMaxTagBytes)); }

uint16_t RuleTag(std::string_view rule_name) {
  const auto tag = static_cast<uint16_t>(TextId(rule_name));
  return tag == 0 ? 1 : tag;
}

void TagSet::Add(std::string_view text) {
  if (!text.empty()) AddId(TagOf(text));
}

void TagSet::AddId(TagId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at != ids_.end() && *at == id) return;
  if (ids_.size() < kMaxTags) {
    ids_.insert(at, id);
  } else if (ids_.front() != kAnyTag) {
    ids_.pop_back();
    ids_.insert(ids_.begin(), kAnyTag);
  }
}

void AddTagsOf(const HeaderMap& fields, TagSet& tags) {
  static constexpr FieldSet kFields{FieldId::kCacheTag, FieldId::kSurrogateKey, FieldId::kXkey};
  if (!fields.HasAny(kFields)) return;
  for (const HeaderMap::Field field : fields) {
    if (field.id == FieldId::kCacheTag) {
      AddSplit(field.value, ",", tags);
    } else if (field.id == FieldId::kSurrogateKey || field.id == FieldId::kXkey) {
      AddSplit(field.value, " \t", tags);
    }
  }
}

TagId GroupTag(std::string_view scheme, std::string_view authority, std::string_view group) {
  // No tag of an operator or origin begins with a line feed.
  std::string text("\ngroup\n");
  text.append(scheme).append("://").append(authority).append("\n").append(group);
  return TextId(text);
}

}  // namespace satchel::cache
