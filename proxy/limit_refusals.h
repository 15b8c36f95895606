#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "proxy/limit_verdict.h"

namespace satchel::proxy {

// Refusals that still hold: Redis told how long, and slots leave by age alone, so that asking again
// before is no use. Exact: counted from when the refused call was sent. Bounded: forgetting costs
// a call, nothing else. One per worker; owner thread only.
class LimitRefusals {
 public:
  struct Options {
    size_t max = 65'536;
    int64_t cap_us = 5'000'000;  // an operator's DEL takes effect within this time
  };

  explicit LimitRefusals(Options options) : options_(options) {}

  // The refusal of a check of that cost or less, with its times as of now.
  std::optional<LimitVerdict> Find(const LimitCheck& check, int64_t now_us);
  // Of windows and penalties; a slot may be given back at any time.
  void Add(const LimitCheck& check, const rules::LimitStates& states, int64_t sent_us);
  void Clear() { refusals_.clear(); }
  void Forget(std::string_view id);
  size_t size() const { return refusals_.size(); }

 private:
  struct Target {  // the cost stands in the refusal
    std::array<char, 22> id;
    const rules::RateLimitPolicy* policy;
    const rules::Plan* plan;
    bool operator==(const Target&) const = default;
  };
  struct Hash {
    size_t operator()(const Target& target) const;
  };
  struct Refusal {
    int64_t at_us = 0;
    int64_t until_us = 0;
    int64_t cost = 0;  // every cost that is not smaller is refused
    rules::LimitStates states;
  };

  void MakeRoom(int64_t now_us);

  const Options options_;
  std::unordered_map<Target, Refusal, Hash> refusals_;
};

}  // namespace satchel::proxy
