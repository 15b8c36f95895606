#include "cache/store_impl.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "cache/fill_core.h"

namespace satchel::cache {
namespace {

// Entry, heap slot, bucket, sketch, and the slack of the vectors that hold them.
constexpr size_t kEntryOverhead = sizeof(Entry) + sizeof(ChainLink) + 16 + 8 + 16;
// Entries evicted under one hold of a shard's lock.
constexpr size_t kBatch = 16;
// Entries looked at for expiry before something is evicted, and per shard and tick.
constexpr size_t kSweepBeforeEviction = 8;
constexpr size_t kSweepPerTick = 8192;
// Of the capacity, beside it: bytes for what is known of equivalent URIs.
constexpr size_t kEquivalentsShare = 64;
constexpr size_t kMaxShards = 64;      // bits of a word
constexpr size_t kLooks = 16;          // for the shard to evict from
constexpr int64_t kExpiryUnit = 4000;  // milliseconds
// What a response outlives its stale windows by: serving when the origin is gone (RFC 9111 4.2.4)
// has a window that only the rule knows, and a validator is worth a fetch of the whole body.
constexpr Millis kGrace = std::chrono::seconds(60);
constexpr Millis kValidatorGrace = std::chrono::minutes(10);

size_t ShardCount(size_t wanted) {
  return std::bit_ceil(std::clamp<size_t>(wanted, 1, kMaxShards));
}

}  // namespace

Store::Impl::Impl(Options o)
    : options(o),
      uncacheable(o.max_uncacheable, o.uncacheable_for),
      equivalents(o.capacity / kEquivalentsShare) {
  for (size_t i = 0; i < ShardCount(options.shards); ++i) {
    shards.push_back(std::make_unique<Shard>(inflation, options.size_exponent));
  }
}

size_t Store::Impl::EntryCharge(size_t charge) {
  const size_t whole = charge + kEntryOverhead;
  return (whole + Entry::kChargeUnit - 1) / Entry::kChargeUnit * Entry::kChargeUnit;
}

bool Store::Impl::Reserve(size_t wanted, Shard& own) {
  if (wanted > options.capacity) return false;
  size_t have = bytes.load(std::memory_order_relaxed);
  for (;;) {
    if (have + wanted <= options.capacity) {
      if (bytes.compare_exchange_weak(have, have + wanted, std::memory_order_relaxed)) return true;
      continue;
    }
    if (!EvictSome(have + wanted - options.capacity, own)) return false;
    have = bytes.load(std::memory_order_relaxed);
  }
}

bool Store::Impl::ReserveForFill(size_t wanted, Shard& own) {
  const size_t before = fill_bytes.fetch_add(wanted, std::memory_order_relaxed);
  if (before + wanted <= std::max(options.capacity / 2, admitted()) && Reserve(wanted, own))
    return true;
  fill_bytes.fetch_sub(wanted, std::memory_order_relaxed);
  return false;
}

void Store::Impl::UnreserveForFill(size_t amount) {
  fill_bytes.fetch_sub(amount, std::memory_order_relaxed);
  Unreserve(amount);
}

void Store::Impl::Discard(Victims& victims) {
  objects.fetch_sub(victims.responses.size(), std::memory_order_relaxed);
  victims.responses.clear();
  Unreserve(victims.bytes);
  victims.bytes = 0;
}

// Evicts until the head's priority exceeds `bound`, enough bytes went or the batch is full.
size_t Store::Impl::EvictFrom(Shard& shard, double bound, size_t needed) {
  Victims victims;
  size_t evicted = 0;
  size_t expired = 0;
  {
    const std::lock_guard lock(shard.mutex, std::adopt_lock);
    const uint32_t units = NowUnits();
    if (units > 0) expired = shard.SweepExpired(units, kSweepBeforeEviction, victims);
    while (victims.bytes < needed && evicted < kBatch && shard.size() > 0) {
      const double head = shard.queue().RefreshHead();
      if (head > bound) break;
      inflation.Raise(head);
      shard.EvictHead(victims);
      ++evicted;
    }
  }
  expirations.fetch_add(expired, std::memory_order_relaxed);
  evictions.fetch_add(evicted, std::memory_order_relaxed);
  Discard(victims);
  return expired + evicted;
}

// The lowest head of all shards goes, so that many shards evict like one. Heads on view may be too
// low: the shard found is put right under its lock, and if another is lower then, that one is next.
// Shards that are busy are left alone, but for the caller's own. False if nothing is left.
bool Store::Impl::EvictSome(size_t needed, Shard& own) {
  constexpr double kNothing = std::numeric_limits<double>::infinity();
  uint64_t busy = 0;
  for (size_t look = 0; look < kLooks; ++look) {
    size_t lowest = 0;
    double first = kNothing;
    double second = kNothing;
    for (size_t i = 0; i < shards.size(); ++i) {
      if ((busy >> i & 1) != 0) continue;
      const double head = shards[i]->published_head();
      if (head < first) {
        second = first;
        first = head;
        lowest = i;
      } else if (head < second) {
        second = head;
      }
    }
    if (first == kNothing) break;
    Shard& shard = *shards[lowest];
    if (&shard == &own) {
      shard.mutex.lock();
    } else if (!shard.mutex.try_lock()) {
      busy |= uint64_t{1} << lowest;
      continue;
    }
    if (look + 1 == kLooks) second = kNothing;
    if (EvictFrom(shard, second, needed) > 0) return true;
  }
  for (const auto& shard : shards) {
    if (shard->published_head() == kNothing) continue;
    shard->mutex.lock();
    if (EvictFrom(*shard, kNothing, needed) > 0) return true;
  }
  return false;
}

bool Store::Impl::Insert(const CacheKey& key, StoredPtr response, size_t charge, size_t reserved,
                         size_t vary_limit, Fill* fill) {
  Shard& shard = ShardOf(key.hash());
  bool admitted = Admits(charge);
  if (!admitted) rejected_too_large.fetch_add(1, std::memory_order_relaxed);
  if (admitted && charge > reserved) {
    admitted = Reserve(charge - reserved, shard);
    if (admitted) reserved = charge;
  }
  const uint32_t expires = ExpiryUnits(response->facts());
  Victims victims;
  bool inserted = false;
  {
    const std::lock_guard lock(shard.mutex);
    if (fill != nullptr) {
      if (fill->doomed) admitted = false;
      UnlistLocked(shard, *fill);
    }
    inserted =
        admitted && shard.Insert(key, std::move(response), charge, expires, vary_limit, victims);
    if (inserted) objects.fetch_add(1, std::memory_order_relaxed);
  }
  if (inserted) {
    insertions.fetch_add(1, std::memory_order_relaxed);
    reserved -= charge;
  }
  Unreserve(reserved);
  Discard(victims);
  return inserted;
}

void Store::Impl::UnlistLocked(Shard& shard, Fill& fill) {
  if (!fill.listed) return;
  fill.listed = false;
  const auto [begin, end] = shard.fills.equal_range(fill.key().hash());
  for (auto at = begin; at != end; ++at) {
    if (at->second.get() == &fill) {
      shard.fills.erase(at);
      return;
    }
  }
}

void Store::Impl::Unlist(Fill& fill) {
  Shard& shard = ShardOf(fill.key().hash());
  const std::lock_guard lock(shard.mutex);
  UnlistLocked(shard, fill);
}

size_t Store::Impl::Invalidate(const CacheKey& key) {
  Shard& shard = ShardOf(key.hash());
  Victims victims;
  std::vector<std::shared_ptr<Fill>> doomed;  // let go of after the lock
  {
    const std::lock_guard lock(shard.mutex);
    shard.RemoveKey(key, victims);
    const auto [begin, end] = shard.fills.equal_range(key.hash());
    for (auto at = begin; at != end;) {
      if (at->second->key().text() != key.text()) {
        ++at;
        continue;
      }
      at->second->doomed = true;
      at->second->listed = false;
      doomed.push_back(std::move(at->second));
      at = shard.fills.erase(at);
    }
  }
  const size_t removed = victims.responses.size();
  invalidations.fetch_add(removed, std::memory_order_relaxed);
  Discard(victims);
  return removed;
}

template <typename Change>
void Store::Impl::Alter(const CacheKey& key, Change change) {
  Shard& shard = ShardOf(key.hash());
  Victims victims;
  {
    const std::lock_guard lock(shard.mutex);
    change(shard, victims);
  }
  invalidations.fetch_add(victims.responses.size(), std::memory_order_relaxed);
  Discard(victims);
}

void Store::Impl::Replace(const CacheKey& key, const StoredPtr& old, StoredPtr now) {
  Alter(key,
        [&](Shard& shard, Victims& victims) { shard.Replace(key, old, std::move(now), victims); });
}

void Store::Impl::Drop(const CacheKey& key, const StoredResponse& response) {
  Alter(key, [&](Shard& shard, Victims& victims) { shard.Drop(key, response, victims); });
}

bool Store::Impl::LayInFile(const StoredPtr& response) {
  const BodyFile::Limits limits{.files = most_files.load(std::memory_order_relaxed),
                                .bytes = options.files.bytes};
  if (response->body().file() >= 0 || limits.files == 0) return false;
  const CacheKey key{std::string(response->key())};
  Shard& shard = ShardOf(key.hash());
  {
    const std::lock_guard lock(shard.mutex);
    if (!shard.Has(key, response)) return false;
  }
  Body body = response->body().InFile(limits);
  if (body.file() < 0) {
    files_refused.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  StoredPtr filed = StoredResponse::WithBody(*response, std::move(body));
  const size_t before = EntryCharge(response->charge());
  const size_t after = EntryCharge(filed->charge());
  const size_t more = after - std::min(after, before);
  if (!Reserve(more, shard)) return false;
  bool exchanged = false;
  {
    const std::lock_guard lock(shard.mutex);
    exchanged = shard.Exchange(key, response, std::move(filed), after);
  }
  Unreserve(exchanged ? before - std::min(after, before) : more);
  return exchanged;
}

void Store::Impl::Clear() {
  for (const auto& shard : shards) {
    Victims victims;
    std::unordered_multimap<uint64_t, std::shared_ptr<Fill>> doomed;
    {
      const std::lock_guard lock(shard->mutex);
      shard->RemoveAll(victims);
      for (const auto& [hash, fill] : shard->fills) {
        fill->doomed = true;
        fill->listed = false;
      }
      doomed.swap(shard->fills);
    }
    invalidations.fetch_add(victims.responses.size(), std::memory_order_relaxed);
    Discard(victims);
  }
  uncacheable.Clear();
  equivalents.Clear();
}

uint32_t Store::Impl::ExpiryUnits(const ResponseFacts& facts) const {
  const int64_t start = epoch_.load(std::memory_order_relaxed);
  if (start == 0) return Entry::kNeverExpires;
  Millis grace = std::max({Millis(facts.stale_while_revalidate), Millis(facts.stale_if_error), kGrace});
  if (facts.has_etag || facts.has_last_modified) grace += kValidatorGrace;
  const Millis left = Millis(facts.lifetime) - facts.initial_age + grace;
  const int64_t end = facts.received.time_since_epoch().count() + left.count() - start;
  const int64_t units = end / kExpiryUnit + 1;
  return static_cast<uint32_t>(std::clamp<int64_t>(units, 0, Entry::kNeverExpires));
}

uint32_t Store::Impl::NowUnits() const {
  const int64_t start = epoch_.load(std::memory_order_relaxed);
  const int64_t passed = now_.load(std::memory_order_relaxed) - start;
  if (start == 0 || passed < 0) return 0;
  return static_cast<uint32_t>(std::min<int64_t>(passed / kExpiryUnit, Entry::kNeverExpires));
}

void Store::Impl::Tick(Time time) {
  const int64_t millis = std::max<int64_t>(time.time_since_epoch().count(), 1);
  int64_t none = 0;
  epoch_.compare_exchange_strong(none, millis, std::memory_order_relaxed);
  now_.store(millis, std::memory_order_relaxed);
  const uint32_t units = NowUnits();
  for (const auto& shard : shards) {
    Victims victims;
    {
      const std::unique_lock lock(shard->mutex, std::try_to_lock);
      if (!lock.owns_lock()) continue;
      shard->SweepExpired(units, kSweepPerTick, victims);
    }
    expirations.fetch_add(victims.responses.size(), std::memory_order_relaxed);
    Discard(victims);
  }
}

}  // namespace satchel::cache
