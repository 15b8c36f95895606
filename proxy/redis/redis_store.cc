#include "proxy/redis/redis_store.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "cache/envelope.h"
#include "cache/record_chunk.h"
#include "proxy/redis/lua/renew.lua.h"
#include "proxy/redis/lua/variants.lua.h"
#include "proxy/redis/record_names.h"
#include "proxy/redis/redis_lookup.h"

namespace satchel::redis {
namespace {

using cache::CacheKey;
using cache::Millis;
using cache::StoredPtr;
using cache::Time;

// Part of every key: another binary with another format neither reads nor overwrites ours.
constexpr std::string_view kFormat = "3";
constexpr int64_t kMaxVariants = 64;  // listed per URL; beyond it the first to expire go
constexpr uint64_t kSealedAtOnce = uint64_t{64} << 10;  // bytes of a body; larger ones in slices
constexpr std::string_view kListSuffix = ":v";
constexpr Millis kBridge = std::chrono::seconds(60);
constexpr Millis kChunkGrace = std::chrono::seconds(30);  // chunks outlive their record
constexpr Millis kLongest = std::chrono::hours(24 * 30);

const Script& Variants() {
  static const Script script(lua::kVariants);
  return script;
}

const Script& RenewScript() {
  static const Script script(lua::kRenew);
  return script;
}

Time Now() { return std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now()); }

}  // namespace

RedisStore::Options RedisStore::Options::From(const rules::L2Config& config) {
  Options options;
  options.prefix = config.prefix;
  options.deadline_ms = config.deadline.count();
  options.max_object = config.max_object;
  options.compress_min = config.compress_min;
  return options;
}

Millis RemoteLifetime(const cache::ResponseFacts& facts, Time now) {
  if (facts.stale_by_purge) return Millis(0);
  const bool validator = facts.has_etag || facts.has_last_modified;
  // Behind its lifetime: by the origin's grants, for a lost origin and max-stale where nothing
  // forbids that, and for a validation.
  Millis stale = std::max<Millis>(facts.stale_while_revalidate, facts.stale_if_error);
  const bool bridged = facts.lifetime > Millis(0) && !facts.must_revalidate;
  if (bridged || validator) stale = std::max(stale, kBridge);
  stale = std::min(stale, kLongest);
  const Millis left = std::min<Millis>(facts.lifetime, 2 * kLongest) + stale - facts.AgeAt(now);
  const Millis least = validator ? kBridge : Millis(0);
  return std::min(std::max(left, least), kLongest);
}

RedisStore::RedisStore(net::EventLoop& loop, Commander& client, Options options,
                       const cache::Purges* purges)
    : loop_(loop),
      client_(client),
      options_(std::move(options)),
      purges_(purges),
      sealing_(loop, options_.max_sealing) {
  client_.AddScript(Variants());
  client_.AddScript(RenewScript());
}

RedisStore::~RedisStore() = default;

void RedisStore::SetKeys(const std::vector<rules::RecordKey>& keys) {
  keys_ = keys.empty() ? nullptr : std::make_shared<const RecordKeys>(keys);
}

bool RedisStore::available() const {
  return client_.available({}) && (purges_ == nullptr || purges_->complete());
}

std::string RedisStore::PlainKey(std::string_view key_text) const {
  std::string key = options_.prefix;
  key += ':';
  key += kFormat;
  key += ":{";
  key += DigestText(key_text);
  key += '}';
  return key;
}

std::unique_ptr<cache::RemoteStore::Pending> RedisStore::Lookup(const CacheKey& key,
                                                                const cache::RequestHead& request,
                                                                const cache::Overrides& overrides,
                                                                LookupDone done) {
  return std::make_unique<LookupCall>(*this, key, request, overrides, std::move(done));
}

std::string RedisStore::SlotOf(const CacheKey& key, const cache::RequestHead& request,
                               const cache::Overrides& overrides) const {
  std::string slot = PlainKey(key.text());
  if (const cache::VarySpec* vary = varies_->Find(key.hash())) {
    slot += ":" + VariantDigest(*vary, cache::VaryValues(*vary, request, overrides));
  }
  return slot;
}

bool RedisStore::MayPut(const cache::StoredResponse& response, const cache::Overrides& overrides,
                        Millis lifetime) const {
  return client_.available({}) && !response.vary().star && lifetime > Millis(0) &&
         response.body().size() <= options_.max_object && (!overrides.encrypt || keys_ != nullptr);
}

