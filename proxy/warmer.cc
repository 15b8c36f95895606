#include "proxy/warmer.h"

#include <algorithm>
#include <utility>

#include "proxy/ops_log.h"
#include "proxy/purge_targets.h"

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;

double RateOf(const rules::WarmupConfig& entry) {
  return static_cast<double>(entry.rate.first) * 1e6 / static_cast<double>(entry.rate.second.count());
}

void LogRun(const WarmProgress& run) {
  std::string results;
  for (size_t i = 0; i < run.results.size(); ++i) {
    if (run.results[i] == 0) continue;
    results += ", " + std::to_string(run.results[i]) + " " +
               std::string(WarmResultWord(static_cast<WarmResult>(i)));
  }
  OpsLog().info("warm-up {} ({}): {} request(s) in {} ms, {} bytes{}{}{}", run.id, run.name, run.total,
                run.took_ms, run.bytes, results,
                run.stopped_by.empty() ? "" : "; its budget of " + run.stopped_by + " is used up",
                run.first_error.empty() ? "" : "; first failure: " + run.first_error);
}

}  // namespace

std::string_view WarmResultWord(WarmResult result) {
  static constexpr std::string_view kWords[] = {"fresh", "shared", "fetched", "uncacheable",
                                                "busy",  "failed", "no_rule", "skipped"};
  static_assert(std::size(kWords) == static_cast<size_t>(WarmResult::kCount));
  return kWords[static_cast<size_t>(result)];
}

Warmer::Warmer(net::EventLoop& loop, redis::Commander* commander, Popularity& popularity,
               SnapshotPtr snapshot, Schedule::Clock clock, Send send, int64_t look_ms)
    : loop_(loop),
      send_(std::move(send)),
      popularity_(popularity),
      snapshot_(std::move(snapshot)),
      schedule_(loop, clock, look_ms),
      gate_timer_([this] { LookAtGates(); }) {
  if (commander != nullptr) {
    log_ = std::make_unique<PopularityLog>(loop, *commander, snapshot_->config.l2->prefix,
                                           popularity, clock);
  }
  const auto& warmup = snapshot_->config.warmup;
  counting_ = log_ && std::ranges::any_of(warmup, &rules::WarmupConfig::history);
}

void Warmer::Configure() {
  const auto& warmup = snapshot_->config.warmup;
  counting_ = log_ && std::ranges::any_of(warmup, &rules::WarmupConfig::history);
  if (log_) log_->Enable(counting_);
  std::vector<Schedule::Entry> entries;
  for (const rules::WarmupConfig& entry : warmup) {
    if (entry.at.empty()) continue;
    entries.push_back({entry.name, entry.at, [this, name = entry.name](cache::Time) { RunEntry(name); }});
  }
  schedule_.Set(std::move(entries));
}

void Warmer::Start(std::function<void()> ready) {
  Configure();
  const int64_t now = loop_.now_ms();
  std::vector<Plan> plans;
  for (const rules::WarmupConfig& entry : snapshot_->config.warmup) {
    if (!entry.at_startup) continue;
    plans.push_back(PlanOf(entry, next_id_++));
    gates_.push_back({plans.back().options.id, entry.ready_at, now + entry.ready_timeout.count()});
  }
  for (Plan& plan : plans) Launch(std::move(plan));
  on_ready_ = std::move(ready);  // the gates are looked at from here on: all have begun
  LookAtGates();
}

void Warmer::Apply(SnapshotPtr snapshot) {
  snapshot_ = std::move(snapshot);
  if (!stopped_) Configure();
}

void Warmer::Stop() {
  stopped_ = true;
  schedule_.Stop();
  if (log_) log_->Enable(false);
  reading_.clear();
  runs_.clear();
}

const rules::WarmupConfig* Warmer::Find(const std::string& name) const {
  const auto& warmup = snapshot_->config.warmup;
  const auto at = std::ranges::find(warmup, name, &rules::WarmupConfig::name);
  return at == warmup.end() ? nullptr : &*at;
}

bool Warmer::UnderWay(const std::string& name) const {
  return std::ranges::any_of(runs_, [&](const auto& run) { return run.second->progress().name == name; }) ||
         std::ranges::any_of(reading_, [&](const auto& run) { return run.second == name; });
}

