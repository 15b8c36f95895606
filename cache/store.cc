#include "cache/store.h"

#include <utility>

#include "cache/fill_core.h"
#include "cache/parts.h"
#include "cache/search_variance.h"
#include "cache/store_impl.h"
#include "cache/vary.h"

namespace satchel::cache {

Store::Store(Options options) : impl_(std::make_shared<Impl>(options)) {}

// Fills still under way hold on to the shared part; they can no longer insert.
Store::~Store() { impl_->Clear(); }

Purges& Store::purges() { return impl_->purges; }

Store::Found Store::Lookup(const CacheKey& key, const RequestHead& request,
                           const Overrides& overrides) {
  // Each turn after the first took out a variant that was purged.
  for (;;) {
    Found found;
    {
      Shard& shard = impl_->ShardOf(key.hash());
      const std::lock_guard lock(shard.mutex);
      found.response = shard.Find(key, request, overrides, found.other_variants);
    }
    if (!found.response || found.response->purge_sequence() >= impl_->purges.head()) return found;
    StoredPtr checked = impl_->purges.Check(found.response);
    if (checked == found.response) return found;
    impl_->Replace(key, found.response, checked);
    found.response = std::move(checked);
    if (found.response) return found;
  }
}

std::vector<StoredPtr> Store::Variants(const CacheKey& key) {
  std::vector<StoredPtr> out;
  {
    Shard& shard = impl_->ShardOf(key.hash());
    const std::lock_guard lock(shard.mutex);
    shard.FindAll(key, out);
  }
  for (StoredPtr& response : out) response = impl_->purges.Check(response);
  std::erase(out, nullptr);
  return out;
}

void Store::Drop(const CacheKey& key, const StoredResponse& response) {
  impl_->Drop(key, response);
}

void Store::LimitFiles(size_t files) { impl_->most_files.store(files, std::memory_order_relaxed); }

bool Store::LayInFile(const StoredPtr& response) { return impl_->LayInFile(response); }

void Store::LearnEquivalents(const StoredResponse& response, uint64_t asked) {
  const SearchVariance variance = ParseNoVarySearch(response.Fields());
  impl_->equivalents.Learn(response.key(), variance, asked);
}

StoredPtr Store::LookupEquivalent(const CacheKey& key, const RequestHead& request,
                                  const Overrides& overrides) {
  StoredPtr best;
  for (const SearchTable::Pointer& pointer : impl_->equivalents.Find(key.text())) {
    StoredPtr found = Lookup(CacheKey(pointer.key), request, overrides).response;
    if (!found || !Answers(*found, key.text(), pointer.asked, impl_->purges)) continue;
    if (!best || found->facts().date > best->facts().date) best = std::move(found);
  }
  return best;
}

bool Store::Answers(const StoredResponse& response, std::string_view key, uint64_t asked,
                    const Purges& purges) {
  if (response.facts().partial) return false;
  const SearchVariance variance = ParseNoVarySearch(response.Fields());
  if (EquivalentText(key, variance) != EquivalentText(response.key(), variance)) return false;
  PurgeSubject subject = SubjectOf(response);
  subject.key = key;
  return purges.Judge(subject, asked).fate == Fate::kValid;
}

void Store::KeepEquivalent(const StoredPtr& response, const RequestHead& request,
                           const Overrides& overrides, uint64_t asked) {
  FillPermit permit = TryLead(CacheKey(std::string(response->key())), request, overrides);
  if (!permit) return;
  if (permit.CompleteWith(response, true)) {
    LearnEquivalents(*response, asked);
  } else {
    permit.Release(Reason::kPurged);
  }
}

std::shared_ptr<const SearchVariance> Store::VarianceOf(const CacheKey& key) const {
  return impl_->equivalents.VarianceOf(key.text());
}

Store::Begun Store::FollowEquivalent(const CacheKey& key, const RequestHead& request,
                                     const Overrides& overrides, const Wake& wake) {
  const std::string other = impl_->equivalents.Announce(key.text());
  if (other.empty()) return {};
  Begun begun = Follow(CacheKey(other), request, overrides, wake);
  if (begun.role != Role::kFollower) impl_->equivalents.Announce(key.text(), other);
  return begun;
}

std::vector<std::string> Store::EquivalentKeys(const CacheKey& key) const {
  std::vector<std::string> out;
  for (SearchTable::Pointer& pointer : impl_->equivalents.Find(key.text())) {
    out.push_back(std::move(pointer.key));
  }
  return out;
}

// With the shard's lock held: has somebody stored what the request selects since it was looked up? A
// fill leaves its shard's table in the moment in which its response gets there.
static bool IsStored(const Shard& shard, const CacheKey& key, const RequestHead& request,
                     const Overrides& overrides, const PriorLookup& known) {
  if (known.seen == nullptr) return false;
  const StoredResponse* now = shard.Peek(key, request, overrides);
  const StoredResponse* seen = known.seen->get();
  // Another object alone says nothing: it may be the same response, marked by a purge or with its
  // body in a file, or one that was already there when what was seen came from another store.
  return now != nullptr && (seen == nullptr || now->facts().received > seen->facts().received);
}

// With the shard's lock held: is somebody fetching what the request asks for, or done with it?
static bool IsFetched(const Shard& shard, const CacheKey& key, const RequestHead& request,
                      const Overrides& overrides, const PriorLookup& known) {
  const auto [begin, end] = shard.fills.equal_range(key.hash());
  for (auto at = begin; at != end; ++at) {
    if (at->second->Covers(key, request, overrides, known.vary)) return true;
  }
  return IsStored(shard, key, request, overrides, known);
}

// A fill that is not in the table yet, or null if the store cannot hold another one.
static std::shared_ptr<Fill> NewFill(const std::shared_ptr<Store::Impl>& impl, Shard& shard,
                                     const CacheKey& key, const RequestHead& request,
                                     const Overrides& overrides, std::string part,
                                     bool joinable, const VarySpec* vary) {
  if (impl->fills.fetch_add(1, std::memory_order_relaxed) >= impl->options.max_fills ||
      !impl->ReserveForFill(Fill::kOverhead, shard)) {
    impl->fills.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  VarySpec spec;
  if (vary != nullptr) {
    spec = *vary;
  } else {
    const std::lock_guard lock(shard.mutex);
    if (const VarySpec* known = shard.KnownVary(key)) spec = *known;
  }
  std::string values;
  if (!spec.empty()) values = VaryValues(spec, request, overrides);
  const Fill::Sharing sharing =
      joinable && overrides.coalesce ? Fill::Sharing::kJoinable : Fill::Sharing::kAlone;
  return std::make_shared<Fill>(impl, key, std::move(spec), std::move(values), overrides.vary_limit,
                                sharing, std::move(part));
}

// With the shard's lock held: joins a fill of what is asked for.
bool Store::Join(const Shard& shard, const CacheKey& key, const RequestHead& request,
                 const Overrides& overrides, std::string_view part, const Wake& wake,
                 Begun& begun) {
  const auto [begin, end] = shard.fills.equal_range(key.hash());
  for (auto at = begin; at != end; ++at) {
    auto slot = at->second->TryJoin(key, request, overrides, part, wake);
    if (slot == nullptr) continue;
    begun.role = Role::kFollower;
    begun.reader.fill_ = at->second;
    begun.reader.slot_ = std::move(slot);
    return true;
  }
  return false;
}

Store::Begun Store::Follow(const CacheKey& key, const RequestHead& request,
                           const Overrides& overrides, Wake wake, const PriorLookup& known) {
  Begun begun;
  Shard& shard = impl_->ShardOf(key.hash());
  const std::lock_guard lock(shard.mutex);
  if (!Join(shard, key, request, overrides, /*part=*/{}, wake, begun) &&
      IsStored(shard, key, request, overrides, known)) {
    begun.role = Role::kStored;
  }
  return begun;
}

Store::Begun Store::BeginFill(const CacheKey& key, const RequestHead& request,
                              const Overrides& overrides, Time now, Wake wake,
                              std::string_view part, const PriorLookup& known) {
  Begun begun;
  if (impl_->uncacheable.Contains(key, now)) return begun;
  Shard& shard = impl_->ShardOf(key.hash());
  std::shared_ptr<Fill> own;
  // Once to look, and once more with a fill of our own at hand: somebody may have come between.
  std::unique_lock lock(shard.mutex);
  for (;;) {
    if (overrides.coalesce && Join(shard, key, request, overrides, part, wake, begun)) {
      return begun;
    }
    if (IsStored(shard, key, request, overrides, known)) {
      begun.role = Role::kStored;
      return begun;
    }
    if (own) {
      own->listed = true;
      shard.fills.emplace(key.hash(), own);
      begun.role = Role::kLeader;
      begun.permit.fill_ = std::move(own);
      return begun;
    }
    lock.unlock();
    own = NewFill(impl_, shard, key, request, overrides, std::string(part), /*joinable=*/true,
                  known.vary);
    if (own == nullptr) return begun;
    lock.lock();
  }
}

FillPermit Store::TryLead(const CacheKey& key, const RequestHead& request,
                          const Overrides& overrides, const PriorLookup& known) {
  FillPermit permit;
  Shard& shard = impl_->ShardOf(key.hash());
  {
    const std::lock_guard lock(shard.mutex);
    if (IsFetched(shard, key, request, overrides, known)) return permit;
  }
  std::shared_ptr<Fill> own =
      NewFill(impl_, shard, key, request, overrides, {}, /*joinable=*/true, known.vary);
  if (own == nullptr) return permit;
  const std::lock_guard lock(shard.mutex);
  if (IsFetched(shard, key, request, overrides, known)) return permit;
  own->listed = true;
  shard.fills.emplace(key.hash(), own);
  permit.fill_ = std::move(own);
  return permit;
}

FillPermit Store::LeadPart(const CacheKey& key, const RequestHead& request,
                           const Overrides& overrides) {
  FillPermit permit;
  Shard& shard = impl_->ShardOf(key.hash());
  permit.fill_ =
      NewFill(impl_, shard, key, request, overrides, "part", /*joinable=*/false, nullptr);
  if (permit.fill_ == nullptr) return permit;
  const std::lock_guard lock(shard.mutex);
  permit.fill_->listed = true;
  shard.fills.emplace(key.hash(), permit.fill_);
  return permit;
}

StoredPtr Store::Grow(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                      const StoredResponse& older, StoredPtr newer) {
  StoredPtr both = CombineParts(older, *newer);
  if (!both || both->body().size() > impl_->options.max_object) return newer;
  FillPermit permit = LeadPart(key, request, overrides);
  return permit && permit.CompleteWith(both, true) ? both : newer;
}

void Store::RememberUncacheable(const CacheKey& key, Time now) {
  impl_->uncacheable.Remember(key, now);
}

void Store::ForgetUncacheable(const CacheKey& key) { impl_->uncacheable.Forget(key); }

bool Store::CollectPurged(const PurgeTable& purged, size_t budget, Position& position,
                          std::vector<StoredPtr>& out) const {
  if (position.shard >= impl_->shards.size()) return false;
  Shard& shard = *impl_->shards[position.shard];
  const std::lock_guard lock(shard.mutex);
  position.entry = shard.CollectPurged(purged, position.entry, budget, out);
  if (shard.IsBehind(position.entry)) position = {position.shard + 1, 0};
  return position.shard < impl_->shards.size();
}

void Store::Tick(Time now) { impl_->Tick(now); }

size_t Store::Invalidate(const CacheKey& key) {
  impl_->uncacheable.Forget(key);
  return impl_->Invalidate(key);
}

void Store::Clear() { impl_->Clear(); }

Store::Stats Store::stats() const {
  const auto get = [](const auto& value) { return value.load(std::memory_order_relaxed); };
  Stats stats;
  stats.bytes = get(impl_->bytes);
  stats.fill_bytes = get(impl_->fill_bytes);
  stats.pass_bytes = get(impl_->pass_bytes);
  stats.capacity = impl_->options.capacity;
  stats.objects = get(impl_->objects);
  stats.fills = get(impl_->fills);
  stats.uncacheable = impl_->uncacheable.size();
  stats.equivalents = impl_->equivalents.size();
  stats.equivalents_forgotten = impl_->equivalents.forgotten();
  stats.insertions = get(impl_->insertions);
  stats.evictions = get(impl_->evictions);
  stats.expirations = get(impl_->expirations);
  stats.rejected_too_large = get(impl_->rejected_too_large);
  stats.invalidations = get(impl_->invalidations);
  stats.files = BodyFile::count();
  stats.files_refused = get(impl_->files_refused);
  return stats;
}

const Store::Options& Store::options() const { return impl_->options; }

}  // namespace satchel::cache
