#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "cache/base/result.h"
#include "rules/config.h"

namespace satchel::proxy {

struct AdminAnswer {
  int status = 0;
  std::string body;
};

// Asks a running program's admin listener and waits for the answer; for the command line. An
// address of all interfaces is asked on loopback. Fails when it can't be reached in time.
cache::Result<AdminAnswer> AskAdmin(const rules::Endpoint& address, std::string_view method,
                                    std::string_view path, std::string_view token,
                                    std::chrono::milliseconds patience,
                                    std::string_view body = {});

}  // namespace satchel::proxy
