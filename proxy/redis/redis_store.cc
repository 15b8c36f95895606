#include "proxy/redis/redis_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "cache/envelope.h"
#include "proxy/net/sha256.h"
#include "proxy/redis/lua/variants.lua.h"

namespace satchel::redis {
namespace {

using cache::CacheKey;
using cache::ErrorSource;
using cache::Fail;
using cache::Millis;
using cache::StoredPtr;
using cache::Time;

// Part of every key: another binary with another format neither reads nor overwrites ours.
constexpr std::string_view kFormat = "2";
constexpr int64_t kMaxVariants = 64;  // listed per URL; beyond it the first to expire go
constexpr int64_t kUnlinkDeadlineMs = 1000;
constexpr std::string_view kListSuffix = ":v";
constexpr Millis kGrace = std::chrono::seconds(10);
constexpr Millis kLongest = std::chrono::hours(24 * 30);

const Script& Variants() {
  static const Script script(lua::kVariants);
  return script;
}

std::string DigestText(std::string_view bytes) {
  const std::array<char, 22> digest = net::Digest22(bytes);
  return {digest.data(), digest.size()};
}

// Names and values both: the origin may change its Vary.
std::string VariantDigest(const cache::VarySpec& vary, std::string_view values) {
  std::string text;
  for (const std::string& name : vary.names) text += name + "\n";
  text += "\n";
  text += values;
  return DigestText(text);
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
  const Millis fresh = std::max(Millis(0), facts.lifetime - facts.AgeAt(now));
  const Millis stale = std::max(facts.stale_while_revalidate, facts.stale_if_error);
  if (fresh + stale <= Millis(0) && !facts.has_etag && !facts.has_last_modified) return Millis(0);
  return std::min(std::min(fresh, kLongest) + std::min(stale, kLongest) + kGrace, kLongest);
}

// One lookup: the plain key, and if that holds a marker, the variant. The caller may drop it at
// any time, also from inside its function, so that is always the last thing done.
class RedisStore::LookupCall final : public Pending {
 public:
  LookupCall(RedisStore& store, const CacheKey& key, const cache::RequestHead& request,
             const cache::Overrides& overrides, LookupDone done)
      : client_(store.client_),
        loop_(store.loop_),
        counters_(store.counters_),
        purges_(store.purges_),
        varies_(store.varies_),
        hash_(key.hash()),
        max_object_(store.options_.max_object),
        deadline_ms_(store.loop_.now_ms() + store.options_.deadline_ms),
        key_(key.text()),
        plain_key_(store.PlainKey(key_)),
        request_(request),
        done_(std::move(done)) {
    overrides_.normalize = overrides.normalize;
    if (const cache::VarySpec* known = varies_->Find(hash_)) {
      tried_ = *known;
      GetVariant(tried_, [this] { GetPlain(); });
    } else {
      GetPlain();
    }
  }

 private:
  // The steps share one deadline; an answer that came in time deserves a try.
  int64_t LeftMs() const { return std::max<int64_t>(1, deadline_ms_ - loop_.now_ms()); }

  void GetPlain() {
    Get(plain_key_, [this](const std::string& record) { OnPlain(record); }, [this] { Miss(); });
  }

  void GetVariant(const cache::VarySpec& vary, std::function<void()> on_nothing) {
    const std::string values = cache::VaryValues(vary, request_, overrides_);
    const std::string redis_key = plain_key_ + ":" + VariantDigest(vary, values);
    Get(
        redis_key,
        [this, redis_key, vary, values](const std::string& variant) {
          Open(redis_key, variant, vary, values);
        },
        std::move(on_nothing));
  }

  void Get(std::string_view key, std::function<void(const std::string&)> on_record,
           std::function<void()> on_nothing) {
    reply_ = client_.Call(key, {"GET", key}, LeftMs(),
                          [this, on_record = std::move(on_record),
                           on_nothing = std::move(on_nothing)](cache::Result<Reply> reply) {
                            if (!reply) {
                              const bool skipped = IsUnavailable(reply.error());
                              (skipped ? counters_->skipped : counters_->errors).Add();
                              if (IsDeadline(reply.error())) counters_->deadline_misses.Add();
                              Finish(std::unexpected(std::move(reply.error())));
                            } else if (reply->IsNil()) {
                              on_nothing();
                            } else if (!reply->IsString()) {
                              Bad();
                            } else {
                              counters_->bytes_read.Add(reply->text.size());
                              on_record(reply->text);
                            }
                          });
  }

  void OnPlain(const std::string& record) {
    if (cache::KindOf(record) != cache::RecordKind::kVaryMarker) {
      varies_->Forget(hash_);
      Open(plain_key_, record, {});
      return;
    }
    cache::Result<cache::VarySpec> vary = cache::OpenVaryMarker(record, key_);
    if (!vary || vary->star) {
      Bad();
      return;
    }
    varies_->Remember(hash_, *vary);
    if (*vary == tried_) {
      Miss();
    } else {
      GetVariant(*vary, [this] { Miss(); });
    }
  }

