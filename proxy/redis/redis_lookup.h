#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cache/envelope.h"
#include "cache/record_reader.h"
#include "proxy/redis/redis_store.h"

namespace satchel::redis {

// One lookup: the slot that was right the last time, else the plain key, and if that holds a
// marker, the variant; then the chunks of a large body, two at a time. The whole body is put
// together before anybody is told, at most `max_object` of it, and a large compressed one undone in
// slices, one in each turn of the loop. The caller may drop it at any time,
// also from inside its function, so that is always the last thing done.
class RedisStore::LookupCall final : public Pending {
 public:
  LookupCall(RedisStore& store, const cache::CacheKey& key, const cache::RequestHead& request,
             const cache::Overrides& overrides, LookupDone done);

 private:
  static constexpr uint32_t kAhead = 2;         // chunks on their way
  static constexpr int64_t kChunkPatience = 5;  // deadlines that the next chunk may take

  int64_t LeftMs() const;
  void GetPlain();
  void GetVariant(const cache::VarySpec& vary, std::function<void()> on_nothing);
  void Get(std::string_view key, std::function<void(const std::string&)> on_record,
           std::function<void()> on_nothing);
  void OnPlain(const std::string& record);
  void Open(const std::string& redis_key, const std::string& record, const cache::VarySpec& vary,
            std::string values = {});
  void NextChunks();
  void OnChunk(const cache::Result<Reply>& reply);
  void Unpack();
  void Opened(cache::Result<cache::StoredPtr> response);
  void Bad(cache::BadRecord cause);
  void Miss();
  void Finish(cache::Result<cache::StoredPtr> result);

  Commander& client_;
  net::EventLoop& loop_;
  const std::shared_ptr<Counters> counters_;
  const cache::Purges* const purges_;
  const std::shared_ptr<VaryMemory> varies_;
  const std::shared_ptr<const RecordKeys> keys_;
  const int64_t deadline_of_one_ms_;
  const uint64_t hash_;
  const uint64_t max_object_;
  const int64_t deadline_ms_;
  const std::string key_;
  const std::string plain_key_;
  const cache::RequestHead request_;  // the caller's may be gone at the second step
  cache::Overrides overrides_;        // what is needed of them here
  cache::VarySpec tried_;             // a variant by these fields is not there
  LookupDone done_;
  PendingReply reply_;
  // The record being read.
  std::string redis_key_;
  std::optional<cache::RecordReader> reader_;
  cache::VarySpec vary_;
  std::string values_;
  uint32_t asked_ = 0;  // chunks
  uint32_t added_ = 0;
  std::array<PendingReply, kAhead> chunks_;
  const std::shared_ptr<LookupCall*> self_ = std::make_shared<LookupCall*>(this);
};

}  // namespace satchel::redis
