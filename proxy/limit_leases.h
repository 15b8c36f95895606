#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "proxy/limit_verdict.h"

namespace satchel::proxy {

// Slots taken ahead (`lease: auto`): where an identity asks often enough, one call takes some more
// slots than are asked for at the moment, to be used within the lease. They are charged as of the
// lease's end, so that a slot used late is not freed early: never over the limit. What is not
// used in time is lost: how much is taken follows the rate and leaves room for other instances.
// One per worker; bounded; owner thread only.
class LimitLeases {
 public:
  static constexpr size_t kMax = 16'384;
  static constexpr int64_t kLongestUs = 100'000;

  // How long slots of this group may be held; 0: not at all, since a policy does not want it or a
  // window is too short.
  static int64_t LengthFor(std::span<const LimitCheck> group);

  // One use of a slot taken ahead, or null. The states as told by Redis, less what was used.
  const std::vector<rules::LimitStates>* Use(uint64_t hash, std::span<const LimitCheck> group,
                                             int64_t now_us);
  // How many slots to take ahead with a call for `count` of them. Notes that they were asked for.
  int64_t Ahead(uint64_t hash, std::span<const LimitCheck> group, int64_t count, uint64_t instances,
                int64_t now_us);
  // What came of it. `sent_us`: when the call was sent, from which the lease is reckoned.
  void Store(uint64_t hash, std::span<const LimitCheck> group, int64_t slots, int64_t sent_us,
             std::span<const rules::LimitStates> states);
  void Clear() { leases_.clear(); }
  size_t size() const { return leases_.size(); }

 private:
  struct Lease {
    std::vector<LimitCheck> group;
    double per_us = 0;  // rate of requests, averaged over the lease's length
    int64_t seen_us = 0;
    int64_t asked = 0;  // uses since `seen_us`
    int64_t slots = 0;
    int64_t ends_us = 0;
    int64_t room = 0;  // calls that still fitted when Redis told last
    std::vector<rules::LimitStates> states;
  };

  Lease* Find(uint64_t hash, std::span<const LimitCheck> group);
  static void Note(Lease& lease, int64_t count, int64_t length_us, int64_t now_us);

  std::unordered_map<uint64_t, Lease> leases_;
};

}  // namespace satchel::proxy
