#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/envelope.h"
#include "cache/purges.h"
#include "cache/remote_store.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/path_memory.h"
#include "proxy/redis/record_keys.h"
#include "proxy/redis/seal_queue.h"
#include "proxy/redis/vary_memory.h"
#include "rules/config.h"

namespace satchel::redis {

// The shared tier in one Redis. Keys, records and failures are described in README.md. One object
// per worker, on the worker's client and thread; the client must outlive it, and must be started
// after the store was made (the store adds its script).
class RedisStore final : public cache::RemoteStore {
 public:
  struct Options {
    std::string prefix = "satchel";
    int64_t deadline_ms = 20;  // of a lookup, both steps of a Vary lookup included
    int64_t put_deadline_ms = 1000;
    uint64_t max_object = 8 << 20;           // a longer body is neither written nor accepted
    std::optional<uint64_t> compress_min{};  // absent: never compressed
    size_t max_sealing = size_t{32} << 20;   // bytes of large bodies that wait to become records
    static Options From(const rules::L2Config& config);
  };
  struct Counters {
    net::Counter hits;
    net::Counter misses;           // an answer, and not a hit; bad records included
    net::Counter skipped;          // lookups not even sent: no connection, breaker, queue full
    net::Counter errors;           // no answer: lost connection, error reply, deadline
    net::Counter deadline_misses;  // also in errors
    net::Counter purged;           // also in misses
    net::Counter searches;         // for equivalents of a URI of which there is nothing
    net::Counter equivalents;      // of these, found
    net::Counter bad_records;      // what they were for is in bad_causes
    std::array<net::Counter, static_cast<size_t>(cache::BadRecord::kCount)> bad_causes;
    net::Counter puts;
    net::Counter puts_dropped;     // too large, not worth it, a queue full, breaker open
    net::Counter sealing_full;     // of these, because too many large ones were waiting
    net::Counter puts_failed;      // sent, and refused or not answered
    net::Counter renewals;         // of these, where only the times were written anew
    net::Counter renewals_missed;  // the record was not there any more, or another: written whole
    net::Counter removes;
    net::Counter body_bytes;     // of what was written, before compression
    net::Counter kept_bytes;     // and after it
    net::Counter bytes_read;     // of records
    net::Counter bytes_written;  // of records
  };

  // `purges` may be null: then nothing is ever purged. Else it must outlive the store: what was
  // purged is a miss, and is removed; while `purges` is not complete there is nothing to find.
  RedisStore(net::EventLoop& loop, Commander& client, Options options,
             const cache::Purges* purges = nullptr);
  ~RedisStore() override;

  // Of lookups and stores from now on. Without keys what is to be encrypted is not stored.
  void SetKeys(const std::vector<rules::RecordKey>& keys);

  std::unique_ptr<Pending> Lookup(const cache::CacheKey& key, const cache::RequestHead& request,
                                  const cache::Overrides& overrides, LookupDone done) override;
  std::unique_ptr<Pending> LookupEquivalent(
      const cache::CacheKey& key, const cache::RequestHead& request,
      const cache::Overrides& overrides, const std::shared_ptr<const cache::SearchVariance>& known,
      EquivalentDone done) override;
  void PutEquivalent(const cache::StoredResponse& response, const cache::Overrides& overrides,
                     uint64_t asked) override;
  void Put(cache::StoredPtr response, const cache::Overrides& overrides, Stored done) override;
  void Renew(const cache::StoredPtr& old, cache::StoredPtr updated,
             const cache::Overrides& overrides, Stored done) override;
  void Remove(const cache::CacheKey& key, std::function<void(bool confirmed)> done) override;
  bool available() const override;

  const Counters& counters() const { return *counters_; }
  size_t sealing_bytes() const { return sealing_.bytes(); }

  // "<prefix>:<format>:{<22 characters>}"
  std::string PlainKey(std::string_view key_text) const;
  // The key under which an answer to the request would stand, as far as its Vary is known.
  std::string SlotOf(const cache::CacheKey& key, const cache::RequestHead& request,
                     const cache::Overrides& overrides) const;

 private:
  class LookupCall;
  class SearchCall;

  bool MayPut(const cache::StoredResponse& response, const cache::Overrides& overrides,
              cache::Millis lifetime) const;
  cache::SealOptions SealingFor(std::string_view plain_key,
                                const cache::Overrides& overrides) const;
  // Sends what a response has become. False: dropped.
  bool Send(const cache::StoredPtr& response, std::string_view plain_key,
            const std::string& redis_key, cache::Result<cache::SealedRecord> record,
            const cache::RecordCipher* cipher);
  void Tell(std::vector<Stored> stored, bool outcome);
  void ListVariant(std::string_view plain_key, const cache::StoredResponse& response,
                   std::string_view digest, cache::Millis lifetime,
                   const cache::RecordCipher* cipher);

  // Shared with completions that may run after the store is gone.
  const std::shared_ptr<Counters> counters_ = std::make_shared<Counters>();
  net::EventLoop& loop_;
  Commander& client_;
  const Options options_;
  const cache::Purges* const purges_;
  std::shared_ptr<const RecordKeys> keys_;  // null: none
  const std::shared_ptr<RedisStore*> self_ = std::make_shared<RedisStore*>(this);
  const std::shared_ptr<VaryMemory> varies_ = std::make_shared<VaryMemory>();
  PathMemory silent_paths_;
  SealQueue sealing_;
};

// How long a response is worth keeping for others, from `now` on: what is left of its freshness,
// the longer of its stale windows, and at least a minute behind its lifetime where it may be served
// stale (a lost origin, max-stale) or validated. Zero: not at all.
cache::Millis RemoteLifetime(const cache::ResponseFacts& facts, cache::Time now);

}  // namespace satchel::redis
