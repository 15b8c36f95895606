#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/clock.h"
#include "cache/cache_key.h"
#include "cache/fill.h"
#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/purges.h"
#include "cache/stored_response.h"

namespace satchel::cache {

class Shard;
struct SearchVariance;

// What a caller knows already that wants to fetch.
struct PriorLookup {
  // What it found, in this store or another, perhaps nothing. If what is stored now arrived later,
  // somebody has fetched it since, and nobody is asked for it a second time. No pointer: whatever
  // is stored, it is fetched.
  const StoredPtr* seen = nullptr;
  // What the answer is selected by, where more is known than the store has. May be null.
  const VarySpec* vary = nullptr;
};

// L1: the stored responses of this process, bounded in bytes. Thread-safe; every call holds one
// shard's lock for pointer work only. No call does I/O or runs a caller's function under a lock.
class Store {
 public:
  struct Options {
    size_t capacity = size_t{256} << 20;  // bytes, metadata included
    size_t max_object = size_t{4} << 20;  // body bytes
    double admit_share = 0.5;             // of capacity: what costs more is not stored
    size_t shards = 16;                   // rounded up to a power of two; at most 64
    double size_exponent = 0.75;          // 1 favours object hits, 0.25 byte hits
    size_t max_fills = 65536;             // growing responses at once; beyond it requests go alone
    size_t max_uncacheable = 65536;       // remembered keys
    Millis uncacheable_for = std::chrono::seconds(120);
    BodyFile::Limits files{};             // none: every body is sent from where it lies
  };

  struct Found {
    StoredPtr response;           // the most recent one the request selects (4.1), or null
    bool other_variants = false;  // the key has responses, but none for this request
  };

  enum class Role : uint8_t {
    kLeader,    // `permit`: fetch
    kFollower,  // `reader`: somebody fetches already
                // (with coalescing off everybody leads, and nobody is followed)
    kAlone,     // fetch without sharing or storing: remembered as uncacheable, or no room
    kStored,    // neither: something else is stored by now, look again
  };
  struct Begun {
    Role role = Role::kAlone;
    FillPermit permit;
    FillReader reader;
  };

  struct Stats {
    size_t bytes = 0;       // of stored and growing responses; never above capacity
    size_t fill_bytes = 0;  // the growing responses' part of it; at most half of the capacity
    size_t pass_bytes = 0;  // in transit through passes; not in `bytes`, bounded by their writers
    size_t capacity = 0;
    size_t objects = 0;
    size_t fills = 0;
    size_t uncacheable = 0;
    size_t equivalents = 0;  // responses known to answer other queries too
    uint64_t equivalents_forgotten = 0;
    uint64_t insertions = 0;
    uint64_t evictions = 0;
    uint64_t expirations = 0;
    uint64_t rejected_too_large = 0;
    uint64_t invalidations = 0;
    size_t files = 0;  // bodies in files
    uint64_t files_refused = 0;
  };

