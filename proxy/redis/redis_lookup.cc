#include "proxy/redis/redis_lookup.h"

#include <algorithm>
#include <utility>

#include "proxy/redis/record_names.h"

namespace satchel::redis {
namespace {

using cache::CacheKey;
using cache::Millis;
using cache::StoredPtr;

constexpr int64_t kUnlinkDeadlineMs = 1000;

}  // namespace

RedisStore::LookupCall::LookupCall(RedisStore& store, const CacheKey& key,
                                   const cache::RequestHead& request,
                                   const cache::Overrides& overrides, LookupDone done)
    : client_(store.client_),
      loop_(store.loop_),
      counters_(store.counters_),
      purges_(store.purges_),
      varies_(store.varies_),
      keys_(store.keys_),
      deadline_of_one_ms_(store.options_.deadline_ms),
      hash_(key.hash()),
      max_object_(store.options_.max_object),
      deadline_ms_(store.loop_.now_ms() + store.options_.deadline_ms),
      key_(key.text()),
      plain_key_(store.PlainKey(key_)),
      request_(request),
      done_(std::move(done)) {
  overrides_.normalize = overrides.normalize;
  overrides_.encrypt = overrides.encrypt;
  if (const cache::VarySpec* known = varies_->Find(hash_)) {
    tried_ = *known;
    GetVariant(tried_, [this] { GetPlain(); });
  } else {
    GetPlain();
  }
}

// The steps share one deadline; an answer that came in time deserves a try.
int64_t RedisStore::LookupCall::LeftMs() const {
  return std::max<int64_t>(1, deadline_ms_ - loop_.now_ms());
}

void RedisStore::LookupCall::GetPlain() {
  Get(plain_key_, [this](const std::string& record) { OnPlain(record); }, [this] { Miss(); });
}

void RedisStore::LookupCall::GetVariant(const cache::VarySpec& vary,
                                        std::function<void()> on_nothing) {
  const std::string values = cache::VaryValues(vary, request_, overrides_);
  const std::string redis_key = plain_key_ + ":" + VariantDigest(vary, values);
  Get(
      redis_key,
      [this, redis_key, vary, values](const std::string& variant) {
        Open(redis_key, variant, vary, values);
      },
      std::move(on_nothing));
}

void RedisStore::LookupCall::Get(std::string_view key,
                                 std::function<void(const std::string&)> on_record,
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
                            Bad(cache::BadRecord::kVersion);
                          } else {
                            counters_->bytes_read.Add(reply->text.size());
                            on_record(reply->text);
                          }
                        });
}

void RedisStore::LookupCall::OnPlain(const std::string& record) {
  if (cache::KindOf(record) != cache::RecordKind::kVaryMarker) {
    varies_->Forget(hash_);
    Open(plain_key_, record, {});
    return;
  }
  cache::Result<cache::VarySpec> vary = cache::OpenVaryMarker(record, key_, keys_.get());
  if (!vary || vary->star) {
    Bad(vary ? cache::BadRecord::kForm : cache::CauseOf(vary.error().message));
    return;
  }
  varies_->Remember(hash_, *vary);
  if (*vary == tried_) {
    Miss();
  } else {
    GetVariant(*vary, [this] { Miss(); });
  }
}

void RedisStore::LookupCall::Open(const std::string& redis_key, const std::string& record,
                                  const cache::VarySpec& vary, std::string values) {
  auto begun = cache::RecordReader::Begin(
      record, key_,
      {.clock_offset = Millis(client_.clock_offset_us(plain_key_) / 1000),
       .max_body = max_object_,
       .cipher = keys_.get()});
  if (!begun) {
    Bad(cache::CauseOf(begun.error().message));
  } else if (overrides_.encrypt && !begun->encrypted()) {
    // Somebody else's, perhaps: what stands here in the clear is not to be believed.
    Bad(cache::BadRecord::kCipher);
  } else {
    redis_key_ = redis_key;
    reader_ = std::move(*begun);
    vary_ = vary;
    values_ = std::move(values);
    NextChunks();
  }
}

void RedisStore::LookupCall::NextChunks() {
  if (added_ == reader_->chunks()) {
    Unpack();
    return;
  }
  while (asked_ < reader_->chunks() && asked_ < added_ + kAhead) {
    const std::string key = ChunkKey(plain_key_, reader_->entry(), asked_);
    chunks_[asked_++ % kAhead] = client_.Call(
        key, {"GET", key}, deadline_of_one_ms_ * kChunkPatience,
        [this](const cache::Result<Reply>& reply) { OnChunk(reply); }, Lane::kBulkRead);
  }
}

void RedisStore::LookupCall::Unpack() {
  if (!reader_->Unpack()) {
    Opened(std::move(*reader_).Finish());
    return;
  }
  loop_.Post([self = std::weak_ptr(self_)] {
    if (const auto call = self.lock()) (*call)->Unpack();
  });
}

// Replies come in the order of the calls.
void RedisStore::LookupCall::OnChunk(const cache::Result<Reply>& reply) {
  if (!reply) {
    counters_->errors.Add();
    if (IsDeadline(reply.error())) counters_->deadline_misses.Add();
    Finish(std::unexpected(reply.error()));
    return;
  }
  if (!reply->IsString()) {
    Bad(cache::BadRecord::kChunk);
    return;
  }
  counters_->bytes_read.Add(reply->text.size());
  if (const char* why = reader_->AddChunk(reply->text)) {
    Bad(cache::CauseOf(why));
    return;
  }
  ++added_;
  NextChunks();
}

void RedisStore::LookupCall::Opened(cache::Result<StoredPtr> response) {
  if (!response) {
    Bad(cache::CauseOf(response.error().message));
    return;
  }
  // A digest only finds the candidate.
  if ((*response)->vary() != vary_ || (*response)->vary_values() != values_) {
    Bad(cache::BadRecord::kKey);
    return;
  }
  if (purges_ != nullptr) {
    *response = purges_->Adopt(*response);
    // While we waited the log may have been lost sight of. Asked last: whoever purges without the
    // log says so before he does.
    if (!purges_->complete()) {
      Miss();
      return;
    }
    if (*response == nullptr) {
      counters_->purged.Add();
      client_.Send(redis_key_, {"UNLINK", redis_key_}, kUnlinkDeadlineMs, {}, Lane::kBulkWrite);
      Miss();
      return;
    }
  }
  counters_->hits.Add();
  Finish(std::move(*response));
}

void RedisStore::LookupCall::Bad(cache::BadRecord cause) {
  counters_->bad_records.Add();
  counters_->bad_causes[static_cast<size_t>(cause)].Add();
  Miss();
}

void RedisStore::LookupCall::Miss() {
  counters_->misses.Add();
  Finish(StoredPtr());
}

void RedisStore::LookupCall::Finish(cache::Result<StoredPtr> result) {
  const LookupDone done = std::move(done_);
  done(std::move(result));
}

}  // namespace satchel::redis
