#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cache/search_variance.h"
#include "proxy/redis/redis_store.h"

namespace satchel::redis {

// Looks for the response of an equivalent URI (No-Vary-Search), in three reads: by what the queries
// of the path are told apart (spared where that is known here), under which key an equivalent of
// this one stands, and that record. What is found on the way only points: in the end the record has
// to say that it answers. The caller may drop it at any time, also from inside its function, so
// that is always the last thing done.
class RedisStore::SearchCall final : public Pending {
 public:
  SearchCall(RedisStore& store, const cache::CacheKey& key, const cache::RequestHead& request,
             const cache::Overrides& overrides, EquivalentDone done);

  // One of these begins it.
  void AskPath();
  void AskPointer(const cache::SearchVariance& variance);

 private:
  using OnNote = std::function<void(const cache::Note& note)>;

  void Get(const std::string& text, OnNote on_note, std::function<void()> on_nothing);
  void OnPointer(const cache::Note& pointer);
  void OnRecord(cache::StoredPtr found, uint64_t asked);
  void Finish(Equivalent found);

  const std::weak_ptr<RedisStore*> store_;
  const cache::CacheKey key_;
  const cache::RequestHead request_;  // the caller's may be gone at the second step
  const cache::Overrides overrides_;
  const int64_t deadline_ms_;
  EquivalentDone done_;
  PendingReply reply_;
  std::unique_ptr<Pending> lookup_;
};

}  // namespace satchel::redis
