#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/http/headers.h"

namespace satchel::cache {

// A name by which stored responses are purged together, as a number: 64 bits of a hash that is the
// same in every process and version. Two names with one number are purged together, which costs a
// fetch and is never wrong.
using TagId = uint64_t;

inline constexpr size_t kMaxTagBytes = 512;  // of one tag; longer ones are cut off
inline constexpr size_t kMaxTags = 256;      // of one response

// Stands for the tags that a response had beyond kMaxTags: a purge by any tag purges it.
inline constexpr TagId kAnyTag = 0;

TagId TagOf(std::string_view text);
// The number of any other text that purges name; never kAnyTag.
uint64_t TextId(std::string_view text);

// The short form of a rule's name that stored responses carry: never 0. Two rules with one number
// are purged together.
uint16_t RuleTag(std::string_view rule_name);

// The tags of one response: sorted, unique, bounded. Beyond the bound kAnyTag stands for the rest.
class TagSet {
 public:
  void Add(std::string_view text);  // an empty one is none
  void AddId(TagId id);
  const std::vector<TagId>& ids() const { return ids_; }
  std::vector<TagId> Take() { return std::move(ids_); }

 private:
  std::vector<TagId> ids_;
};

// Adds what the origin names in Surrogate-Key and xkey (separated by spaces) and in Cache-Tag
// (separated by commas). `fields` are those of the answer as it came.
void AddTagsOf(const HeaderMap& fields, TagSet& tags);
// The group of an origin (RFC 9875) as a tag: the same word of another origin is another.
TagId GroupTag(std::string_view scheme, std::string_view authority, std::string_view group);

}  // namespace satchel::cache