cache::SealOptions RedisStore::SealingFor(std::string_view plain_key,
                                          const cache::Overrides& overrides) const {
  cache::SealOptions seal;
  seal.clock_offset = Millis(client_.clock_offset_us(plain_key) / 1000);
  seal.compress_from = options_.compress_min.value_or(std::numeric_limits<size_t>::max());
  if (overrides.encrypt) seal.cipher = keys_.get();
  return seal;
}

void RedisStore::Tell(std::vector<Stored> stored, bool outcome) {
  std::erase(stored, nullptr);
  if (stored.empty()) return;
  loop_.AtTurnEnd([stored = std::move(stored), outcome] {
    for (const Stored& done : stored) done(outcome);
  });
}

void RedisStore::Put(StoredPtr response, const cache::Overrides& overrides, Stored done) {
  const std::string plain_key = PlainKey(response->key());
  std::string redis_key = plain_key;
  if (!response->vary().empty()) {
    redis_key += ":" + VariantDigest(response->vary(), response->vary_values());
  }
  // What is older and still waits must not come behind it.
  std::vector<Stored> stored =
      response->vary().empty() ? sealing_.WithdrawUrl(plain_key) : sealing_.Withdraw(redis_key);
  if (!response->vary().empty()) {
    std::ranges::move(sealing_.Withdraw(plain_key), std::back_inserter(stored));
  }
  stored.push_back(std::move(done));
  const auto drop = [&] {
    counters_->puts_dropped.Add();
    Tell(std::move(stored), false);
  };
  if (!MayPut(*response, overrides, RemoteLifetime(response->facts(), Now()))) {
    drop();
    return;
  }
  const cache::SealOptions seal = SealingFor(plain_key, overrides);
  cache::Result<cache::RecordSealer> sealer = cache::RecordSealer::Begin(response, seal);
  if (!sealer) {
    drop();
    return;
  }
  const uint64_t size = response->body().size();
  if (size <= kSealedAtOnce) {
    const bool sent =
        Send(response, plain_key, redis_key, std::move(*sealer).Finish(), seal.cipher);
    Tell(std::move(stored), sent);
    return;
  }
  const bool queued = sealing_.Add(
      plain_key, redis_key, size, std::move(*sealer),
      [this, response, plain_key, redis_key, keys = keys_, cipher = seal.cipher](
          cache::Result<cache::SealedRecord> record, const std::vector<Stored>& waiting) {
        Tell(waiting, Send(response, plain_key, redis_key, std::move(record), cipher));
      },
      stored);
  if (queued) return;
  counters_->sealing_full.Add();
  drop();
}

bool RedisStore::Send(const StoredPtr& response, std::string_view plain_key,
                      const std::string& redis_key, cache::Result<cache::SealedRecord> record,
                      const cache::RecordCipher* cipher) {
  const Millis lifetime = RemoteLifetime(response->facts(), Now());
  if (!record || lifetime <= Millis(0)) {
    counters_->puts_dropped.Add();
    return false;
  }
  const auto send = [&](std::string_view key, std::string&& value, Millis alive) {
    counters_->bytes_written.Add(value.size());
    counters_->kept_bytes.Add(value.size());
    Command set{"SET", key};
    set.Payload(std::move(value)).Arg("PX").Arg(alive.count());
    return client_.Send(
        plain_key, std::move(set), options_.put_deadline_ms,
        [counters = counters_](const cache::Result<Reply>& reply) {
          if (!reply) counters->puts_failed.Add();
        },
        Lane::kStore);
  };
  // The chunks first: whoever sees the record finds them, and a while longer.
  for (size_t i = 0; i < record->chunks.size(); ++i) {
    if (!send(ChunkKey(plain_key, record->entry, i), std::move(record->chunks[i]),
              lifetime + kChunkGrace)) {
      counters_->puts_dropped.Add();
      return false;
    }
  }
  if (!send(redis_key, std::move(record->value), lifetime)) {
    counters_->puts_dropped.Add();
    return false;
  }
  counters_->puts.Add();
  counters_->body_bytes.Add(response->body().size());
  if (response->vary().empty()) {
    varies_->Forget(response->key_hash());
    return true;
  }
  varies_->Remember(response->key_hash(), response->vary());
  ListVariant(plain_key, *response, VariantDigest(response->vary(), response->vary_values()),
              lifetime, cipher);
  return true;
}

