#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cache/remote_store.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/client.h"
#include "rules/config.h"

namespace satchel::redis {

// The shared tier in one Redis. Keys, records and failures are described in README.md. One object
// per worker, on the worker's client and thread; the client must outlive it.
class RedisStore final : public cache::RemoteStore {
 public:
  struct Options {
    std::string prefix = "satchel";
    int64_t deadline_ms = 20;      // of a lookup, both steps of a Vary lookup included
    int64_t put_deadline_ms = 1000;
    uint64_t max_object = 8 << 20;  // a longer body is neither written nor accepted
    std::optional<uint64_t> compress_min;
    static Options From(const rules::L2Config& config);
  };
  struct Counters {
    net::Counter hits;
    net::Counter misses;
    net::Counter errors;           // broken connection, error reply, breaker: taken as a miss
    net::Counter deadline_misses;  // also in errors
    net::Counter bad_records;      // checksum, version, key text: taken as a miss
    net::Counter puts;
    net::Counter puts_dropped;  // too large, queue full, breaker open, failed
    net::Counter removes;
    net::Counter bytes_read;     // of records
    net::Counter bytes_written;  // of records
  };

  RedisStore(net::EventLoop& loop, Client& client, Options options);
  ~RedisStore() override;

  std::unique_ptr<Pending> Lookup(const cache::CacheKey& key, const cache::RequestHead& request,
                                  const cache::Overrides& overrides, LookupDone done) override;
  void Put(cache::StoredPtr response, const cache::Overrides& overrides) override;
  void Remove(const cache::CacheKey& key, std::function<void(bool confirmed)> done) override;
  bool available() const override;

  const Counters& counters() const { return counters_; }

 private:
  class LookupCall;

  std::string PlainKey(std::string_view key_text) const;
  cache::Time RedisNow() const;

  net::EventLoop& loop_;
  Client& client_;
  const Options options_;
  Counters counters_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // for completions that may outlive us
};

}  // namespace satchel::redis