  void Open(const std::string& redis_key, const std::string& record, const cache::VarySpec& vary,
            std::string_view values = {}) {
    cache::Result<StoredPtr> response =
        cache::OpenRecord(record, key_,
                          {.clock_offset = Millis(client_.clock_offset_us(plain_key_) / 1000),
                           .max_body = max_object_});
    // A digest only finds the candidate.
    if (!response || (*response)->vary() != vary || (*response)->vary_values() != values) {
      Bad();
      return;
    }
    if (purges_ != nullptr) {
      // While we waited the log may have been lost sight of.
      if (!purges_->complete()) {
        Miss();
        return;
      }
      *response = purges_->Check(*response);
      if (*response == nullptr) {
        counters_->purged.Add();
        client_.Send(redis_key, {"UNLINK", redis_key}, kUnlinkDeadlineMs, {}, Lane::kBulkWrite);
        Miss();
        return;
      }
    }
    counters_->hits.Add();
    Finish(std::move(*response));
  }

  void Bad() {
    counters_->bad_records.Add();
    Miss();
  }
  void Miss() {
    counters_->misses.Add();
    Finish(StoredPtr());
  }
  void Finish(cache::Result<StoredPtr> result) {
    const LookupDone done = std::move(done_);
    done(std::move(result));
  }

  Commander& client_;
  net::EventLoop& loop_;
  const std::shared_ptr<Counters> counters_;
  const cache::Purges* const purges_;
  const std::shared_ptr<VaryMemory> varies_;
  const uint64_t hash_;
  const uint64_t max_object_;
  const int64_t deadline_ms_;
  const std::string key_;
  const std::string plain_key_;
  const cache::RequestHead request_;  // the caller's may be gone at the second step
  cache::Overrides overrides_;        // what VaryValues() needs of them
  cache::VarySpec tried_;             // a variant by these fields is not there
  LookupDone done_;
  PendingReply reply_;
};

RedisStore::RedisStore(net::EventLoop& loop, Commander& client, Options options,
                       const cache::Purges* purges)
    : loop_(loop), client_(client), options_(std::move(options)), purges_(purges) {
  client_.AddScript(Variants());
}

RedisStore::~RedisStore() = default;

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

bool RedisStore::Put(StoredPtr response, const cache::Overrides&) {
  const cache::ResponseFacts& facts = response->facts();
  const Millis lifetime = RemoteLifetime(facts, Now());
  if (!client_.available({}) || response->vary().star || lifetime <= Millis(0) ||
      response->body().size() > options_.max_object) {
    counters_->puts_dropped.Add();
    return false;
  }
  const std::string plain_key = PlainKey(response->key());
  cache::SealOptions seal;
  seal.clock_offset = Millis(client_.clock_offset_us(plain_key) / 1000);
  seal.compress_from = options_.compress_min.value_or(std::numeric_limits<size_t>::max());
  cache::Result<std::string> record = cache::SealRecord(*response, seal);
  if (!record) {
    counters_->puts_dropped.Add();
    return false;
  }
  const bool varies = !response->vary().empty();
  const std::string digest =
      varies ? VariantDigest(response->vary(), response->vary_values()) : std::string();
  const size_t size = record->size();
  Command set{"SET", varies ? plain_key + ":" + digest : plain_key};
  set.Payload(std::move(*record)).Arg("PX").Arg(lifetime.count());
  // One part of a response never takes the place of the whole.
  if (facts.partial) set.Arg("NX");
  const bool sent = client_.Send(
      plain_key, std::move(set), options_.put_deadline_ms,
      [counters = counters_](const cache::Result<Reply>& reply) {
        if (!reply) counters->puts_failed.Add();
      },
      Lane::kStore);
  if (!sent) {
    counters_->puts_dropped.Add();
    return false;
  }
  counters_->puts.Add();
  counters_->bytes_written.Add(size);
  if (!varies) {
    varies_->Forget(response->key_hash());
    return true;
  }
  varies_->Remember(response->key_hash(), response->vary());
  const int64_t now_ms =
      Now().time_since_epoch().count() + client_.clock_offset_us(plain_key) / 1000;
  ScriptArguments arguments;
  arguments.Key(plain_key).Key(plain_key + std::string(kListSuffix));
  arguments.Arg("add").Arg(cache::SealVaryMarker(response->key(), response->vary())).Arg(digest);
  arguments.Arg(lifetime.count()).Arg(kMaxVariants).Arg(now_ms);
  client_.SendScript(Variants(), std::move(arguments), options_.put_deadline_ms, {}, Lane::kStore);
  return true;
}

void RedisStore::Remove(const CacheKey& key, std::function<void(bool confirmed)> done) {
  counters_->removes.Add();
  const std::string plain_key = PlainKey(key.text());
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
