#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_set>
#include <vector>

#include "cache/purge_table.h"
#include "cache/store.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/timer_wheel.h"
#include "proxy/purge_order.h"

namespace satchel::proxy {

// Fetches again what was purged with "refresh", at a capped rate: the URLs that were named, and of
// what was purged by other names (tags, prefixes, rules, hosts, everything) the responses that this
// instance holds. Those are looked for little by little, and only while the queue is short, so that
// a purge of a million responses holds nothing up and costs no memory. Main thread only.
class PurgeRefresher {
 public:
  static constexpr size_t kMaxWaiting = 10'000;  // URLs
  static constexpr size_t kMaxSearches = 64;     // purges whose responses are still looked for

  struct Counters {
    uint64_t begun = 0;    // handed on to be fetched
    uint64_t dropped = 0;  // left to the next request: no room
  };
  using Refetch = std::function<void(RefreshTarget target)>;

  PurgeRefresher(net::EventLoop& loop, const cache::Store& store);

  void OnRefetch(Refetch refetch) { refetch_ = std::move(refetch); }
  // Fetches a second.
  void SetRate(uint32_t rate) { rate_ = rate; }
  // `sequence`: of the purge, in this process.
  void Add(PurgeRefresh what, uint64_t sequence);

  size_t waiting() const { return waiting_.size(); }
  size_t searching() const { return searches_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  struct Search {
    cache::PurgeTable purged;
    cache::Store::Position position{};
  };

  void Enqueue(RefreshTarget target);
  void SearchSome();
  void FetchSome();
  void OnTick();

  net::EventLoop& loop_;
  const cache::Store& store_;
  Refetch refetch_;
  uint32_t rate_ = 20;
  double credit_ = 1;
  std::deque<RefreshTarget> waiting_;
  std::unordered_set<std::string> known_;  // of what waits, to tell the same again
  std::deque<Search> searches_;
  Counters counters_;
  net::Timer tick_;
};

}  // namespace satchel::proxy
