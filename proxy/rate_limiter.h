#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/local_limiter.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"
#include "rules/rate_limit.h"
#include "rules/sliding_window.h"

namespace satchel::proxy {

// One question: may this identity do something that costs `cost` now? `identity.plan` is set.
struct LimitCheck {
  const rules::RateLimitPolicy* policy = nullptr;
  const rules::Plan* plan = nullptr;
  std::array<char, 22> id{};  // rules::Identity::id
  int64_t cost = 1;
};

// One window after the decision. `name` belongs to the plan.
struct WindowVerdict {
  std::string_view name;
  uint64_t limit = 0;
  int64_t window_us = 0;
  int64_t remaining = 0;  // never negative
  int64_t reset_us = 0;   // until the oldest counted unit leaves; 0 = nothing is counted
  int64_t wait_us = 0;    // until `cost` fits; 0 = it fits now; -1 = it never will
};

struct LimitVerdict {
  enum class Source : uint8_t {
    kRedis,
    kLocal,    // in-process: no Redis configured, or store_down: local_share
    kRefusal,  // remembered: Redis refused, and its answer still holds
    kOpen,     // store_down: open. No windows.
    kClosed,   // store_down: closed. No windows.
  };
  bool allowed = true;  // before `policy->mode` is applied: shadow policies never refuse
  Source source = Source::kLocal;
  const rules::RateLimitPolicy* policy = nullptr;
  uint8_t window_count = 0;
  int8_t violated = -1;  // index of the window that holds longest, if refused by a window
  std::array<WindowVerdict, rules::LimitTable::kMaxWindows> window_storage;

  std::span<const WindowVerdict> windows() const { return {window_storage.data(), window_count}; }
  // Whether the request is to be refused: not allowed, and not a shadow policy.
  bool Refuses() const {
    return !allowed && policy != nullptr && policy->mode == rules::LimitMode::kEnforce;
  }
  int64_t wait_us() const { return violated < 0 ? 0 : window_storage[violated].wait_us; }
};

// The limiter of one worker: asks Redis by one atomic script per identity and loop turn, remembers
// refusals, and falls back as each policy says. Owner thread only, counters excepted.
class RateLimiter {
 public:
  struct Options {
    std::string prefix = "satchel";
    int64_t deadline_ms = 20;            // then the policy's store_down decides
    size_t max_refusals = 16'384;        // remembered at once
    int64_t refusal_cap_us = 5'000'000;  // an operator's DEL takes effect within this time
  };
  struct Counters {
    net::Counter checks;
    net::Counter allowed;
    net::Counter refused;
    net::Counter coalesced;    // answered by another check's call
    net::Counter from_memory;  // refusals without a call
    net::Counter store_down;   // decided by store_down
    net::Counter calls;        // sent to Redis
  };
  using Done = std::function<void(const LimitVerdict&)>;

  // Cancels when destroyed. The units of a check already sent stay charged.
  class Pending {
   public:
    virtual ~Pending() = default;
  };

  // `client` null: no Redis; everything is decided by `local`. Both must outlive the limiter. To be
  // made before the client is started: it adds its script.
  RateLimiter(net::EventLoop& loop, redis::Commander* client, LocalLimiter& local, Options options);
  ~RateLimiter();

  // The verdict where it can be known now: no Redis, Redis unavailable, or a remembered refusal.
  // Nothing was charged unless the verdict allows.
  std::optional<LimitVerdict> TryLocal(const LimitCheck& check);

  // Asks Redis, whatever TryLocal() would say; falls back if that fails. Equal checks of one loop
  // turn become one call. The policy and the plan must live until `done` has run or the handle is
  // gone.
  [[nodiscard]] std::unique_ptr<Pending> Check(const LimitCheck& check, Done done);

  // To be called with a new configuration: limits may have been raised, policies have gone.
  void ForgetRefusals() { refusals_.clear(); }

  const Counters& counters() const { return counters_; }

  // "<prefix>:rl:{<id>}:<policy>:<window>:<length in microseconds>": another length starts a new
  // log, another limit keeps it.
  std::string KeyOf(const LimitCheck& check, const rules::RateWindow& window) const;

 private:
  struct Waiter;
  struct Batch;
  struct Target {  // what makes two checks equal
    std::array<char, 22> id{};
    const rules::RateLimitPolicy* policy = nullptr;
    const rules::Plan* plan = nullptr;
    int64_t cost = 0;  // 0 in the table of refusals: one entry for all costs
    bool operator==(const Target&) const = default;
  };
  struct HashTarget {
    size_t operator()(const Target& target) const;
  };
  struct Refusal {
    int64_t at_us = 0;     // when the refused call was sent
    int64_t until_us = 0;  // refused until then
    int64_t cost = 0;      // and so is every cost that is not smaller
    std::vector<rules::WindowState> states;
  };

  LimitVerdict FallBack(const LimitCheck& check);
  LimitVerdict DecideLocally(const LimitCheck& check);
  std::optional<LimitVerdict> Remembered(const LimitCheck& check);
  void Remember(const LimitCheck& check, std::span<const rules::WindowState> states,
                int64_t sent_us);
  void MakeRoomForRefusals(int64_t now_us);
  void SendBatches();
  void OnReply(Batch& batch, const cache::Result<redis::Reply>& reply);
  void FinishLocally(Batch& batch);
  const LimitVerdict& Count(const LimitVerdict& verdict);

  net::EventLoop& loop_;
  redis::Commander* client_;
  LocalLimiter& local_;
  const Options options_;
  Counters counters_;
  uint64_t generation_ = 0;
  std::unordered_map<Target, std::shared_ptr<Batch>, HashTarget> open_batches_;  // of this turn
  std::unordered_map<Target, Refusal, HashTarget> refusals_;
  std::string key_;  // kept for its memory
  bool flush_scheduled_ = false;
  // For completions that may come when we are gone.
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::proxy
