#include "proxy/server.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <utility>

#include "proxy/cpu_limit.h"
#include "proxy/listen_socket.h"
#include "proxy/net/heap.h"
#include "proxy/ops_log.h"
#include "proxy/redis/fleet.h"
#include "proxy/service_manager.h"

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;
using std::chrono::milliseconds;

constexpr int64_t kDrainLookMs = 10;
constexpr int64_t kSettleMs = 500;
constexpr milliseconds kJoinPatience{5000};
constexpr milliseconds kLogPatience{1000};
constexpr int64_t kOldAdminMs = 2 * AdminListener::kDeadlineMs;
constexpr size_t kMostErrorsLogged = 50;
constexpr uint64_t kMaxBodyFiles = 16384;  // each is a mapping too, and the kernel has a limit

double WallSeconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Blocked in every thread, so that only the signalfd sees them.
sigset_t OurSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, signal);
  return set;
}

// Logins and certificates are taken over by the workers.
bool SameRedis(const std::optional<rules::L2Config>& a, const std::optional<rules::L2Config>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  const auto all = [](const rules::L2Config& l2) {
    return std::tie(l2.redis, l2.prefix, l2.deadline, l2.max_object, l2.breaker.failures,
                    l2.breaker.open_for, l2.compress_min);
  };
  return all(*a) == all(*b);
}

cache::Store::Options StoreOptions(const rules::Config& config) {
  cache::Store::Options options;
  options.capacity = L1BytesFor(config);
  options.max_object = config.l1.max_object;
  return options;
}

// How many descriptors bodies in files may take: half of what the connections leave, or a small
// share of all.
size_t FilesBeside(const rules::Config& config) {
  const uint64_t descriptors = RaiseDescriptorLimit();
  uint64_t wanted = 0;
  for (const rules::Listener& listener : config.listeners) {
    wanted += 2 * uint64_t{listener.max_connections};
  }
  if (descriptors < wanted) {
    OpsLog().warn("only {} file descriptors allowed (ulimit -n); {} connections may want {}",
                  descriptors, wanted / 2, wanted);
  }
  const uint64_t spare = descriptors - std::min(descriptors, wanted);
  return std::min(kMaxBodyFiles, std::max(spare / 2, descriptors / 8));
}

}  // namespace

Server::Server(RunOptions options)
    : options_(std::move(options)),
      admin_(AdminActions()),
      forget_old_admin_([this] { old_admin_listeners_.clear(); }) {}

Server::~Server() {
  signals_.Stop();
  if (signal_fd_ >= 0) ::close(signal_fd_);
}

int Server::Run() {
  if (!Start()) {
    workers_.reset();
    if (log_output_ != nullptr) log_output_->Close(kLogPatience);
    StopOpsLog(kLogPatience);
    return kCouldNotStart;
  }
  phase_ = Phase::kRunning;
  LogStart();
  if (warmer_->ready()) NotifyServiceManager("READY=1");
  loop_.Run();
  return Finish();
}

bool Server::Start() {
  // Before the first thread (the loggers' are made on first use): they inherit both.
  const sigset_t set = OurSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signal_fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signal_fd_ < 0) {
    OpsLog().error("signalfd: {}", std::strerror(errno));
    return false;
  }
  signals_.Start(loop_, signal_fd_, EV_READ, &Server::OnSignal, this);
  start_time_ = WallSeconds();

  LoadedConfig loaded = LoadConfig(options_);
  for (const std::string& warning : loaded.warnings) OpsLog().warn("{}", warning);
  if (!loaded.config) {
    // As compilers do it, so that editors and people find the place.
    for (const std::string& error : loaded.errors) std::fprintf(stderr, "%s\n", error.c_str());
    return false;
  }
  SetOpsLogLevel(loaded.config->log.level);
  auto snapshot = BuildSnapshot(std::move(*loaded.config), 1);
  if (!snapshot) {
    OpsLog().error("{}", snapshot.error().message);
    return false;
  }
  snapshot_ = started_ = std::move(*snapshot);
  last_reload_time_ = start_time_;
  if (!StartWorkers()) return false;
  if (!options_.config_file.empty()) {
    watcher_ = std::make_unique<ConfigWatcher>(loop_, [this] {
      bool ok = false;
      Reload("its files have changed", &ok);
    });
    watcher_->Watch(std::move(loaded.facts));
  }
  return true;
}

