#pragma once

#include <spdlog/logger.h>

#include <chrono>

#include "rules/config.h"

namespace satchel::proxy {

// The log for operators: state changes, errors of our own, reloads. Lines go to stderr through an
// asynchronous logger whose queue drops its oldest line, so that no caller ever waits. What one
// request met belongs into the access log instead. Any thread:
//   OpsLog().warn("upstream {}: {} is down: {}", name, server, why);
// Bytes from outside may be arguments: control characters are replaced. Secrets may not.
spdlog::logger& OpsLog();

void SetOpsLogLevel(rules::LogLevel level);  // any thread

// Writes what is queued, but gives up after `patience`; later lines are lost. At the very end.
void StopOpsLog(std::chrono::milliseconds patience);

}  // namespace satchel::proxy
