#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/limit_verdict.h"

namespace satchel::proxy {

// Verdicts by policy and plan, and who asks most. Shared by all workers; any thread.
class LimitStats {
 public:
  // Labels are bounded: what comes later counts under "other".
  static constexpr size_t kMaxSeries = 256;
  // How full a window must be for an admission to count as near the limit.
  static constexpr int64_t kNearPercent = 80;

  struct Series {
    std::string policy;
    std::string plan;  // "inline" where the limits stand in the policy
    std::atomic<uint64_t> allowed{0};
    std::atomic<uint64_t> near_limit{0};  // of these
    std::atomic<uint64_t> refused{0};
    std::atomic<uint64_t> shadow{0};  // would have been refused
    std::atomic<uint64_t> units{0};   // of those allowed
  };
  struct Identity {
    std::array<char, 22> id{};
    std::string policy;
    uint64_t checks = 0;
    uint64_t refused = 0;
  };

  // The series, made if need be. Lives as long as this.
  Series& For(const LimitCheck& check);
  void Count(Series& series, const LimitCheck& check, const LimitVerdict& verdict, int64_t now_ms);

  std::vector<const Series*> All() const;
  // Those with the most checks of late, the first first. Estimates: a count may be too high by
  // what was counted for whoever had the place before.
  std::vector<Identity> Top(size_t most) const;

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kPlaces = 32;  // in each shard
  static constexpr int64_t kHalfLifeMs = 60'000;

  struct Shard {
    mutable std::mutex mutex;
    size_t used = 0;
    // What every check looks through, close together; the rest is looked at when these agree.
    std::array<uint64_t, kPlaces> heads{};  // of the ids
    std::array<uint64_t, kPlaces> checks{};
    std::array<Identity, kPlaces> places;  // but for their checks
    int64_t halved_ms = 0;
  };

  void Seen(const LimitCheck& check, bool refused, int64_t now_ms);

  mutable std::mutex mutex_;
  std::deque<Series> series_;
  std::array<Shard, kShards> shards_;
};

}  // namespace satchel::proxy