bool Server::StartWorkers() {
  const rules::Config& config = snapshot_->config;
  if (config.l1.preallocate && !net::ReserveHeap(StoreOptions(config).capacity)) {
    OpsLog().error("stores.l1.preallocate: there is no memory of {} bytes to be had",
                   StoreOptions(config).capacity);
    return false;
  }
  cache::Store::Options store = StoreOptions(config);
  store.files.files = FilesBeside(config);
  // They take memory of their own, and what the heap gave up for them it may not give back to the
  // system: a share of L1, no more.
  store.files.bytes = store.capacity / 8;
  store_ = std::make_unique<cache::Store>(store);
  limits_ = std::make_unique<SharedLimits>();
  log_output_ = std::make_unique<LogOutput>(config.log.to);
  purger_ = std::make_unique<Purger>(loop_, *store_, snapshot_);
  purge_schedule_ = MakePurgeSchedule();
  warmer_ = MakeWarmer();
  limit_control_ = std::make_unique<LimitControl>(
      loop_, snapshot_, *limits_, *purger_, [this](const std::string& id) {
        workers_->PostAll([id](Worker& worker) { worker.limiter().Forget(id); });
      });

  if (redis::Subscriber* const subscriber = purger_->subscriber()) {
    announcements_ = std::make_unique<redis::Announcements>(loop_, *subscriber);
  }
  auto workers = WorkerThreads::Create(
      WorkersFor(config), snapshot_,
      Worker::Shared{*store_, *limits_, *log_output_, *purger_, popularity_,
                     announcements_.get(),
                     redis::Fleet::UniqueName()});
  if (!workers) {
    OpsLog().error("{}", workers.error().message);
    return false;
  }
  workers_ = std::move(*workers);
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    const rules::Listener& listener = config.listeners[i];
    bound_[listener.name + " " + listener.address.text] = workers_->bound()[i].ToString();
  }
  metrics_ = std::make_unique<MetricsRegistry>(workers_->metrics(), store_.get());
  auto admin = OpenAdmin(config);
  if (!admin) {
    OpsLog().error("admin: {}", admin.error().message);
    return false;
  }
  admin_listener_ = std::move(*admin);
  admin_.SetToken(config.admin.token);
  purger_->OnRefetch([this](RefreshTarget target) { workers_->Refetch(std::move(target)); });
  purger_->Start();
  limit_control_->Start();
  SettlePurges();
  workers_->Start();
  purge_schedule_->Configure(config.purge);
  StartWarming();
  return true;
}

// What others purged has to be known before what they stored may be used: a moment's wait spares the
// first requests a fetch.
void Server::SettlePurges() {
  const int64_t until = net::EventLoop::ReadClockMs() + kSettleMs;
  net::Timer tick;
  while (!purger_->settled() && net::EventLoop::ReadClockMs() < until) {
    loop_.SetTimer(tick, kSettleMs / 10);
    loop_.Turn(true);
  }
}

void Server::OnSignal(int, short, void* self) {
  auto* server = static_cast<Server*>(self);
  signalfd_siginfo info;
  while (::read(server->signal_fd_, &info, sizeof(info)) == sizeof(info)) {
    server->Handle(static_cast<int>(info.ssi_signo));
  }
}

void Server::Handle(int signal) {
  const char* name = signal == SIGTERM ? "SIGTERM" : signal == SIGINT ? "SIGINT" : "SIGHUP";
  switch (signal) {
    case SIGTERM:
    case SIGINT:
      if (phase_ != Phase::kRunning) QuitNow(128 + signal, name);
      BeginShutdown(name);
      break;
    case SIGHUP: {
      bool ok = false;
      Reload(name, &ok);
      break;
    }
    case SIGUSR1:
      OpsLog().info("SIGUSR1: the access log's file is opened anew");
      log_output_->Reopen();
      break;
    default:
      break;
  }
}

