#include "cache/purge_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace satchel::cache {
namespace {

constexpr std::string_view kLetters = "utprh*";  // in the order of PurgeKind
constexpr size_t kDigits = 16;

std::string_view HostOfKey(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  return url.substr(0, url.find_first_of("/?"));
}

}  // namespace

std::string_view PurgeKindWord(PurgeKind kind) {
  static constexpr std::array<std::string_view, kPurgeKinds> kWords = {"url",  "tag",  "prefix",
                                                                       "rule", "host", "all"};
  return kWords[static_cast<size_t>(kind)];
}

std::string_view UrlOfKey(std::string_view key) { return key.substr(0, key.find('\n')); }

PurgeRecord PurgeRecord::Url(std::string_view base, bool soft) {
  return {PurgeKind::kUrl, soft, TextId(base)};
}
PurgeRecord PurgeRecord::Tag(std::string_view tag, bool soft) {
  return {PurgeKind::kTag, soft, TagOf(tag)};
}
PurgeRecord PurgeRecord::Group(std::string_view scheme, std::string_view authority,
                               std::string_view group, bool soft) {
  return {PurgeKind::kTag, soft, GroupTag(scheme, authority, group)};
}
PurgeRecord PurgeRecord::Prefix(std::string_view prefix, bool soft) {
  return {PurgeKind::kPrefix, soft, TextId(prefix), static_cast<uint32_t>(prefix.size())};
}
PurgeRecord PurgeRecord::Rule(std::string_view name, bool soft) {
  return {PurgeKind::kRule, soft, RuleTag(name)};
}
PurgeRecord PurgeRecord::Host(std::string_view authority, bool soft) {
  return {PurgeKind::kHost, soft, TextId(authority)};
}
PurgeRecord PurgeRecord::All(bool soft) { return {PurgeKind::kAll, soft}; }

std::string PurgeRecord::ToText() const {
  std::string text(soft ? "s" : "h");
  text += kLetters[static_cast<size_t>(kind)];
  if (kind == PurgeKind::kAll) return text;
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[id >> shift & 15];
  if (kind == PurgeKind::kPrefix) text += '.' + std::to_string(length);
  return text;
}

std::optional<PurgeRecord> PurgeRecord::FromText(std::string_view text) {
  if (text.size() < 2 || (text[0] != 'h' && text[0] != 's')) return std::nullopt;
  const size_t letter = kLetters.find(text[1]);
  if (letter == std::string_view::npos) return std::nullopt;
  PurgeRecord record;
  record.soft = text[0] == 's';
  record.kind = static_cast<PurgeKind>(letter);
  text.remove_prefix(2);
  if (record.kind == PurgeKind::kAll) {
    if (!text.empty()) return std::nullopt;
    return record;
  }
  if (text.size() < kDigits) return std::nullopt;
  const char* const end = text.data() + kDigits;
  const auto number = std::from_chars(text.data(), end, record.id, 16);
  if (number.ec != std::errc() || number.ptr != end) return std::nullopt;
  text.remove_prefix(kDigits);
  if (record.kind != PurgeKind::kPrefix) {
    if (!text.empty()) return std::nullopt;
    return record;
  }
  if (text.size() < 2 || text[0] != '.') return std::nullopt;
  const char* const last = text.data() + text.size();
  const auto length = std::from_chars(text.data() + 1, last, record.length);
  if (length.ec != std::errc() || length.ptr != last) return std::nullopt;
  return record;
}

// ---- Changing

void PurgeTable::Apply(const PurgeRecord& record, uint64_t sequence) {
  if (sequence <= floor_ && record.soft) return;
  const auto [at, added] = records_.try_emplace(Key{record.id, record.kind});
  Marks& marks = at->second;
  uint64_t& mark = record.soft ? marks.soft : marks.hard;
  mark = std::max(mark, sequence);
  if (record.kind == PurgeKind::kTag) {
    uint64_t& any = record.soft ? any_tag_.soft : any_tag_.hard;
    any = std::max(any, sequence);
  }
  if (record.kind == PurgeKind::kPrefix) {
    marks.length = record.length;
    Length& length = lengths_[record.length];
    if (added) ++length.prefixes;
    length.last = std::max(length.last, sequence);
  }
  if (records_.size() > max_records_) Fold();
}

// The older quarter goes at once, so that folding costs little for each record.
void PurgeTable::Fold() {
  std::vector<uint64_t> sequences;
  sequences.reserve(records_.size());
  for (const auto& [key, marks] : records_) sequences.push_back(marks.last());
  const auto quarter = sequences.begin() + static_cast<std::ptrdiff_t>(sequences.size() / 4);
  std::nth_element(sequences.begin(), quarter, sequences.end());
  RaiseFloor(*quarter, true);
}

void PurgeTable::RaiseFloor(uint64_t sequence, bool forget) {
  floor_ = std::max(floor_, sequence);
  if (forget) Forget(sequence);
}

void PurgeTable::Forget(uint64_t up_to) {
  for (auto at = records_.begin(); at != records_.end();) {
    if (at->second.last() > up_to) {
      ++at;
      continue;
    }
    if (at->first.kind == PurgeKind::kPrefix) {
      const auto length = lengths_.find(at->second.length);
      if (length != lengths_.end() && --length->second.prefixes == 0) lengths_.erase(length);
    }
    at = records_.erase(at);
  }
}

// ---- Judging

class PurgeTable::Judgement {
 public:
  Judgement(const PurgeTable& table, uint64_t since) : table_(table), since_(since) {}

  void Look(PurgeKind kind, uint64_t id) {
    const auto at = table_.records_.find(Key{id, kind});
    if (at != table_.records_.end()) Take(at->second);
  }
  void Take(const Marks& marks) {
    if (marks.hard > since_) gone_ = true;
    if (marks.soft > since_) soft_ = std::min(soft_, marks.soft);
  }
  bool gone() const { return gone_; }

  PurgeVerdict Verdict() const {
    if (gone_) return {Fate::kGone, 0};
    if (table_.floor_ > since_) return {Fate::kDoubtful, std::min(soft_, table_.floor_)};
    if (soft_ != UINT64_MAX) return {Fate::kSoft, soft_};
    return {};
  }

 private:
  const PurgeTable& table_;
  const uint64_t since_;
  bool gone_ = false;
  uint64_t soft_ = UINT64_MAX;
};

PurgeVerdict PurgeTable::Judge(const PurgeSubject& subject, uint64_t since) const {
  Judgement judgement(*this, since);
  if (!records_.empty()) {
    const std::string_view url = UrlOfKey(subject.key);
    judgement.Look(PurgeKind::kAll, 0);
    judgement.Look(PurgeKind::kUrl, TextId(url));
    judgement.Look(PurgeKind::kHost, TextId(HostOfKey(url)));
    if (subject.rule != 0) judgement.Look(PurgeKind::kRule, subject.rule);
    for (const TagId tag : subject.tags) {
      if (tag == kAnyTag) {
        judgement.Take(any_tag_);
      } else {
        judgement.Look(PurgeKind::kTag, tag);
      }
    }
    for (const auto& [length, known] : lengths_) {
      if (length > url.size() || judgement.gone()) break;
      if (known.last > since) judgement.Look(PurgeKind::kPrefix, TextId(url.substr(0, length)));
    }
  }
  return judgement.Verdict();
}

}  // namespace satchel::cache
