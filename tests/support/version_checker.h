#pragma once

// Knows which version of each object may legally be served, where and when. The origin counts
// versions up; a body carries its key, its version, and bytes that follow from the two. Times are
// parameters. Thread-safe.

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace satchel::testing {

// `size` bytes, at least those of the first line.
std::string VersionedBody(std::string_view key, uint64_t version, size_t size);
// The version, if every byte is what that version of the key has. `size` as above.
std::optional<uint64_t> VersionOf(std::string_view key, std::string_view body, size_t size);

class VersionChecker {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Millis = std::chrono::milliseconds;

  struct Object {
    Millis lifetime{0};      // as the origin grants it
    Millis stale_window{0};  // served stale while it is fetched anew
  };
  struct Bounds {
    // How long an instance that confirmed nothing may go without noticing a purge that is in the log.
    Millis unheard{2250};
    // What rounding to seconds and a loaded machine add to lifetimes.
    Millis slack{2000};
  };
  enum class Reach {
    kEverywhere,  // every instance confirmed
    kShared,      // in the log; instances learn of it within Bounds::unheard
    kHere,        // in force at one instance, in the log when Published() says so
    kNowhere,     // refused, or nobody answered
  };

  VersionChecker(size_t instances, Bounds bounds);

  void Add(const std::string& key, Object object, Time at);
  // What the origin serves from now on.
  uint64_t Update(const std::string& key, Time at);
  uint64_t Current(const std::string& key) const;

  // A purge is begun before it is sent and ended when its answer is here: what was current at the
  // beginning is the oldest that may come after the end.
  struct Purge {
    size_t instance = 0;
    bool soft = false;
    std::vector<std::pair<std::string, uint64_t>> oldest;
  };
  Purge BeginPurge(const std::vector<std::string>& keys, size_t instance, bool soft) const;
  void EndPurge(const Purge& purge, Reach reach, Time at);
  // All that the instance purged up to `began` is in the log by now.
  void Published(size_t instance, Time began, Time at);

  // What is wrong with that version, served to a request begun and ended then; nothing if all is
  // well.
  std::optional<std::string> Check(const std::string& key, size_t instance, uint64_t version,
                                   Time begun, Time ended) const;

  // The origin was asked for the key. Explained are the first fetch, those after the lifetime has
  // passed or a purge hit the key since, and whatever `excused` says.
  void CountFetch(const std::string& key, Time at, bool excused);
  struct Fetches {
    uint64_t all = 0;
    uint64_t unexplained = 0;
  };
  Fetches fetches() const;
  // Limits that purges have set so far, over all keys and instances.
  size_t floors() const;

 private:
  struct Floor {
    Time from;
    uint64_t version;
  };
  struct State {
    Object object;
    std::vector<Time> since;                  // of version i + 1
    std::vector<std::vector<Floor>> floors;   // by instance; both members increase
    std::optional<Time> fetched;
    std::optional<Time> purged;
  };
  struct Held {
    Purge purge;
    Time at;
  };

  void Raise(const Purge& purge, size_t instance, Time at);

  const size_t instances_;
  const Bounds bounds_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, State> states_;
  std::vector<Held> held_;
  Fetches fetches_;
  size_t floor_count_ = 0;
};

}  // namespace satchel::testing