// Reload.

nlohmann::ordered_json Server::Reload(std::string_view why, bool* ok) {
  NotifyServiceManager("RELOADING=1", true);
  LoadedConfig loaded = LoadConfig(options_);
  // Also after a failure: the next change of these files is the next attempt.
  if (watcher_ != nullptr) watcher_->Watch(loaded.facts);
  const std::vector<std::string> warnings = loaded.warnings;
  for (const std::string& warning : warnings) OpsLog().warn("{}", warning);

  reload_errors_ = TryReload(std::move(loaded));
  *ok = reload_errors_.empty();
  if (*ok) {
    ++reloads_ok_;
    last_reload_time_ = WallSeconds();
    OpsLog().info("configuration {} applied ({})", snapshot_->generation, why);
    for (const std::string& what : needs_restart_) {
      OpsLog().warn("{} differs from what runs: it needs a restart", what);
    }
  } else {
    ++reloads_failed_;
    OpsLog().error("configuration refused ({}), number {} goes on; {} error(s):", why,
                   snapshot_->generation, reload_errors_.size());
    for (size_t i = 0; i < std::min(reload_errors_.size(), kMostErrorsLogged); ++i) {
      OpsLog().error("{}", reload_errors_[i]);
    }
  }
  NotifyServiceManager("READY=1");
  return {{"applied", *ok},
          {"generation", snapshot_->generation},
          {"errors", reload_errors_},
          {"warnings", warnings},
          {"needs_restart", needs_restart_}};
}

std::vector<std::string> Server::TryReload(LoadedConfig loaded) {
  if (phase_ != Phase::kRunning) return {"shutting down"};
  if (!loaded.config) return std::move(loaded.errors);
  const rules::Config& old = snapshot_->config;
  auto built = BuildSnapshot(std::move(*loaded.config), snapshot_->generation + 1);
  if (!built) return {built.error().message};
  const rules::Config& config = (*built)->config;
  if (auto checked = CheckNewListeners(config); !checked) return {checked.error().message};
  if (config.admin.address != old.admin.address) {
    auto admin = OpenAdmin(config);
    if (!admin) return {"admin: " + admin.error().message};
    if (admin_listener_ != nullptr) {
      // It may be the one whose request asked for this reload.
      admin_listener_->StopAccepting();
      old_admin_listeners_.push_back(std::move(admin_listener_));
      loop_.SetTimer(forget_old_admin_, kOldAdminMs);
    }
    admin_listener_ = std::move(*admin);
  }

  // Nothing below can fail.
  needs_restart_ = NeedsRestart(config);
  store_->LimitFiles(FilesBeside(config));
  admin_.SetToken(config.admin.token);
  SetOpsLogLevel(config.log.level);
  log_output_->Redirect(config.log.to);
  snapshot_ = std::move(*built);
  purger_->Apply(snapshot_);
  purge_schedule_->Configure(config.purge);
  limit_control_->Apply(snapshot_);
  ApplyWarming();
  workers_->Apply(snapshot_, [this, generation = snapshot_->generation](std::string why) {
    loop_.Post([this, generation, why = std::move(why)] {
      OpsLog().error("configuration {}: {}", generation, why);
      if (generation == snapshot_->generation) reload_errors_.push_back(why);
    });
  });
  return {};
}

// Tries what the workers will do, so that a busy port refuses the configuration as a whole.
Result<void> Server::CheckNewListeners(const rules::Config& config) const {
  for (const rules::Listener& listener : config.listeners) {
    const auto& old = snapshot_->config.listeners;
    const bool known = std::any_of(old.begin(), old.end(), [&listener](const auto& other) {
      return other.address == listener.address;
    });
    if (known) continue;
    if (listener.address.kind == rules::Endpoint::Kind::kIp && listener.address.port == 0) {
      return Fail(ErrorSource::kInternal,
                  "listener " + listener.name + ": a new listener needs a port other than 0");
    }
    auto socket = OpenListenSocket(listener.address, true);
    if (!socket) {
      return Fail(ErrorSource::kInternal,
                  "listener " + listener.name + ": " + socket.error().message);
    }
    ::close(socket->fd);
  }
  return {};
}