size_t Warmer::waiting() const {
  size_t sum = 0;
  for (const auto& [id, run] : runs_) sum += run->waiting();
  return sum;
}

void Warmer::AddRequests(const std::vector<std::string>& urls, const FieldValues& headers,
                         bool all_variants, std::vector<WarmRequest>& to) const {
  std::vector<std::vector<WarmRequest>> all;
  size_t most = 0;
  for (const std::string& url : urls) {
    const auto uri = cache::ParseHttpUri(url);
    if (!uri) continue;
    const FieldValues* values = &headers;
    if (all_variants) {
      const rules::MatchResult match = snapshot_->rules.Match(GetOf(*uri));
      if (match.status == rules::MatchResult::Status::kMatched) values = &match.rule->cache.normalize;
    }
    all.push_back(Combine(*uri, *values));
    most = std::max(most, all.back().size());
  }
  // The first variant of each URL, then the second: until the first has come it is not known by what
  // they differ, and one fetch of a URL keeps the others waiting.
  for (size_t i = 0; i < most; ++i) {
    for (std::vector<WarmRequest>& variants : all) {
      if (i < variants.size()) to.push_back(std::move(variants[i]));
    }
  }
}

Warmer::Plan Warmer::PlanOf(const rules::WarmupConfig& entry, uint64_t id) const {
  Plan plan;
  plan.options.name = entry.name;
  plan.options.id = id;
  plan.options.concurrency = entry.concurrency;
  plan.options.rate = RateOf(entry);
  plan.options.max_bytes = entry.max_bytes;
  plan.options.max_ms = entry.max_time.count();
  if (entry.history) plan.top = entry.top;
  AddRequests(entry.urls, entry.headers, entry.all_variants, plan.requests);
  return plan;
}

void Warmer::RunEntry(const std::string& name) {
  const rules::WarmupConfig* const entry = Find(name);
  if (entry == nullptr) return;
  if (UnderWay(name) || runs_.size() + reading_.size() >= kMaxRuns) {
    ++totals_.runs_skipped;
    OpsLog().warn("warm-up {} is due, and {}: passed over", name,
                  UnderWay(name) ? "its last run is not over" : "too many runs are under way");
    return;
  }
  Launch(PlanOf(*entry, next_id_++));
}

void Warmer::Launch(Plan plan) {
  plan.options.shared = log_ != nullptr;
  if (plan.top == 0 || !log_) {
    Run(std::move(plan));
    return;
  }
  const uint64_t id = plan.options.id;
  reading_.emplace(id, plan.options.name);
  const size_t top = plan.top;
  log_->Read(top, [this, id, plan = std::move(plan)](std::vector<WarmRequest> history) mutable {
    if (reading_.erase(id) == 0) return;
    for (WarmRequest& request : history) {
      if (!plan.rules.empty()) {
        const rules::MatchResult match = snapshot_->rules.Match(request.Head());
        if (match.status != rules::MatchResult::Status::kMatched ||
            std::ranges::find(plan.rules, match.rule->name) == plan.rules.end()) {
          continue;
        }
      }
      plan.requests.push_back(std::move(request));
    }
    Run(std::move(plan));
  });
}

void Warmer::Run(Plan plan) {
  const size_t queued = waiting();
  const size_t room = queued < kMaxQueue ? kMaxQueue - queued : 0;
  const size_t dropped = plan.requests.size() - std::min(room, plan.requests.size());
  plan.requests.resize(plan.requests.size() - dropped);
  if (dropped > 0) {
    totals_.results[static_cast<size_t>(WarmResult::kSkipped)] += dropped;
    OpsLog().warn("warm-up {} ({}): {} request(s) find no room in the queue", plan.options.id,
                  plan.options.name, dropped);
  }
  ++totals_.runs_begun;
  const uint64_t id = plan.options.id;
  auto run = std::make_unique<WarmRun>(loop_, std::move(plan.options), std::move(plan.requests), send_);
  WarmRun* const raw = run.get();
  runs_.emplace(id, std::move(run));
  raw->Start([this, id] { OnChanged(id); });
}

void Warmer::OnChanged(uint64_t id) {
  const auto at = runs_.find(id);
  if (at == runs_.end()) return;
  if (at->second->finished()) {
    // It is still on the stack.
    loop_.AtTurnEnd([this, id, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) Forget(id);
    });
  }
  LookAtGates();
}

