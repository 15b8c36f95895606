#pragma once

#include <string_view>

namespace satchel::proxy {

// Tells systemd (Type=notify or notify-reload) about our state, if it wants to know: NOTIFY_SOCKET
// is set then. `state` as in sd_notify(3), "READY=1". `with_clock` adds MONOTONIC_USEC, which has
// to come with RELOADING=1. Never waits.
void NotifyServiceManager(std::string_view state, bool with_clock = false);

}  // namespace satchel::proxy