Result<std::unique_ptr<AdminListener>> Server::OpenAdmin(const rules::Config& config) {
  if (!config.admin.address) return nullptr;
  return AdminListener::Open(loop_, *config.admin.address, [this](const AdminRequest& request) {
    return admin_.Answer(request);
  });
}

std::vector<std::string> Server::NeedsRestart(const rules::Config& config) const {
  std::vector<std::string> what;
  const cache::Store::Options store = StoreOptions(config);
  if (WorkersFor(config) != workers_->size()) what.emplace_back("workers");
  if (store.capacity != store_->options().capacity) what.emplace_back("stores.l1.size");
  if (store.max_object != store_->options().max_object) what.emplace_back("stores.l1.max_object");
  if (config.l1.preallocate != started_->config.l1.preallocate) {
    what.emplace_back("stores.l1.preallocate");
  }
  if (config.l1.incoherent_ttl != started_->config.l1.incoherent_ttl) {
    what.emplace_back("stores.l1.incoherent_ttl");
  }
  if (!SameRedis(config.l2, started_->config.l2)) what.emplace_back("stores.l2");
  if (!SameRedis(config.limits, started_->config.limits)) what.emplace_back("stores.limits");
  return what;
}

// Shutdown.

void Server::BeginShutdown(std::string_view why) {
  if (phase_ != Phase::kRunning) return;
  const rules::ShutdownConfig& config = snapshot_->config.shutdown;
  OpsLog().info("shutting down ({}): not ready for {} ms, then at most {} ms for {} connection(s)",
                why, config.not_ready_for.count(), config.drain.count(),
                workers_->open_connections());
  NotifyServiceManager("STOPPING=1");
  phase_ = Phase::kNotReady;
  shutdown_timer_.OnFire([this] { StopAccepting(); });
  loop_.SetTimer(shutdown_timer_, config.not_ready_for.count());
}

void Server::StopAccepting() {
  phase_ = Phase::kDraining;
  purge_schedule_->Stop();
  warmer_->Stop();
  purger_->Leave();
  limit_control_->Leave();
  drain_until_ms_ = net::EventLoop::ReadClockMs() + snapshot_->config.shutdown.drain.count();
  workers_->BeginDrain();
  shutdown_timer_.OnFire([this] { CheckDrained(); });
  loop_.SetTimer(shutdown_timer_, kDrainLookMs);
}

void Server::CheckDrained() {
  const size_t left = workers_->open_connections();
  const bool late = net::EventLoop::ReadClockMs() >= drain_until_ms_;
  if (left > 0 && !late) {
    loop_.SetTimer(shutdown_timer_, kDrainLookMs);
    return;
  }
  if (left > 0) OpsLog().warn("{} connection(s) cut: shutdown.drain has passed", left);
  loop_.Stop();
}

int Server::Finish() {
  phase_ = Phase::kEnded;
  if (!workers_->Join(kJoinPatience)) QuitNow(1, "a worker does not end");
  admin_listener_.reset();
  old_admin_listeners_.clear();
  watcher_.reset();
  metrics_.reset();
  limit_control_.reset();
  purge_schedule_.reset();
  warmer_.reset();
  purger_.reset();   // the workers' threads have ended
  workers_.reset();  // hands over the last log lines
  log_output_->Close(kLogPatience);
  OpsLog().info("ended");
  StopOpsLog(kLogPatience);
  return kEnded;
}

void Server::QuitNow(int code, std::string_view why) {
  OpsLog().warn("ending at once: {}", why);
  StopOpsLog(kLogPatience);
  ::_exit(code);
}

}  // namespace satchel::proxy
