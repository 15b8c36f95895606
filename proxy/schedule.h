#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cache/base/clock.h"
#include "proxy/net/event_loop.h"
#include "rules/cron.h"

namespace satchel::proxy {

// Calls what is due. It looks at the wall clock at least every kLookMs, so a clock that is set right
// is followed: what it jumped over is done once, late; what comes a second time after it was set back
// is done again. Moments at which nobody looked for longer than kForgetAfter (a suspended machine) are
// passed over. One thread.
class Schedule {
 public:
  using Clock = std::function<cache::Time()>;
  static constexpr int64_t kLookMs = 1000;
  static constexpr cache::Millis kForgetAfter = std::chrono::minutes(10);

  struct Entry {
    std::string name{};
    std::vector<rules::Cron> at{};
    std::function<void(cache::Time due)> run{};
  };

  Schedule(net::EventLoop& loop, Clock clock, int64_t look_ms = kLookMs);

  // In place of all there were; of those with the name and times of an earlier one nothing due is
  // missed or done twice.
  void Set(std::vector<Entry> entries);
  void Stop() { timer_.Cancel(); }

  // The next moment of each entry, in their order.
  struct Upcoming {
    std::string name;
    std::optional<cache::Time> next;
  };
  std::vector<Upcoming> upcoming() const;

 private:
  struct Waiting : Entry {
    std::optional<cache::Time> next{};
  };

  static std::optional<cache::Time> NextOf(const Entry& entry, cache::Time after);
  void Look();
  void SetTimer(cache::Time now);

  net::EventLoop& loop_;
  const Clock clock_;
  const int64_t look_ms_;
  std::vector<Waiting> entries_;
  cache::Time looked_{};
  net::Timer timer_;
};

}  // namespace satchel::proxy
