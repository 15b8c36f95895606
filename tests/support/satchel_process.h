#pragma once

// The real program under test, and the configuration most tests give it.

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/raw_client.h"

namespace satchel::testing {

// The program's path: $SATCHEL_BINARY, else the one of this build.
std::string SatchelBinary();
CommandResult RunSatchel(std::vector<std::string> arguments,
                         const std::vector<std::string>& environment = {},
                         const std::string& folder = "");

// Prometheus text: "name{labels}" -> value.
class Metrics {
 public:
  Metrics() = default;
  explicit Metrics(const std::string& text);
  // The sum over all series of that name whose labels contain every given piece, e.g.
  // Sum("satchel_requests_total", {"outcome=\"hit\""}).
  double Sum(const std::string& name, const std::vector<std::string>& labels = {}) const;
  bool Has(const std::string& name) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::map<std::string, double> series_;
};

// YAML in the form of the rule files. Every member is text put where it belongs.
struct SatchelConfig {
  std::string upstream;  // server of the upstream "app"
  std::string workers = "2";
  std::string listener = {};        // more keys of the listener, "max_header: 8KiB"
  std::string more_listeners = {};  // flow maps, each after ", "
  std::string app = {};             // more keys of the upstream
  std::string more_upstreams = {};
  std::string cache = {};  // defaults.cache, as a flow map's inside
  std::string timeouts = "connect: 1s, first_byte: 10s, idle: 20s";
  std::string l1 = "size: 64MiB";
  std::string l2 = {};     // "redis: ..." turns Redis on
  std::string stores = {};  // more lines below stores
  std::string rules = {};  // block list items at column 2
  std::string rest = {};   // whole top-level blocks
  std::string shutdown = "not_ready_for: 0s, drain: 5s";

  std::string Yaml(const std::string& listen, const std::string& admin) const;
};

class SatchelProcess {
 public:
  // Starts and waits until /readyz answers 200. A failure to start is a test failure.
  explicit SatchelProcess(SatchelConfig config);
  // With a whole text: {listen}, {admin} and {dir} in it are replaced.
  SatchelProcess(const std::string& yaml, const std::vector<std::string>& environment);
  // Ends it with SIGTERM and expects exit code 0, unless the test has seen it end.
  ~SatchelProcess();

  const std::string& address() const { return address_; }
  const std::string& admin() const { return admin_; }
  const TempDir& dir() const { return dir_; }
  std::string config_path() const { return dir_.path("satchel.yaml"); }
  ChildProcess& process() { return *process_; }
  bool Ready();

  RawClient Connect() const { return RawClient(address_); }
  Response Get(std::string_view target, const Fields& fields = {}) const {
    return Fetch(address_, target, fields);
  }
  Response Send(std::string_view method, std::string_view target, const Fields& fields = {},
                std::string_view body = {}) const {
    return Fetch(address_, method, target, fields, body);
  }

  // A request to the admin listener.
  Response Admin(std::string_view target, Fields fields = {}) const;
  Metrics ReadMetrics() const;
  // Waits until so many connections to Redis stand: a worker has two. False: they never did.
  bool WaitForRedis(double connections = 2) const;
  nlohmann::json Status() const;
  // The access log so far: every line of stdout that is a JSON object.
  std::vector<nlohmann::json> AccessLog() const;
  // Waits for an entry whose members equal those of `like`.
  std::optional<nlohmann::json> WaitForLogEntry(const nlohmann::json& like);

  // Writes a new configuration (same placeholders) and signals; does not wait for the outcome.
  void Reload(const std::string& yaml);
  void Reload(const SatchelConfig& config);

  // Sends SIGTERM and returns the exit code, or nothing at the deadline.
  std::optional<int> Stop(std::chrono::milliseconds patience = kPatience);
  // Tells the destructor that no clean end is to be expected.
  void ExpectNoCleanExit() { clean_exit_expected_ = false; }

 private:
  std::string Fill(std::string yaml) const;
  void Start(const std::string& yaml, const std::vector<std::string>& environment);

  TempDir dir_;
  PortReservation listen_port_;
  PortReservation admin_port_;
  std::string address_ = listen_port_.address();
  std::string admin_ = admin_port_.address();
  std::unique_ptr<ChildProcess> process_;
  bool clean_exit_expected_ = true;
};

}  // namespace satchel::testing