  explicit Store(Options options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // What has been purged; looked at by everything below.
  Purges& purges();

  // Never a response that a purge ended; one that a purge made stale says so in its facts.
  Found Lookup(const CacheKey& key, const RequestHead& request, const Overrides& overrides);

  // All variants of the key that no purge ended, the last used first: for a request that none of
  // them was stored for (RFC 9111 4.1).
  std::vector<StoredPtr> Variants(const CacheKey& key);
  // Takes this one out, or what a purge or a file for its body has put in its place since.
  void Drop(const CacheKey& key, const StoredResponse& response);
  // Lays the body of a stored response into a file (BodyFile) for those who meet it from now on; it
  // is copied once. False: it is in one, it is no longer stored, or there is no room for a file.
  bool LayInFile(const StoredPtr& response);
  // In place of what Options says. Files beyond it stay as long as their responses do.
  void LimitFiles(size_t files);

  // A response that was just stored answers other queries of its path too (No-Vary-Search). `asked`:
  // the last purge known when the origin was asked for it, or confirmed it.
  void LearnEquivalents(const StoredResponse& response, uint64_t asked);
  // The response that the request selects of those stored under keys of equivalent URIs, the one with
  // the most recent Date; never one fetched before this request's own URI was purged. Null mostly.
  // It belongs to its own key: good to be served, not to be validated for this one.
  StoredPtr LookupEquivalent(const CacheKey& key, const RequestHead& request,
                             const Overrides& overrides);
  // The same for one that another tier found, with the same condition: `asked` is what that tier knows
  // of it. It is put under its own key, and learned.
  void KeepEquivalent(const StoredPtr& response, const RequestHead& request,
                      const Overrides& overrides, uint64_t asked);
  // By what queries of the key's path are told apart, as far as is known; null: every byte counts.
  std::shared_ptr<const SearchVariance> VarianceOf(const CacheKey& key) const;
  // Reads along with a fetch for an equivalent URI that is under way; kAlone if there is none. The
  // answer may prove to be none for this one: ask Answers().
  Begun FollowEquivalent(const CacheKey& key, const RequestHead& request,
                         const Overrides& overrides, const Wake& wake);
  // Keys of URIs that are equivalent to this one, as far as this store knows.
  std::vector<std::string> EquivalentKeys(const CacheKey& key) const;

  // May the response, which is another URI's, answer for this key (No-Vary-Search)? Not after the URI
  // was purged since `asked`, the last purge known when the origin was asked for the response.
  static bool Answers(const StoredResponse& response, std::string_view key, uint64_t asked,
                      const Purges& purges);

  // One leader per key and variant. A follower gets a reader whose `wake` is called as Fill says.
  // `part`: the range that the leader will ask for, in a form of the caller's; empty for the whole.
  // Only requests for the very same part follow.
  Begun BeginFill(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                  Time now, Wake wake, std::string_view part = {}, const PriorLookup& known = {});
  // Reads along with a fetch that is under way; kAlone if there is none. Never leads.
  Begun Follow(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
               Wake wake, const PriorLookup& known = {});
  // For a background refresh: a permit if nobody is fetching this variant, and nobody has since it
  // was seen, else an empty one.
  FillPermit TryLead(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                     const PriorLookup& known = {});
  // For one part of a response (RFC 9111 3.3): nobody follows, and nobody is kept from fetching the
  // whole meanwhile. Empty if there is no room.
  FillPermit LeadPart(const CacheKey& key, const RequestHead& request, const Overrides& overrides);

  // Puts a part that has just been stored and an older one together, if they fit (9111 3.4).
  // Returns what is stored now.
  StoredPtr Grow(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                 const StoredResponse& older, StoredPtr newer);

  // Remembers that answers to this key are not shared, so that nobody queues on it.
  void RememberUncacheable(const CacheKey& key, Time now);
  void ForgetUncacheable(const CacheKey& key);

  // Removes every variant; fills in flight for the key can no longer insert and take no new
  // readers. Returns how many responses went.
  size_t Invalidate(const CacheKey& key);
  void Clear();

  // Looks for responses that a purge has hit and nobody has met since, at up to `budget` places
  // from `position` on, which it moves. False: all has been looked through. What is stored
  // meanwhile may be seen or not.
  struct Position {
    size_t shard = 0;
    uint32_t entry = 0;
  };
  bool CollectPurged(const PurgeTable& purged, size_t budget, Position& position,
                     std::vector<StoredPtr>& out) const;

  // Tells the store the time, about once a second; one caller is enough. Lets go of what expired
  // (its lifetime, stale windows and a grace of a minute, with a validator eleven), a part at each
  // call. Before the first call nothing counts as expired.
  void Tick(Time now);

  Stats stats() const;
  const Options& options() const;

  struct Impl;  // for Fill

 private:
  static bool Join(const Shard& shard, const CacheKey& key, const RequestHead& request,
                   const Overrides& overrides, std::string_view part, const Wake& wake,
                   Begun& begun);
  std::shared_ptr<Impl> impl_;
};

}  // namespace satchel::cache
