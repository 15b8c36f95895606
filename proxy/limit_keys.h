#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/limit_verdict.h"

namespace satchel::proxy {

// Names in Redis: "<prefix>:rl:{<id>}:<policy>:<window>:<length in microseconds>", so that another
// length starts a new log and another limit keeps it; "...:<policy>:concurrent" and "...:penalty".
// All of one identity share its hash tag.
std::string LimitKey(const std::string& prefix, const LimitCheck& check,
                     const rules::RateWindow& window);
std::string SlotsKey(const std::string& prefix, const LimitCheck& check);
std::string PenaltyKey(const std::string& prefix, const LimitCheck& check);
// All that the identity has under that policy and plan.
std::vector<std::string> AllLimitKeys(const std::string& prefix, const LimitCheck& check);

// "<id>:<policy>", the name in this process.
std::string LocalKey(std::string_view id, std::string_view policy);
std::string LocalKey(const LimitCheck& check);

}  // namespace satchel::proxy
