#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/event_loop.h"
#include "proxy/warm_recipe.h"
#include "proxy/warm_status.h"

namespace satchel::proxy {

// One list of requests, warmed within its bounds. First all of them are looked for in the shared tier
// (where there is one), then what that lacks is asked of the origin, one after the other at no more than
// the rate. Knows neither sockets nor caches: `send` does one request, and its `done` may be called from
// inside or later, on the same thread. One thread.
class WarmRun {
 public:
  struct Options {
    std::string name{};
    uint64_t id = 0;
    uint32_t concurrency = 4;      // requests at once
    double rate = 20;              // requests a second that may reach the origin
    uint64_t max_bytes = 64 << 20;
    int64_t max_ms = 300'000;
    bool shared = true;            // there is a shared tier
    int64_t shared_grace_ms = 1000;  // so long it may be unavailable before it is done without
  };
  using Done = std::function<void(WarmOutcome)>;
  using Send = std::function<void(const WarmRequest& request, bool shared_only, Done done)>;
  static constexpr int64_t kAskAgainMs = 50;
  // Somebody fetches it, perhaps this run for another variant while it is not known by what the variants
  // differ: so often it is tried again behind the others.
  static constexpr uint32_t kBusyTries = 20;

  WarmRun(net::EventLoop& loop, Options options, std::vector<WarmRequest> requests, Send send);

  // `changed` runs after each request that is done, and when all are: then finished() holds.
  void Start(std::function<void()> changed);

  const WarmProgress& progress() const { return progress_; }
  bool finished() const { return progress_.finished; }
  // What the shared tier has is in memory.
  bool shared_done() const { return finished() || stage_ == Stage::kOrigin; }
  double share() const {
    return progress_.total == 0
               ? 1
               : static_cast<double>(progress_.done) / static_cast<double>(progress_.total);
  }
  size_t waiting() const { return first_.size() + second_.size(); }

 private:
  enum class Stage : uint8_t { kShared, kOrigin };

  struct Item {
    WarmRequest request;
    uint32_t tries = 0;
  };

  void Pump();
  void Issue(Item item);
  void OnDone(Item item, WarmOutcome outcome);
  bool PutOff(Item& item, const WarmOutcome& outcome);
  void Count(WarmResult result, uint64_t times = 1);
  bool OverBudget();
  void Finish();

  net::EventLoop& loop_;
  const Options options_;
  const Send send_;
  std::function<void()> changed_;
  std::deque<Item> first_;   // for the shared tier
  std::deque<Item> second_;  // for the origin
  Stage stage_ = Stage::kShared;
  uint32_t in_flight_ = 0;
  int64_t started_ms_ = 0;
  int64_t next_ns_ = 0;        // when the origin may be asked again
  int64_t grace_until_ms_ = 0;
  bool paused_ = false;        // for kAskAgainMs
  bool pumping_ = false;
  WarmProgress progress_;
  net::Timer timer_;
  net::Timer time_up_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::proxy
