#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace satchel::proxy {

// What became of one request that was to be warmed.
enum class WarmResult : uint8_t {
  kFresh,        // it was in memory already
  kShared,       // brought from the shared tier into memory
  kFetched,      // brought from the origin, or confirmed by it
  kUncacheable,  // the origin answered, and that may not be stored
  kBusy,         // somebody else fetches it
  kFailed,       // the origin did not answer, or with an error
  kNoRule,       // no rule matches it, or one that may not be warmed
  kSkipped,      // not tried: the budget or the time was used up, or the queue was full
  kCount
};
std::string_view WarmResultWord(WarmResult result);

// How one request went.
struct WarmOutcome {
  WarmResult result = WarmResult::kFailed;
  bool missed = false;       // asked of the shared tier alone, which does not have it
  bool unavailable = false;  // the same, and it could not be asked
  uint64_t bytes = 0;        // of the body that is in memory now
  std::string error{};       // why it failed
};

// One run, under way or past.
struct WarmProgress {
  uint64_t id = 0;      // of this process, from 1
  std::string name;     // of the entry of `warmup`, or who asked for it
  size_t total = 0;     // requests
  size_t done = 0;
  std::array<uint64_t, static_cast<size_t>(WarmResult::kCount)> results{};
  uint64_t bytes = 0;   // of bodies that came into memory
  int64_t started_unix_ms = 0;
  int64_t took_ms = 0;  // so far
  bool finished = false;
  std::string stopped_by;    // "bytes" or "time": the budget that ended it; else empty
  std::string first_error;   // of the first request that failed
};

struct WarmStatus {
  bool ready = true;  // nothing is waited for any more
  std::vector<WarmProgress> runs;  // the latest, the oldest first
  std::array<uint64_t, static_cast<size_t>(WarmResult::kCount)> results{};  // so far
  uint64_t bytes = 0;
  uint64_t runs_begun = 0;
  uint64_t runs_skipped = 0;  // the last of the same name was not over, or there were too many
  size_t queue = 0;           // requests that wait
  size_t queue_limit = 0;
  // Popularity.
  bool counting = false;
  size_t names = 0;
  size_t names_limit = 0;
  uint64_t names_forgotten = 0;
  uint64_t names_told = 0;
  uint64_t tell_failures = 0;
  uint64_t bad_recipes = 0;
};

}  // namespace satchel::proxy
