#include "cache/http/fields.h"

#include <algorithm>

#include "cache/http/field_id.h"
#include "cache/http/message.h"

namespace satchel::cache {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

void SkipSeparators(std::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == ',')) {
    text.remove_prefix(1);
  }
}

}  // namespace

bool ListReader::Next(std::string_view& member) {
  SkipSeparators(rest_);
  if (rest_.empty()) return false;
  bool quoted = false;
  size_t end = 0;
  for (; end < rest_.size(); ++end) {
    const char c = rest_[end];
    if (quoted && c == '\\' && end + 1 < rest_.size()) {
      ++end;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      break;
    }
  }
  member = TrimOws(rest_.substr(0, end));
  rest_.remove_prefix(end);
  return true;
}

std::optional<std::chrono::seconds> ParseDeltaSeconds(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t value = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    if (value < kMaxDeltaSeconds.count()) value = value * 10 + (c - '0');
  }
  return std::min(std::chrono::seconds(value), kMaxDeltaSeconds);
}

std::optional<uint64_t> ParseDecimal(std::string_view text) {
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(c - '0'), &value)) {
      return std::nullopt;
    }
  }
  return value;
}

std::optional<EntityTag> ParseEntityTag(std::string_view text) {
  text = TrimOws(text);
  EntityTag tag;
  if (text.starts_with("W/")) {
    tag.weak = true;
    text.remove_prefix(2);
  }
  if (text.empty()) return std::nullopt;
  tag.opaque = text;
  tag.quoted = text.size() >= 2 && text.front() == '"' && text.find('"', 1) == text.size() - 1;
  return tag;
}

bool EntityTagReader::Next(EntityTag& tag) {
  for (;;) {
    SkipSeparators(rest_);
    if (rest_.empty()) return false;
    const size_t quote = rest_.starts_with("W/") ? 2 : 0;
    size_t end = std::string_view::npos;
    if (quote < rest_.size() && rest_[quote] == '"') {
      end = rest_.find('"', quote + 1);
      if (end != std::string_view::npos) end = rest_.find(',', end);
    } else {
      end = rest_.find(',');
    }
    const std::string_view member = rest_.substr(0, end);
    rest_.remove_prefix(member.size());
    if (const std::optional<EntityTag> parsed = ParseEntityTag(member)) {
      tag = *parsed;
      return true;
    }
  }
}

std::optional<int> ParseWeight(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  int value = (text[0] - '0') * 1000;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  int unit = 100;
  for (size_t i = 2; i < text.size(); ++i, unit /= 10) {
    if (!IsDigit(text[i])) return std::nullopt;
    value += (text[i] - '0') * unit;
  }
  if (value > 1000) return std::nullopt;
  return value;
}

std::optional<Preference> ParsePreference(std::string_view member) {
  Preference out;
  const size_t semicolon = member.find(';');
  out.value = TrimOws(member.substr(0, semicolon));
  if (out.value.empty()) return std::nullopt;
  if (semicolon == std::string_view::npos) return out;
  const std::string_view parameter = TrimOws(member.substr(semicolon + 1));
  if (parameter.size() < 2 || ToLowerAscii(parameter[0]) != 'q' || parameter[1] != '=') {
    return std::nullopt;
  }
  const std::optional<int> weight = ParseWeight(parameter.substr(2));
  if (!weight) return std::nullopt;
  out.weight = *weight;
  return out;
}

}  // namespace satchel::cache
