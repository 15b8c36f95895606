#pragma once

#include <string_view>

namespace satchel::redis {

// The texts by which IsDeadline() and IsUnavailable() know our own errors from a server's.
inline constexpr std::string_view kDeadline = "deadline passed";
inline constexpr std::string_view kUnavailable = "not available";

}  // namespace satchel::redis
