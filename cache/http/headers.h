#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/field_id.h"

namespace satchel::cache {

// The field lines of one message in the order received (RFC 9110 5.2, 5.3). Names keep their
// spelling and are compared without regard to case. Clear() keeps the memory, so a map that is
// reused for the next message allocates nothing. Views stay valid until the next change.
class HeaderMap {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
    FieldId id;
  };

  class Iterator {
   public:
    Iterator(const HeaderMap* map, size_t index) : map_(map), index_(index) {}
    Field operator*() const { return (*map_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    const HeaderMap* map_;
    size_t index_;
  };

  void Add(std::string_view name, std::string_view value);
  void Add(FieldId id, std::string_view value);
  void Add(FieldId id, std::string_view name, std::string_view value);  // `id` is that of `name`

  // Replaces all lines of that name by one; adds it if there was none.
  void Set(std::string_view name, std::string_view value);
  void Set(FieldId id, std::string_view value);

  // Both return how many lines went away.
  size_t Remove(FieldId id);
  size_t Remove(std::string_view name);

  template <typename Predicate>  // bool(const Field&)
  size_t RemoveIf(Predicate predicate) {
    size_t kept = 0;
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!predicate((*this)[i])) entries_[kept++] = entries_[i];
    }
    const size_t removed = entries_.size() - kept;
    if (removed != 0) {
      entries_.resize(kept);
      RebuildPresent();
    }
    return removed;
  }

  void Clear();

  bool Has(FieldId id) const { return present_.Contains(id); }
  bool Has(std::string_view name) const { return First(name).has_value(); }
  // True if any field of the set is there; one instruction or two.
  bool HasAny(const FieldSet& set) const { return present_.Intersects(set); }

  // The value of the first line of that name.
  std::optional<std::string_view> First(FieldId id) const;
  std::optional<std::string_view> First(std::string_view name) const;

  size_t Count(FieldId id) const;

  // All lines of that name as one value, joined by ", " (RFC 9110 5.2, 5.3); nullopt if there is
  // no such line.
  std::optional<std::string> Joined(FieldId id) const;
  std::optional<std::string> Joined(std::string_view name) const;

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Field operator[](size_t i) const {
    const Entry& e = entries_[i];
    const char* const name = text_.data() + e.at;
    return {{name, e.name_size}, {name + e.name_size, e.value_size}, e.id};
  }
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, entries_.size()}; }

 private:
  // The value follows its name. 16 bytes.
  struct Entry {
    uint32_t at;
    uint32_t name_size;
    uint32_t value_size;
    FieldId id;
  };

  void RebuildPresent();

  std::string text_;
  std::vector<Entry> entries_;
  FieldSet present_;
};

}  // namespace satchel::cache
