#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admin_listener.h"
#include "proxy/limit_control.h"
#include "proxy/limit_verdict.h"
#include "proxy/shared_limits.h"
#include "proxy/snapshot.h"

namespace satchel::proxy {

// Limits as operators see and change them. Main thread; never waits: what Redis is asked for is
// answered by request.respond.
//   GET  /limits            policies, what they refused, who asks most (hashes), what is off
//   GET  /limits/show?WHO   how one identity stands
//   POST /limits/reset?WHO  it begins anew, at every instance
//   POST /limits/off, /limits/on   the kill switch of all instances
// The latter two and reset take policy=NAME. WHO is id=HASH as in the log, owner=NAME,
// ip=ADDRESS, or sha256=HEX&id=HASH for a key, which itself is never sent.
class LimitsAdmin {
 public:
  LimitsAdmin(LimitControl& control, const SharedLimits& limits)
      : control_(control), limits_(limits) {}

  static bool Knows(std::string_view path);
  static bool IsAction(std::string_view path);
  std::optional<AdminReply> Handle(const AdminRequest& request, const SnapshotPtr& snapshot);

 private:
  AdminReply Overview(const Snapshot& snapshot) const;
  void Show(const AdminRequest& request, const SnapshotPtr& snapshot,
            const std::vector<LimitCheck>& checks);
  void Reset(const AdminRequest& request, const SnapshotPtr& snapshot,
             const std::vector<LimitCheck>& checks);
  std::optional<AdminReply> Switch(const AdminRequest& request, const Snapshot& snapshot);

  LimitControl& control_;
  const SharedLimits& limits_;
};

// The value of a parameter of a query, percent-decoded; nothing if it is not there.
std::optional<std::string> QueryParameter(std::string_view query, std::string_view name);

// Whom the query names: the checks of each policy (or of policy=NAME alone) that may know them.
// Empty with a reason where it names nobody.
std::vector<LimitCheck> ChecksFor(const Snapshot& snapshot, std::string_view query,
                                  std::string* why);

}  // namespace satchel::proxy
