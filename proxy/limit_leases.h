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
// used in time is lost: how much is taken follows the rate, leaves room for other instances, and is
// never more than may be lost. One call at a time takes ahead. One per worker; bounded; owner
// thread only.
class LimitLeases {
 public:
  static constexpr size_t kMax = 16'384;
  static constexpr int64_t kLongestUs = 100'000;
  // Of what was admitted: half a thousandth. As much again goes where slots that were held ahead
  // leave later than they would have.
  static constexpr double kMayBeLost = 0.0005;
  static constexpr double kMayBeLostAtOnce = 0.01;  // of a limit, by all instances together

  // How long slots of this group may be held; 0: not at all, since a policy does not want it or a
  // window is too short.
  static int64_t LengthFor(std::span<const LimitCheck> group);

  // One use of a slot taken ahead, or null. The states as told by Redis, less what was used.
  const std::vector<rules::LimitStates>* Use(uint64_t hash, std::span<const LimitCheck> group,
                                             int64_t now_us);
  // How many slots to take ahead with a call for `count` of them that is sent now. Notes that they
  // were asked for.
  int64_t Ahead(uint64_t hash, std::span<const LimitCheck> group, int64_t count, uint64_t instances,
                int64_t now_us);
  // What came of a call for `count` slots and those ahead, which was sent at `sent_us`: the lease
  // is reckoned from then. Slots of a call that has no answer by its end are lost.
  void Store(uint64_t hash, std::span<const LimitCheck> group, int64_t count, int64_t granted,
             int64_t sent_us, std::span<const rules::LimitStates> states);
  void Clear() { leases_.clear(); }
  size_t size() const { return leases_.size(); }
  uint64_t lost() const { return lost_; }  // slots, since the beginning

 private:
  struct Lease {
    std::vector<LimitCheck> group;
    double per_us = 0;  // rate of requests, averaged over the lease's length
    int64_t seen_us = 0;
    int64_t asked = 0;  // uses since `seen_us`
    int64_t slots = 0;  // in hand, or on their way
    int64_t sent_us = 0;
    bool on_their_way = false;
    double may_be_lost = 0;
    int64_t room = 0;  // calls that still fitted when Redis told last
    std::vector<rules::LimitStates> states;
  };

  Lease* Find(uint64_t hash, std::span<const LimitCheck> group);
  static void Note(Lease& lease, int64_t count, int64_t length_us, int64_t now_us);
  // Slots whose lease has ended are gone.
  void Expire(Lease& lease, int64_t length_us, int64_t now_us);

  uint64_t lost_ = 0;
  std::unordered_map<uint64_t, Lease> leases_;
};

}  // namespace satchel::proxy
