#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <string_view>

namespace satchel::proxy {

// satchel limits show|reset|off|on: asks a running program's admin listener.
class LimitsCommand {
 public:
  // Sends one request and prints what comes; the exit code.
  using Ask = std::function<int(std::string_view method, std::string_view path)>;
  // Adds the options that say whom to ask.
  using AddAdmin = std::function<void(CLI::App*)>;

  void AddTo(CLI::App* command, const AddAdmin& add_admin);
  int Run(const Ask& ask) const;

 private:
  // The query that names whom; empty with an error written.
  std::string Who() const;

  CLI::App* show_ = nullptr;
  CLI::App* reset_ = nullptr;
  CLI::App* off_ = nullptr;
  CLI::App* on_ = nullptr;
  std::string key_;
  std::string owner_;
  std::string ip_;
  std::string id_;
  std::string policy_;
};

}  // namespace satchel::proxy
