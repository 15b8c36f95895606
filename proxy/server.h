#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "cache/store.h"
#include "proxy/admin.h"
#include "proxy/admin_listener.h"
#include "proxy/config_source.h"
#include "proxy/config_watcher.h"
#include "proxy/limit_control.h"
#include "proxy/log_output.h"
#include "proxy/metrics.h"
#include "proxy/net/event_loop.h"
#include "proxy/purge_schedule.h"
#include "proxy/purger.h"
#include "proxy/redis/announcements.h"
#include "proxy/snapshot.h"
#include "proxy/warmer.h"
#include "proxy/worker_threads.h"

namespace satchel::proxy {

// The whole running program but what serves requests: start, reload, shutdown, and what operators
// see of it. Everything here belongs to the main thread.
//
// Shutdown: SIGTERM, SIGINT or POST /drain. Readiness turns false; after shutdown.not_ready_for the
// listeners close; when the last connection has ended, or after shutdown.drain, the program ends
// with 0. A second signal ends it at once with 128 + signal.
// Reload: SIGHUP, POST /reload, or a change of the files. All or nothing: what can't be read,
// parsed, compiled or bound leaves the running configuration as it is.
class Server {
 public:
  // How a program ended; the values are exit codes.
  static constexpr int kEnded = 0;
  static constexpr int kCouldNotStart = 1;

  explicit Server(RunOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int Run();  // until shut down

 private:
  enum class Phase : uint8_t { kStarting, kRunning, kNotReady, kDraining, kEnded };

  bool Start();
  bool StartWorkers();
  void SettlePurges();
  static void OnSignal(int, short what, void* self);
  void Handle(int signal);

  nlohmann::ordered_json Reload(std::string_view why, bool* ok);
  std::vector<std::string> TryReload(LoadedConfig loaded);
  cache::Result<void> CheckNewListeners(const rules::Config& config) const;
  cache::Result<std::unique_ptr<AdminListener>> OpenAdmin(const rules::Config& config);
  std::vector<std::string> NeedsRestart(const rules::Config& config) const;

  void BeginShutdown(std::string_view why);
  void StopAccepting();
  void CheckDrained();
  int Finish();
  [[noreturn]] void QuitNow(int code, std::string_view why);

  Admin::Actions AdminActions();
  // server_purge.cc
  void Purge(const AdminRequest& request);
  std::unique_ptr<PurgeSchedule> MakePurgeSchedule();
  // server_warm.cc
  std::unique_ptr<Warmer> MakeWarmer();
  void StartWarming();
  void ApplyWarming();
  void CountPopularity();

  ProcessStatus CurrentStatus() const;
  nlohmann::ordered_json StatusJson() const;
  void LogStart() const;

  const RunOptions options_;
  net::EventLoop loop_;
  int signal_fd_ = -1;
  net::IoWatch signals_;
  Phase phase_ = Phase::kStarting;

  SnapshotPtr snapshot_;
  SnapshotPtr started_;  // the first: what needs a restart is compared with it
  std::vector<std::string> needs_restart_;
  std::vector<std::string> reload_errors_;  // of the last reload; empty: it was applied
  double start_time_ = 0;
  double last_reload_time_ = 0;
  uint64_t reloads_ok_ = 0;
  uint64_t reloads_failed_ = 0;

  std::unique_ptr<cache::Store> store_;
  std::unique_ptr<SharedLimits> limits_;
  std::unique_ptr<LogOutput> log_output_;
  std::unique_ptr<Purger> purger_;
  std::unique_ptr<PurgeSchedule> purge_schedule_;
  Popularity popularity_;
  std::unique_ptr<Warmer> warmer_;
  std::unique_ptr<redis::Announcements> announcements_;  // null without Redis
  std::unique_ptr<LimitControl> limit_control_;
  std::unique_ptr<WorkerThreads> workers_;
  std::map<std::string, std::string> bound_;  // at the start: name and address -> as bound
  std::unique_ptr<MetricsRegistry> metrics_;
  std::unique_ptr<ConfigWatcher> watcher_;

  Admin admin_;
  std::unique_ptr<AdminListener> admin_listener_;
  std::vector<std::unique_ptr<AdminListener>> old_admin_listeners_;  // finish their answers
  net::Timer forget_old_admin_;
  net::Timer shutdown_timer_;
  int64_t drain_until_ms_ = 0;
};

}  // namespace satchel::proxy
