#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cache/tags.h"

namespace satchel::cache {

// What a purge names. All but kAll carry a number made of a text (PurgeRecord's functions).
enum class PurgeKind : uint8_t { kUrl, kTag, kPrefix, kRule, kHost, kAll };
inline constexpr size_t kPurgeKinds = 6;
std::string_view PurgeKindWord(PurgeKind kind);  // "url"

// One thing purged. A hard purge ends stored responses; a soft one makes them stale, and what may be
// served stale goes on being served.
struct PurgeRecord {
  PurgeKind kind = PurgeKind::kAll;
  bool soft = false;
  uint64_t id = 0;
  uint32_t length = 0;  // of a prefix, in bytes

  // `base` is what UrlOfKey() gives: all variants go, and whatever headers or cookies the key holds.
  static PurgeRecord Url(std::string_view base, bool soft);
  static PurgeRecord Tag(std::string_view tag, bool soft);
  static PurgeRecord Group(std::string_view scheme, std::string_view authority,
                           std::string_view group, bool soft);
  static PurgeRecord Prefix(std::string_view prefix, bool soft);  // of keys
  static PurgeRecord Rule(std::string_view name, bool soft);
  static PurgeRecord Host(std::string_view authority, bool soft);  // port included, as in the key
  static PurgeRecord All(bool soft);

  // Short and without secrets, for example "ht00c0ffee00c0ffee": hard, tag, number.
  std::string ToText() const;
  static std::optional<PurgeRecord> FromText(std::string_view text);

  bool operator==(const PurgeRecord&) const = default;
};

// A key without what follows the target: scheme, host and target, as far as the rule keeps them.
std::string_view UrlOfKey(std::string_view key);

// What a purge may hit of a stored response.
struct PurgeSubject {
  std::string_view key;
  std::span<const TagId> tags;
  uint16_t rule = 0;
};

enum class Fate : uint8_t {
  kValid,
  kSoft,      // stale since a soft purge: the stale windows count from there
  kDoubtful,  // older than what is known of purges: to be validated before it is served
  kGone,
};
struct PurgeVerdict {
  Fate fate = Fate::kValid;
  uint64_t at = 0;  // kSoft, kDoubtful: the sequence since which it is stale
};

// Everything purged, by the sequence of the last purge of each name. Purges are numbered by
// microseconds of one clock, strictly increasing. Bounded: beyond max_records the older ones fold
// into a floor, and what is older than the floor is doubtful. Not thread-safe; see purges.h.
class PurgeTable {
 public:
  explicit PurgeTable(size_t max_records = 100'000) : max_records_(max_records) {}

  void Apply(const PurgeRecord& record, uint64_t sequence);
  // All that was stored before is doubtful; what is recorded from before is forgotten if `forget`.
  void RaiseFloor(uint64_t sequence, bool forget);

  // `since`: no purge up to this one concerns the subject.
  PurgeVerdict Judge(const PurgeSubject& subject, uint64_t since) const;

  size_t size() const { return records_.size(); }
  uint64_t floor() const { return floor_; }

 private:
  struct Key {
    uint64_t id;
    PurgeKind kind;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const { return key.id + static_cast<size_t>(key.kind); }
  };
  struct Marks {
    uint64_t hard = 0;
    uint64_t soft = 0;
    uint32_t length = 0;
    uint64_t last() const { return hard > soft ? hard : soft; }
  };
  // Of prefixes of one length.
  struct Length {
    size_t prefixes = 0;
    uint64_t last = 0;
  };
  class Judgement;

  void Fold();
  void Forget(uint64_t up_to);

  const size_t max_records_;
  std::unordered_map<Key, Marks, Hash> records_;
  std::map<uint32_t, Length> lengths_;
  Marks any_tag_;  // the last purge of any tag
  uint64_t floor_ = 0;
};

}  // namespace satchel::cache
