#pragma once

#include <string>

namespace satchel::proxy {

// `satchel doctor`: talks to the Redis of a rule file (or of a URL) and says what is wrong with it
// and what to do. Writes one short-lived key of its own per server.
struct DoctorOptions {
  std::string config_file;
  std::string redis;   // instead of a file
  std::string prefix;  // instead of the file's; "satchel"
  std::string admin;   // of a running instance, if it is to be asked as well
  std::string admin_token;
  bool json = false;
};

// The exit code: 0 nothing to do, 1 warnings, 2 errors or not even begun.
int RunDoctor(const DoctorOptions& options);

}  // namespace satchel::proxy
