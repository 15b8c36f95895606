#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/base/clock.h"
#include "proxy/net/event_loop.h"
#include "proxy/popularity.h"
#include "proxy/redis/commander.h"
#include "proxy/warm_recipe.h"

namespace satchel::proxy {

// What the fleet was asked for, hour by hour, in Redis: "<prefix>:pop:<hours since 1970>", a sorted set
// of recipes. Every kTellMs each instance adds the kMostTold names that were asked for most since it
// last did. What cannot be told is kept for the next time, as far as the table has room. One thread.
class PopularityLog {
 public:
  static constexpr int64_t kTellMs = 10'000;
  static constexpr size_t kMostTold = 100;
  static constexpr size_t kMostKept = 10'000;  // names of one hour in Redis
  static constexpr int64_t kLifeMs = 25LL * 3600 * 1000;
  static constexpr size_t kMostRead = 10'000;

  struct Counters {
    uint64_t told = 0;         // names
    uint64_t failed = 0;       // attempts to tell, or to read
    uint64_t bad_recipes = 0;  // in Redis, and not of our making
  };
  using Clock = std::function<cache::Time()>;

  // `commander` must be started after this was made. All must outlive it.
  PopularityLog(net::EventLoop& loop, redis::Commander& commander, std::string prefix,
                Popularity& popularity, Clock clock);

  // Tells every kTellMs, or no more.
  void Enable(bool on);
  void TellNow();

  // The `most` requests asked for most in this hour and the last one, the first first. Nothing where
  // Redis does not answer. `done` runs once, after the call has returned, unless this goes first.
  using Done = std::function<void(std::vector<WarmRequest>)>;
  void Read(size_t most, Done done);

  const Counters& counters() const { return counters_; }

 private:
  struct Reading;

  std::string KeyOf(int64_t hour) const;
  int64_t Hour() const;
  void Finish(const std::shared_ptr<Reading>& reading);

  net::EventLoop& loop_;
  redis::Commander& commander_;
  const std::string prefix_;
  Popularity& popularity_;
  const Clock clock_;
  Counters counters_;
  net::Timer timer_;
  std::vector<Popularity::Count> telling_;
  redis::PendingReply pending_;
  std::vector<std::shared_ptr<Reading>> readings_;
};

}  // namespace satchel::proxy
