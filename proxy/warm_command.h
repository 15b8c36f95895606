#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "proxy/admin_client.h"

namespace satchel::proxy {

// `satchel warm`: sends URLs to a running instance, a part at a time, and waits until they are warm.
class WarmCommand {
 public:
  using Ask = std::function<cache::Result<AdminAnswer>(std::string_view method, std::string_view path,
                                                       std::string_view body)>;

  void AddTo(CLI::App* command);
  // The exit code: 0 all went well, 1 something failed or was skipped, 2 nothing to do.
  int Run(const Ask& ask) const;

  // The bodies of the requests to send, each small enough for the admin listener.
  std::vector<std::string> Bodies(const std::vector<std::string>& urls) const;

 private:
  bool ReadUrls(std::vector<std::string>* urls) const;

  std::vector<std::string> urls_;
  std::vector<std::string> files_;
  std::vector<std::string> entries_;
  std::vector<std::string> rules_;
  std::vector<std::string> headers_;
  bool all_variants_ = false;
  double rate_ = 20;
  int concurrency_ = 4;
  bool no_wait_ = false;
  bool quiet_ = false;
};

}  // namespace satchel::proxy
