#include "cache/http/headers.h"

#include <algorithm>

#include "cache/base/text.h"

namespace satchel::cache {
namespace {

// Room for an ordinary message, taken at once: growing step by step costs more than it saves.
constexpr size_t kFirstBytes = 480;
constexpr size_t kFirstFields = 15;

}  // namespace

void HeaderMap::Add(FieldId id, std::string_view name, std::string_view value) {
  // A caller may pass views into this very map.
  if (text_.capacity() - text_.size() < name.size() + value.size()) {
    const std::string own_name(name);
    const std::string own_value(value);
    text_.reserve(std::max(kFirstBytes, 2 * (text_.size() + name.size() + value.size())));
    Add(id, own_name, own_value);
    return;
  }
  Entry entry;
  entry.at = static_cast<uint32_t>(text_.size());
  entry.name_size = static_cast<uint32_t>(name.size());
  entry.value_size = static_cast<uint32_t>(value.size());
  const size_t size = text_.size() + name.size() + value.size();
  text_.resize_and_overwrite(size, [&](char* data, size_t) {
    PutText(PutText(data + entry.at, name), value);
    return size;
  });
  entry.id = id;
  if (entries_.capacity() == 0) entries_.reserve(kFirstFields);
  entries_.push_back(entry);
  present_.Insert(id);
}

void HeaderMap::Add(std::string_view name, std::string_view value) {
  Add(FindFieldId(name), name, value);
}

void HeaderMap::Add(FieldId id, std::string_view value) { Add(id, FieldName(id), value); }

void HeaderMap::Set(std::string_view name, std::string_view value) {
  const std::string own_name(name);
  const std::string own_value(value);
  Remove(own_name);
  Add(own_name, own_value);
}

void HeaderMap::Set(FieldId id, std::string_view value) {
  const std::string own_value(value);
  Remove(id);
  Add(id, own_value);
}

size_t HeaderMap::Remove(FieldId id) {
  if (!Has(id)) return 0;
  return RemoveIf([id](const Field& field) { return field.id == id; });
}

size_t HeaderMap::Remove(std::string_view name) {
  const FieldId id = FindFieldId(name);
  if (id != FieldId::kOther) return Remove(id);
  return RemoveIf([name](const Field& field) {
    return field.id == FieldId::kOther && EqualsIgnoreCase(field.name, name);
  });
}

void HeaderMap::Clear() {
  text_.clear();
  entries_.clear();
  present_.Clear();
}

void HeaderMap::RebuildPresent() {
  present_.Clear();
  for (const Entry& entry : entries_) present_.Insert(entry.id);
}

std::optional<std::string_view> HeaderMap::First(FieldId id) const {
  if (!Has(id)) return std::nullopt;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].id == id) return (*this)[i].value;
  }
  return std::nullopt;
}

std::optional<std::string_view> HeaderMap::First(std::string_view name) const {
  const FieldId id = FindFieldId(name);
  if (id != FieldId::kOther) return First(id);
  for (const Field field : *this) {
    if (field.id == FieldId::kOther && EqualsIgnoreCase(field.name, name)) return field.value;
  }
  return std::nullopt;
}

size_t HeaderMap::Count(FieldId id) const {
  if (!Has(id)) return 0;
  size_t count = 0;
  for (const Entry& entry : entries_) count += entry.id == id;
  return count;
}

namespace {

void AppendMember(std::optional<std::string>& joined, std::string_view value) {
  if (!joined) {
    joined.emplace(value);
  } else {
    joined->append(", ").append(value);
  }
}

}  // namespace

std::optional<std::string> HeaderMap::Joined(FieldId id) const {
  std::optional<std::string> joined;
  if (!Has(id)) return joined;
  for (const Field field : *this) {
    if (field.id == id) AppendMember(joined, field.value);
  }
  return joined;
}

std::optional<std::string> HeaderMap::Joined(std::string_view name) const {
  const FieldId id = FindFieldId(name);
  if (id != FieldId::kOther) return Joined(id);
  std::optional<std::string> joined;
  for (const Field field : *this) {
    if (field.id == FieldId::kOther && EqualsIgnoreCase(field.name, name)) {
      AppendMember(joined, field.value);
    }
  }
  return joined;
}

}  // namespace satchel::cache
