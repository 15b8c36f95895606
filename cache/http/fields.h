#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "cache/base/clock.h"

namespace satchel::cache {

// Small pieces that many fields are made of. All views point into the text given.

// The members of a comma-separated list (RFC 9110 5.6.1), split outside quoted strings only
// (5.6.4), trimmed, empty members skipped. A quoted string without end reaches to the end.
class ListReader {
 public:
  explicit ListReader(std::string_view text) : rest_(text) {}
  // False when there are no more members.
  bool Next(std::string_view& member);

 private:
  std::string_view rest_;
};

// delta-seconds (RFC 9111 1.2.2): digits only, leading zeros allowed. 2^31 and above give 2^31.
// nullopt for anything else, the empty text included.
constexpr std::chrono::seconds kMaxDeltaSeconds{int64_t{1} << 31};
std::optional<std::chrono::seconds> ParseDeltaSeconds(std::string_view text);

// Digits only; nullopt if empty, malformed or above 2^64 - 1.
std::optional<uint64_t> ParseDecimal(std::string_view text);

// An entity tag (RFC 9110 8.8.3). Tags without quotes occur in the wild: they are kept as they
// are, equal only to themselves, never strong.
struct EntityTag {
  bool weak = false;
  bool quoted = false;
  std::string_view opaque;  // with its quotes
  bool strong() const { return quoted && !weak; }
};
// The whole of a field value; nullopt if it is empty.
std::optional<EntityTag> ParseEntityTag(std::string_view text);

// The entity tags of If-None-Match or If-Match (RFC 9110 13.1.1, 13.1.2). Not a ListReader: a
// backslash inside an entity tag escapes nothing.
class EntityTagReader {
 public:
  explicit EntityTagReader(std::string_view text) : rest_(text) {}
  bool Next(EntityTag& tag);

 private:
  std::string_view rest_;
};

// A weight (RFC 9110 12.4.2) in thousandths: "0.5" is 500. nullopt if malformed.
std::optional<int> ParseWeight(std::string_view text);

// A member of Accept-Encoding, Accept-Language and the like: its value and its weight (1000 if
// none is given). nullopt if the weight is malformed or the value empty.
struct Preference {
  std::string_view value;
  int weight = 1000;
};
std::optional<Preference> ParsePreference(std::string_view member);

}  // namespace satchel::cache
