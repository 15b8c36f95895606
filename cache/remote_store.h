#pragma once

#include <functional>
#include <memory>

#include "cache/base/clock.h"
#include "cache/base/result.h"
#include "cache/cache_key.h"
#include "cache/http/message.h"
#include "cache/overrides.h"
#include "cache/search_variance.h"
#include "cache/stored_response.h"

namespace satchel::cache {

// A tier beyond this process. One object per worker, used on that worker's thread only. Every
// completion runs on the same thread, after the call has returned, at most once, and never after
// its Pending is gone.
class RemoteStore {
 public:
  class Pending {
   public:
    virtual ~Pending() = default;  // cancels
  };

  // A null pointer is a miss. Errors (deadline, breaker, connection) mean: go on as with a miss.
  using LookupDone = std::function<void(Result<StoredPtr>)>;

  // What is stored under the key of an equivalent URI (No-Vary-Search), and the last purge known
  // when the origin was asked for it.
  struct Equivalent {
    StoredPtr response;  // null: there is none
    uint64_t asked = 0;
  };
  using EquivalentDone = std::function<void(Equivalent)>;

  virtual ~RemoteStore() = default;

  virtual std::unique_ptr<Pending> Lookup(const CacheKey& key, const RequestHead& request,
                                          const Overrides& overrides, LookupDone done) = 0;

  // For a key under which there is nothing. `known`: by what queries of the path are told apart, as
  // far as is known here; null: not at all. Answers only with what answers for the key, as
  // Store::Answers() says. Null: there is nothing to ask, and `done` never runs.
  virtual std::unique_ptr<Pending> LookupEquivalent(
      const CacheKey& key, const RequestHead& request, const Overrides& overrides,
      const std::shared_ptr<const SearchVariance>& known, EquivalentDone done) = 0;
  // The response, which was just put or renewed, says that it answers other queries too. Fire and
  // forget.
  virtual void PutEquivalent(const StoredResponse& response, const Overrides& overrides,
                             uint64_t asked) = 0;

  // Bounded; dropped under pressure. The record expires by itself. `done`, which may be null: it
  // has been sent, so that whoever asks on this connection from now on finds it, or (false) is not
  // going to be there.
  using Stored = std::function<void(bool stored)>;
  virtual void Put(StoredPtr response, const Overrides& overrides, Stored done) = 0;

  // A 304 has made `updated` of `old`: writes the times where they stand if no more has changed and
  // the record is still that of `old`, else all of it. `done`: as Put() says.
  virtual void Renew(const StoredPtr& old, StoredPtr updated, const Overrides& overrides,
                     Stored done) = 0;

  // Removes every variant of the key. `done` runs when the remote side confirmed or failed.
  virtual void Remove(const CacheKey& key, std::function<void(bool confirmed)> done) = 0;

  // False while the breaker is open: callers need not even ask.
  virtual bool available() const = 0;
};

}  // namespace satchel::cache
