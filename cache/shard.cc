#include "cache/shard.h"

#include <algorithm>
#include <utility>

#include "cache/purges.h"
#include "cache/vary.h"

namespace satchel::cache {
namespace {

// A response in the language that the request likes best, though it answered other wishes. Only
// asked where the texts differ, and only of responses that vary on the language.
bool SelectedByLanguage(const StoredResponse& response, const RequestHead& request,
                        const Overrides& overrides) {
  const std::vector<std::string>& names = response.vary().names;
  if (!std::binary_search(names.begin(), names.end(), "accept-language")) return false;
  const HeaderMap fields = response.Fields();
  const auto language = fields.First(FieldId::kContentLanguage);
  return language &&
         Selects(response.vary(), response.vary_values(), *language, request, overrides);
}

}  // namespace

Shard::Shard(const Inflation& inflation, double size_exponent)
    : queue_(slab_, inflation, size_exponent) {}

// Part of each lookup, which is most of what a hit does here.
[[gnu::always_inline]] inline uint32_t Shard::Select(const CacheKey& key, const RequestHead& request,
                       const Overrides& overrides, uint32_t& seen) const {
  uint32_t best = Entry::kNone;
  seen = 0;
  // Most keys have one Vary for all variants: its values are worked out once.
  const VarySpec* spec = nullptr;
  std::string values;
  const auto hash = static_cast<uint32_t>(key.hash());
  uint32_t next;
  for (uint32_t id = FirstOf(hash); id != Entry::kNone; id = next) {
    const Entry& entry = slab_[id];
    __builtin_prefetch(&entry);  // most often it is the one, and comes along with its link
    next = slab_.link(id).next;
    if (slab_.link(id).hash != hash) continue;
    entry.response->Prefetch();
    if (!Holds(id, key)) continue;
    ++seen;
    const VarySpec& vary = entry.response->vary();
    if (vary.star) continue;
    if (!vary.empty()) {
      if (spec == nullptr || !(*spec == vary)) {
        spec = &vary;
        values = VaryValues(vary, request, overrides);
      }
      if (entry.response->vary_values() != values &&
          !SelectedByLanguage(*entry.response, request, overrides)) {
        continue;
      }
    }
    if (best == Entry::kNone || entry.response->facts().date > slab_[best].response->facts().date) {
      best = id;
    }
  }
  return best;
}

StoredPtr Shard::Find(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                      bool& others) {
  others = false;
  uint32_t seen = 0;
  const uint32_t best = Select(key, request, overrides, seen);
  if (best == Entry::kNone) {
    others = seen > 0;
    return nullptr;
  }
  Entry& entry = slab_[best];
  queue_.Touch(entry);
  if (seen > 1 && FirstOf(static_cast<uint32_t>(key.hash())) != best) {
    // The order in the chain is the order of use: the limit of variants rests on it.
    Unlink(best);
    Link(best);
  }
  return entry.response;
}

const StoredResponse* Shard::Peek(const CacheKey& key, const RequestHead& request,
                                  const Overrides& overrides) const {
  uint32_t seen = 0;
  const uint32_t best = Select(key, request, overrides, seen);
  return best == Entry::kNone ? nullptr : slab_[best].response.get();
}

void Shard::FindAll(const CacheKey& key, std::vector<StoredPtr>& out) const {
  for (uint32_t id = FirstOf(static_cast<uint32_t>(key.hash())); id != Entry::kNone;
       id = slab_.link(id).next) {
    if (Holds(id, key)) out.push_back(slab_[id].response);
  }
}

const VarySpec* Shard::KnownVary(const CacheKey& key) const {
  for (uint32_t id = FirstOf(static_cast<uint32_t>(key.hash())); id != Entry::kNone;
       id = slab_.link(id).next) {
    if (Holds(id, key)) return &slab_[id].response->vary();
  }
  return nullptr;
}

bool Shard::Insert(const CacheKey& key, StoredPtr response, size_t charge, uint32_t expires,
                   size_t vary_limit, Victims& victims) {
  const uint32_t hash = static_cast<uint32_t>(key.hash());
  uint32_t replaced = Entry::kNone;
  size_t variants = 0;
  for (uint32_t id = FirstOf(hash); id != Entry::kNone; id = slab_.link(id).next) {
    if (!Holds(id, key)) continue;
    ++variants;
    const StoredResponse& old = *slab_[id].response;
    if (old.vary() == response->vary() && old.vary_values() == response->vary_values()) {
      replaced = id;
    }
  }
  if (replaced != Entry::kNone && response->facts().partial &&
      !slab_[replaced].response->facts().partial) {
    return false;
  }
  uint32_t uses = 0;
  if (replaced != Entry::kNone) {
    uses = slab_[replaced].frequency;
    TakeOut(replaced, victims);
    --variants;
  }
  for (; variants > 0 && variants >= std::max<size_t>(vary_limit, 1); --variants) {
    uint32_t last = Entry::kNone;
    for (uint32_t id = FirstOf(hash); id != Entry::kNone; id = slab_.link(id).next) {
      if (Holds(id, key)) last = id;
    }
    TakeOut(last, victims);
  }
  const uint32_t id = slab_.Allocate();
  if (id == Entry::kNone) return false;
  Entry& entry = slab_[id];
  entry.response = std::move(response);
  slab_.link(id).hash = hash;
  entry.charge = static_cast<uint32_t>(charge / Entry::kChargeUnit);
  entry.expires = expires;
  if (queue_.size() >= buckets_.size()) Grow();
  Link(id);
  queue_.Add(id, uses);
  return true;
}

void Shard::Replace(const CacheKey& key, const StoredPtr& old, StoredPtr now, Victims& victims) {
  const uint32_t id = EntryOf(key, old);
  if (id == Entry::kNone) return;
  if (now == nullptr) {
    TakeOut(id, victims);
  } else {
    slab_[id].response = std::move(now);
  }
}

bool Shard::Exchange(const CacheKey& key, const StoredPtr& old, StoredPtr now, size_t charge) {
  const uint32_t id = EntryOf(key, old);
  if (id == Entry::kNone) return false;
  slab_[id].response = std::move(now);
  slab_[id].charge = static_cast<uint32_t>(charge / Entry::kChargeUnit);
  return true;
}

void Shard::Drop(const CacheKey& key, const StoredResponse& response, Victims& victims) {
  uint32_t next;
  for (uint32_t id = FirstOf(static_cast<uint32_t>(key.hash())); id != Entry::kNone; id = next) {
    next = slab_.link(id).next;
    const StoredResponse& held = *slab_[id].response;
    if (Holds(id, key) && held.facts().received == response.facts().received &&
        held.vary() == response.vary() && held.vary_values() == response.vary_values()) {
      TakeOut(id, victims);
    }
  }
}

uint32_t Shard::EntryOf(const CacheKey& key, const StoredPtr& response) const {
  uint32_t id = FirstOf(static_cast<uint32_t>(key.hash()));
  while (id != Entry::kNone && slab_[id].response != response) id = slab_.link(id).next;
  return id;
}

size_t Shard::RemoveKey(const CacheKey& key, Victims& victims) {
  size_t removed = 0;
  for (uint32_t id = FirstOf(static_cast<uint32_t>(key.hash())); id != Entry::kNone;) {
    const uint32_t next = slab_.link(id).next;
    if (Holds(id, key)) {
      TakeOut(id, victims);
      ++removed;
    }
    id = next;
  }
  return removed;
}

void Shard::RemoveAll(Victims& victims) {
  for (uint32_t id = 0; id < slab_.size(); ++id) {
    if (slab_[id].response) TakeOut(id, victims);
  }
}

void Shard::EvictHead(Victims& victims) { TakeOut(queue_.PopHead(), victims); }

size_t Shard::SweepExpired(uint32_t now, size_t budget, Victims& victims) {
  size_t taken = 0;
  budget = std::min<size_t>(budget, slab_.size());
  for (size_t i = 0; i < budget; ++i) {
    if (++sweep_at_ >= slab_.size()) sweep_at_ = 0;
    if (slab_[sweep_at_].response && slab_[sweep_at_].expires < now) {
      TakeOut(sweep_at_, victims);
      ++taken;
    }
  }
  return taken;
}

uint32_t Shard::CollectPurged(const PurgeTable& purged, uint32_t at, size_t budget,
                              std::vector<StoredPtr>& out) const {
  for (; budget > 0 && !IsBehind(at); --budget, ++at) {
    const StoredPtr& response = slab_[at].response;
    if (!response) continue;
    const PurgeVerdict verdict = purged.Judge(SubjectOf(*response), response->purge_sequence());
    if (verdict.fate != Fate::kValid) out.push_back(response);
  }
  return at;
}

void Shard::Grow() {
  std::vector<uint32_t> old = std::move(buckets_);
  buckets_.assign(std::max<size_t>(64, old.size() * 2), Entry::kNone);
  std::vector<uint32_t> chain;
  for (const uint32_t first : old) {
    chain.clear();
    for (uint32_t id = first; id != Entry::kNone; id = slab_.link(id).next) chain.push_back(id);
    // From the back, so that the order of use stays.
    for (size_t i = chain.size(); i-- > 0;) Link(chain[i]);
  }
}

void Shard::Link(uint32_t id) {
  uint32_t& bucket = Bucket(slab_.link(id).hash);
  slab_.link(id).next = bucket;
  bucket = id;
}

void Shard::Unlink(uint32_t id) {
  uint32_t* at = &Bucket(slab_.link(id).hash);
  while (*at != id) at = &slab_.link(*at).next;
  *at = slab_.link(id).next;
}

void Shard::TakeOut(uint32_t id, Victims& victims) {
  Entry& entry = slab_[id];
  if (entry.heap_at != Entry::kNone) queue_.Remove(id);
  Unlink(id);
  victims.bytes += entry.charged_bytes();
  victims.responses.push_back(std::move(entry.response));
  slab_.Free(id);
}

}  // namespace satchel::cache