void Warmer::Forget(uint64_t id) {
  const auto at = runs_.find(id);
  if (at == runs_.end()) return;
  const WarmProgress& run = at->second->progress();
  for (size_t i = 0; i < run.results.size(); ++i) totals_.results[i] += run.results[i];
  totals_.bytes += run.bytes;
  LogRun(run);
  past_.push_back(run);
  if (past_.size() > kMaxRemembered) past_.pop_front();
  runs_.erase(at);
}

void Warmer::LookAtGates() {
  if (ready_ || !on_ready_) return;
  const int64_t now = loop_.now_ms();
  int64_t next = 0;
  std::erase_if(gates_, [&](const Gate& gate) {
    if (now >= gate.until_ms) return true;
    next = next == 0 ? gate.until_ms : std::min(next, gate.until_ms);
    if (reading_.contains(gate.run)) return false;
    const auto run = runs_.find(gate.run);
    return run == runs_.end() || run->second->finished() ||
           (run->second->shared_done() && run->second->share() >= gate.share);
  });
  if (!gates_.empty()) {
    loop_.SetTimer(gate_timer_, next - now);
    return;
  }
  gate_timer_.Cancel();
  ready_ = true;
  on_ready_();
}

cache::Result<uint64_t> Warmer::Begin(Order order, bool* full) {
  *full = false;
  Plan plan;
  for (const std::string& url : order.urls) {
    if (!cache::ParseHttpUri(url)) {
      return Fail(ErrorSource::kClient, "\"" + url + "\" is no URL; write https://host/path");
    }
  }
  AddRequests(order.urls, order.headers, order.all_variants, plan.requests);
  for (const std::string& name : order.entries) {
    const rules::WarmupConfig* const entry = Find(name);
    if (entry == nullptr) return Fail(ErrorSource::kClient, "warmup has no entry \"" + name + "\"");
    AddRequests(entry->urls, entry->headers, entry->all_variants, plan.requests);
    if (entry->history) plan.top = std::max<size_t>(plan.top, entry->top);
  }
  const auto& rules = snapshot_->rules.rules();
  for (const std::string& name : order.rules) {
    if (std::ranges::find(rules, name, &rules::Rule::name) == rules.end()) {
      return Fail(ErrorSource::kClient, "there is no rule \"" + name + "\"");
    }
    if (!counting_) {
      return Fail(ErrorSource::kClient,
                  "what is asked for most is not counted; write a warmup entry with from: history");
    }
    plan.top = PopularityLog::kMostRead;
  }
  plan.rules = order.rules;
  if (runs_.size() + reading_.size() >= kMaxRuns || waiting() + plan.requests.size() > kMaxQueue) {
    *full = true;
    return Fail(ErrorSource::kClient, "too much is being warmed already; ask again later");
  }
  plan.options.name = order.who;
  plan.options.id = next_id_++;
  plan.options.concurrency = order.concurrency;
  plan.options.rate = order.rate;
  const uint64_t id = plan.options.id;
  Launch(std::move(plan));
  return id;
}

WarmStatus Warmer::status() const {
  WarmStatus status = totals_;
  status.ready = ready_;
  status.runs.assign(past_.begin(), past_.end());
  for (const auto& [id, run] : runs_) {
    const WarmProgress& progress = run->progress();
    status.runs.push_back(progress);
    for (size_t i = 0; i < progress.results.size(); ++i) status.results[i] += progress.results[i];
    status.bytes += progress.bytes;
  }
  for (const auto& [id, name] : reading_) {
    WarmProgress progress;
    progress.id = id;
    progress.name = name;
    status.runs.push_back(std::move(progress));
  }
  status.queue = waiting();
  status.queue_limit = kMaxQueue;
  status.counting = counting_;
  status.names = popularity_.size();
  status.names_limit = Popularity::kMaxNames;
  status.names_forgotten = popularity_.forgotten();
  if (log_) {
    status.names_told = log_->counters().told;
    status.tell_failures = log_->counters().failed;
    status.bad_recipes = log_->counters().bad_recipes;
  }
  return status;
}

}  // namespace satchel::proxy
