#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/file_loader.h"
#include "rules/config.h"

namespace satchel::proxy {

// Where a running program gets its configuration from, at the start and at each reload: a file,
// or the file-less form; and what the command line says on top.
struct RunOptions {
  std::string config_file;
  std::vector<std::string> listen;   // without a file only; none: ":8080"
  std::string upstream;              // without a file only
  std::string redis;                 // without a file only
  std::optional<std::string> admin;  // an address or "off"
  std::optional<uint32_t> workers;
  std::optional<rules::LogLevel> log_level;
};

struct LoadedConfig {
  std::optional<rules::Config> config;  // set if and only if there are no errors
  std::vector<std::string> errors;      // one line each, fit for the log
  std::vector<std::string> warnings;
  bool unreadable = false;  // the file itself could not be read
  FileFacts facts;          // what it was made from
};

LoadedConfig LoadConfig(const RunOptions& options);

// Whether everybody who can reach the address is on this machine.
bool IsLocalOnly(const rules::Endpoint& address);

}  // namespace satchel::proxy
