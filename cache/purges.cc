#include "cache/purges.h"

#include <algorithm>
#include <mutex>

namespace satchel::cache {

PurgeSubject SubjectOf(const StoredResponse& response) {
  return {response.key(), response.tags(), response.facts().rule};
}

// With the lock held: writers alone change the head.
void Purges::RaiseHead(uint64_t sequence) {
  head_.store(std::max(sequence, head_.load(std::memory_order_relaxed)), std::memory_order_release);
}

uint64_t Purges::Apply(std::span<const PurgeRecord> records, uint64_t sequence, uint64_t* before) {
  const std::unique_lock lock(mutex_);
  const uint64_t head = head_.load(std::memory_order_relaxed);
  if (before != nullptr) *before = head;
  sequence = std::max(sequence, head + 1);
  for (const PurgeRecord& record : records) table_.Apply(record, sequence);
  for (const PurgeRecord& record : records) {
    applied_[static_cast<size_t>(record.kind)][record.soft ? 1 : 0].fetch_add(
        1, std::memory_order_relaxed);
  }
  RaiseHead(sequence);
  return sequence;
}

void Purges::Doubt(uint64_t sequence, bool forget) {
  const std::unique_lock lock(mutex_);
  table_.RaiseFloor(sequence, forget);
  RaiseHead(sequence);
}

void Purges::Advance(uint64_t sequence) {
  const std::unique_lock lock(mutex_);
  RaiseHead(sequence);
}

PurgeVerdict Purges::Judge(const PurgeSubject& subject, uint64_t since) const {
  if (since >= head()) return {};
  const std::shared_lock lock(mutex_);
  return table_.Judge(subject, since);
}

StoredPtr Purges::Check(const StoredPtr& response) const {
  const uint64_t since = response->purge_sequence();
  // Read before judging: the table then holds everything up to here.
  const uint64_t known = head();
  if (since >= known) return response;
  const PurgeVerdict verdict = Judge(SubjectOf(*response), since);
  switch (verdict.fate) {
    case Fate::kValid:
      response->RaisePurgeSequence(known);
      return response;
    case Fate::kGone:
      gone_.fetch_add(1, std::memory_order_relaxed);
      return nullptr;
    case Fate::kSoft:
    case Fate::kDoubtful:
      break;
  }
  ResponseFacts facts = response->facts();
  facts.stale_by_purge = true;
  // Stale windows count from the purge, not from the end of a lifetime that is void now.
  const auto millis = static_cast<int64_t>(verdict.at / 1000);
  const Time at = TimeFromUnixMillis(millis - offset_ms_.load(std::memory_order_relaxed));
  facts.lifetime = std::min<Millis>(facts.lifetime, facts.AgeAt(at));
  if (verdict.fate == Fate::kDoubtful) {
    facts.swr_granted = false;
    facts.stale_while_revalidate = Millis(0);
    doubtful_.fetch_add(1, std::memory_order_relaxed);
  } else {
    softened_.fetch_add(1, std::memory_order_relaxed);
  }
  return StoredResponse::WithFacts(*response, facts, known);
}

StoredPtr Purges::Adopt(const StoredPtr& foreign) const {
  const uint64_t known = head();
  StoredPtr adopted = Check(foreign);
  if (adopted) adopted->LowerPurgeSequence(known);
  return adopted;
}

Purges::Stats Purges::stats() const {
  Stats stats;
  {
    const std::shared_lock lock(mutex_);
    stats.records = table_.size();
  }
  for (size_t kind = 0; kind < kPurgeKinds; ++kind) {
    for (size_t soft = 0; soft < 2; ++soft) {
      stats.applied[kind][soft] = applied_[kind][soft].load(std::memory_order_relaxed);
    }
  }
  stats.gone = gone_.load(std::memory_order_relaxed);
  stats.softened = softened_.load(std::memory_order_relaxed);
  stats.doubtful = doubtful_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace satchel::cache
