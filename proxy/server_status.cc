// What operators see of a running Server.
#include <unistd.h>

#include <chrono>
#include <string>

#include "proxy/limits_admin.h"
#include "proxy/ops_log.h"
#include "proxy/process_info.h"
#include "proxy/server.h"
#include "proxy/warm_admin.h"
#include "proxy/warm_json.h"

namespace satchel::proxy {
namespace {

using nlohmann::ordered_json;
using std::chrono::milliseconds;

constexpr milliseconds kAskWorkers{250};
constexpr milliseconds kStuckAfter{30'000};

ordered_json StoreJson(const cache::Store::Stats& stats) {
  return {{"bytes", stats.bytes},
          {"limit_bytes", stats.capacity},
          {"entries", stats.objects},
          {"body_files", stats.files},
          {"fills", stats.fills},
          {"uncacheable", stats.uncacheable},
          {"insertions", stats.insertions},
          {"evictions", stats.evictions},
          {"expirations", stats.expirations},
          {"rejected_too_large", stats.rejected_too_large},
          {"invalidations", stats.invalidations}};
}

}  // namespace

Admin::Actions Server::AdminActions() {
  Admin::Actions actions;
  actions.unhealthy = [this]() -> std::optional<std::string> {
    if (const auto stuck = workers_->FindStuck(kStuckAfter)) {
      return "worker " + std::to_string(*stuck) + " does not answer";
    }
    return std::nullopt;
  };
  actions.not_ready = [this]() -> std::optional<std::string> {
    if (phase_ == Phase::kRunning && !warmer_->ready()) return "warming up";
    if (phase_ == Phase::kRunning) return std::nullopt;
    return phase_ == Phase::kStarting ? "starting" : "shutting down";
  };
  actions.metrics = [this] {
    return metrics_->Text(CurrentStatus(), workers_->Servers(kAskWorkers));
  };
  actions.status = [this] { return StatusJson(); };
  actions.reload = [this](const std::string& who, bool* ok) {
    return Reload("admin request from " + who, ok);
  };
  actions.drain = [this](const std::string& who) { BeginShutdown("admin request from " + who); };
  actions.purge = [this](const AdminRequest& request) { Purge(request); };
  actions.limits = [this](const AdminRequest& request) {
    return LimitsAdmin(*limit_control_, *limits_).Handle(request, snapshot_);
  };
  actions.warm = [this](const AdminRequest& request) { return WarmAdmin(*warmer_).Handle(request); };
  return actions;
}

ProcessStatus Server::CurrentStatus() const {
  ProcessStatus status;
  status.version = SATCHEL_VERSION;
  status.start_time = start_time_;
  status.generation = snapshot_->generation;
  status.last_reload_ok = reload_errors_.empty();
  status.last_reload_time = last_reload_time_;
  status.reloads_ok = reloads_ok_;
  status.reloads_failed = reloads_failed_;
  status.ready = phase_ == Phase::kRunning && warmer_->ready();
  status.warm = warmer_->status();
  status.draining = phase_ == Phase::kNotReady || phase_ == Phase::kDraining;
  status.l2_configured = snapshot_->config.l2.has_value();
  status.limits = limits_.get();
  status.log_lines_written = log_output_->lines_written();
  status.log_lines_dropped = log_output_->lines_dropped();
  status.log_write_errors = log_output_->write_errors();
  status.purges = purger_->status();
  status.schedule = purge_schedule_->status();
  return status;
}

ordered_json Server::StatusJson() const {
  const rules::Config& config = snapshot_->config;
  const ProcessStatus process = CurrentStatus();
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  ordered_json json;
  json["version"] = process.version;
  json["uptime_seconds"] = static_cast<int64_t>(now.count() - start_time_);
  json["ready"] = process.ready;
  json["draining"] = process.draining;
  const ordered_json error =
      reload_errors_.empty() ? ordered_json(nullptr) : ordered_json(reload_errors_.front());
  json["config"] = {{"file", config.file},
                    {"generation", process.generation},
                    {"last_reload_ok", process.last_reload_ok},
                    {"error", error},
                    {"errors", reload_errors_},
                    {"last_success_unix_s", static_cast<int64_t>(last_reload_time_)},
                    {"reloads_ok", reloads_ok_},
                    {"reloads_refused", reloads_failed_},
                    {"needs_restart", needs_restart_}};

  ordered_json& listeners = json["listeners"] = ordered_json::array();
  for (const rules::Listener& listener : config.listeners) {
    // Listeners that came by a reload have no port 0 to resolve.
    const auto at_start = bound_.find(listener.name + " " + listener.address.text);
    const std::string& bound = at_start != bound_.end() ? at_start->second : listener.address.text;
    listeners.push_back({{"name", listener.name},
                         {"address", listener.address.text},
                         {"bound", bound},
                         {"tls", listener.tls.has_value()}});
  }
  json["admin"] = admin_listener_ != nullptr ? ordered_json(admin_listener_->bound().ToString())
                                             : ordered_json(nullptr);

  ordered_json& workers = json["workers"] = ordered_json::array();
  for (size_t i = 0; i < workers_->size(); ++i) {
    workers.push_back({{"connections", workers_->open_connections(i)},
                       {"requests_in_flight", Read(workers_->metrics(i).requests_in_flight)},
                       {"generation", Read(workers_->metrics(i).generation)}});
  }
  json["connections"] = workers_->open_connections();

  ordered_json& requests = json["requests"];
  for (size_t i = 0; i < static_cast<size_t>(Outcome::kCount); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    requests[std::string(OutcomeWord(outcome))] = metrics_->Sum(&WorkerMetrics::outcomes, i);
  }

  json["store"] = StoreJson(store_->stats());
  if (config.l2) {
    const uint64_t up = metrics_->Sum(&WorkerMetrics::redis_up);
    json["redis"] = {{"server", config.l2->redis},
                     {"up", up > 0},
                     {"workers_connected", up},
                     {"breakers_open", metrics_->Sum(&WorkerMetrics::redis_breaker_open)}};
  }

  if (!process.schedule.next.empty()) {
    ordered_json& schedule = json["purge_schedule"] = ordered_json::object();
    for (const auto& [name, millis] : process.schedule.next) {
      schedule[name] = {{"next_unix_s", millis / 1000}};
    }
  }

  json["warm"] = WarmJson(process.warm);

  ordered_json& upstreams = json["upstreams"] = ordered_json::object();
  for (const rules::Upstream& upstream : config.upstreams) {
    upstreams[upstream.name] = {{"servers", ordered_json::array()}};
  }
  for (const ServerStatus& server : workers_->Servers(kAskWorkers)) {
    upstreams[server.upstream]["servers"].push_back({{"address", server.server},
                                                     {"healthy", server.healthy && !server.ejected},
                                                     {"in_flight", server.in_flight}});
  }

  const ProcessInfo info = ReadProcessInfo();
  json["process"] = {{"pid", ::getpid()},
                     {"resident_bytes", info.resident_bytes},
                     {"open_descriptors", info.open_descriptors},
                     {"max_descriptors", info.max_descriptors},
                     {"threads", info.threads},
                     {"cpu_seconds", info.cpu_seconds}};
  json["access_log"] = {{"to", config.log.to},
                        {"written", process.log_lines_written},
                        {"dropped", process.log_lines_dropped},
                        {"errors", process.log_write_errors}};
  return json;
}

void Server::LogStart() const {
  const rules::Config& config = snapshot_->config;
  std::string listeners;
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    if (!listeners.empty()) listeners += ", ";
    listeners += config.listeners[i].tls ? "https://" : "http://";
    listeners += workers_->bound()[i].ToString();
  }
  std::string upstreams;
  for (const rules::Upstream& upstream : config.upstreams) {
    if (!upstreams.empty()) upstreams += ", ";
    upstreams += upstream.name + " (";
    for (const rules::Endpoint& server : upstream.servers) upstreams += server.text + " ";
    upstreams.back() = ')';
  }
  OpsLog().info(
      "satchel {} listens on {}; upstream {}; admin {}; {} worker(s); {} MiB of memory "
      "for responses; {}",
      SATCHEL_VERSION, listeners, upstreams,
      admin_listener_ != nullptr ? "http://" + admin_listener_->bound().ToString() : "off",
      workers_->size(), store_->options().capacity >> 20,
      config.l2 ? "shared Redis " + config.l2->redis : "no shared Redis");
}

}  // namespace satchel::proxy
