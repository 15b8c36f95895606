#pragma once

#include <nlohmann/json.hpp>

#include "proxy/warm_status.h"

namespace satchel::proxy {

// As operators see it in /status and GET /warm.
nlohmann::ordered_json RunJson(const WarmProgress& run);
nlohmann::ordered_json WarmJson(const WarmStatus& status);

}  // namespace satchel::proxy