void RedisStore::ListVariant(std::string_view plain_key, const cache::StoredResponse& response,
                             std::string_view digest, Millis lifetime,
                             const cache::RecordCipher* cipher) {
  const int64_t now_ms =
      Now().time_since_epoch().count() + client_.clock_offset_us(plain_key) / 1000;
  ScriptArguments arguments;
  arguments.Key(plain_key).Key(std::string(plain_key) + std::string(kListSuffix));
  arguments.Arg("add").Arg(cache::SealVaryMarker(response.key(), response.vary(), cipher));
  arguments.Arg(digest).Arg(lifetime.count()).Arg(kMaxVariants).Arg(now_ms);
  client_.SendScript(Variants(), std::move(arguments), options_.put_deadline_ms, {}, Lane::kStore);
}

void RedisStore::Renew(const StoredPtr& old, StoredPtr updated, const cache::Overrides& overrides,
                       Stored done) {
  const Millis lifetime = RemoteLifetime(updated->facts(), Now());
  const std::string plain_key = PlainKey(updated->key());
  const cache::SealOptions seal = SealingFor(plain_key, overrides);
  const auto put = [this, updated, overrides, done] { Put(updated, overrides, done); };
  const auto renewed = MayPut(*updated, overrides, lifetime)
                           ? cache::RenewedRecord::From(*old, *updated, seal)
                           : std::nullopt;
  if (!renewed) {
    put();
    return;
  }
  const bool varies = !updated->vary().empty();
  const std::string digest =
      varies ? VariantDigest(updated->vary(), updated->vary_values()) : std::string();
  ScriptArguments arguments;
  arguments.Key(varies ? plain_key + ":" + digest : plain_key);
  // As many as there may be: a compressed body takes fewer.
  const uint64_t size = updated->body().size();
  if (size > seal.chunk_above) {
    for (size_t i = 0; i < cache::ChunksOf(size); ++i) {
      arguments.Key(ChunkKey(plain_key, renewed->entry, i));
    }
  }
  arguments.Arg(renewed->first_bytes).Arg(renewed->entry_bytes).Arg(renewed->bytes);
  arguments.Arg(static_cast<int64_t>(cache::RecordHead::kFirstRenewed));
  arguments.Arg(static_cast<int64_t>(cache::RecordHead::kEntryAt));
  arguments.Arg(lifetime.count()).Arg((lifetime + kChunkGrace).count());
  arguments.Arg(static_cast<int64_t>(cache::kChunkSize));
  arguments.Arg(static_cast<int64_t>(cache::RecordHead::kSize));
  const bool sent = client_.SendScript(
      RenewScript(), std::move(arguments), options_.put_deadline_ms,
      [self = std::weak_ptr(self_), put, done, plain_key, updated, digest, lifetime,
       varies](const cache::Result<Reply>& reply) {
        const auto store = self.lock();
        if (!store) return;
        RedisStore& that = **store;
        if (!reply) {
          that.counters_->puts_failed.Add();
          if (done) done(false);
        } else if (!reply->IsInteger() || reply->integer != 1) {
          that.counters_->renewals_missed.Add();
          put();
        } else {
          that.counters_->puts.Add();
          that.counters_->renewals.Add();
          if (varies) that.ListVariant(plain_key, *updated, digest, lifetime, nullptr);
          if (done) done(true);
        }
      },
      Lane::kBulkWrite);
  if (!sent) put();
}

void RedisStore::Remove(const CacheKey& key, std::function<void(bool confirmed)> done) {
  counters_->removes.Add();
  const std::string plain_key = PlainKey(key.text());
  Tell(sealing_.WithdrawUrl(plain_key), false);
  ScriptArguments arguments;
  arguments.Key(plain_key).Key(plain_key + std::string(kListSuffix)).Arg("remove");
  const bool sent = client_.SendScript(
      Variants(), std::move(arguments), options_.put_deadline_ms,
      [done](const cache::Result<Reply>& reply) {
        if (done) done(reply.has_value());
      },
      Lane::kBulkWrite);
  if (!sent && done) loop_.AtTurnEnd([done = std::move(done)] { done(false); });
}

}  // namespace satchel::redis
