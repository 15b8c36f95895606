#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/record_sealer.h"
#include "proxy/net/event_loop.h"

namespace satchel::redis {

// Large responses on their way to becoming records: one slice of one of them in each turn of the
// event loop, in the order in which they came, so that no request waits for more than a slice. What
// is stored or removed meanwhile must not be overwritten by what came before it: Withdraw() first.
// The loop's thread only.
class SealQueue {
 public:
  using Stored = std::function<void(bool stored)>;
  // Gets the record, or an error.
  using Sealed =
      std::function<void(cache::Result<cache::SealedRecord>, const std::vector<Stored>&)>;

  // `max_bytes` of bodies may wait.
  SealQueue(net::EventLoop& loop, size_t max_bytes) : loop_(loop), max_bytes_(max_bytes) {}
  SealQueue(const SealQueue&) = delete;
  SealQueue& operator=(const SealQueue&) = delete;

  // False: full. `plain_key` is the URL's, `redis_key` the record's. `stored` are handed to
  // `sealed`.
  bool Add(std::string plain_key, std::string redis_key, size_t bytes, cache::RecordSealer sealer,
           Sealed sealed, std::vector<Stored> stored);
  // What waits under this key of a record, or under any of the URL's, is not to be stored any more.
  // The result is who wants to know whether something was.
  std::vector<Stored> Withdraw(std::string_view redis_key);
  std::vector<Stored> WithdrawUrl(std::string_view plain_key);

  size_t bytes() const { return bytes_; }

 private:
  struct Task {
    std::string plain_key;
    std::string redis_key;
    size_t bytes;
    cache::RecordSealer sealer;
    Sealed sealed;
    std::vector<Stored> stored;
  };

  std::vector<Stored> WithdrawIf(const std::function<bool(const Task&)>& condition);
  void Schedule();
  void Work();

  net::EventLoop& loop_;
  const size_t max_bytes_;
  size_t bytes_ = 0;
  std::deque<Task> tasks_;
  bool scheduled_ = false;
  const std::shared_ptr<SealQueue*> self_ = std::make_shared<SealQueue*>(this);
};

}  // namespace satchel::redis
