#include "proxy/purge_schedule.h"

#include <utility>
#include <vector>

#include "proxy/redis/lease.h"

namespace satchel::proxy {
namespace {

PurgeRequest RequestOf(const rules::PurgeConfig::Scheduled& entry) {
  PurgeRequest request;
  request.urls = entry.urls;
  request.tags = entry.tags;
  request.prefixes = entry.prefixes;
  request.rules = entry.rules;
  request.hosts = entry.hosts;
  request.all = entry.all;
  request.soft = entry.soft;
  request.refresh = entry.refresh;
  request.wait = false;
  return request;
}

}  // namespace

PurgeSchedule::PurgeSchedule(net::EventLoop& loop, redis::Commander* commander, Options options,
                             Schedule::Clock clock, Act act)
    : loop_(loop),
      commander_(commander),
      options_(std::move(options)),
      act_(std::move(act)),
      schedule_(loop, std::move(clock), options_.look_ms) {
  if (commander_ != nullptr) commander_->AddScript(redis::ClaimScript());
}

void PurgeSchedule::Configure(const rules::PurgeConfig& config) {
  std::vector<Schedule::Entry> entries;
  for (const rules::PurgeConfig::Scheduled& entry : config.schedule) {
    entries.push_back({entry.name, entry.at,
                       [this, name = entry.name, request = RequestOf(entry)](cache::Time due) {
                         Begin(name, request, due);
                       }});
  }
  schedule_.Set(std::move(entries));
}

void PurgeSchedule::Stop() {
  schedule_.Stop();
  runs_.clear();
}

ScheduleStatus PurgeSchedule::status() const {
  ScheduleStatus status = counts_;
  for (const Schedule::Upcoming& entry : schedule_.upcoming()) {
    status.next.emplace_back(entry.name,
                             entry.next ? entry.next->time_since_epoch().count() : int64_t{0});
  }
  return status;
}

void PurgeSchedule::Begin(const std::string& name, const PurgeRequest& request, cache::Time due) {
  const auto run = std::make_shared<Run>();
  run->request = request;
  run->name = name;
  if (commander_ == nullptr) {
    Purge(run, false);
    return;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(due.time_since_epoch());
  run->key = options_.prefix + ":cron:" + name + ":" + std::to_string(seconds.count());
  run->until_ms = loop_.now_ms() + 2 * options_.claim_ms;
  run->again.OnFire([this, weak = std::weak_ptr(run)] {
    if (const auto waiting = weak.lock()) Claim(waiting);
  });
  // An earlier moment that another still works on: this one purges the same.
  runs_[name] = run;
  Claim(run);
}

void PurgeSchedule::Claim(const std::shared_ptr<Run>& run) {
  redis::ScriptArguments arguments;
  arguments.Key(run->key).Arg(options_.instance).Arg(options_.claim_ms).Arg("take");
  run->asking = commander_->CallScript(
      redis::ClaimScript(), std::move(arguments), options_.deadline_ms,
      [this, weak = std::weak_ptr(run)](const cache::Result<redis::Reply>& reply) {
        const auto claiming = weak.lock();
        if (claiming == nullptr) return;
        const auto finished = std::move(claiming->asking);
        if (!reply || reply->integer == 1) {
          runs_.erase(claiming->name);
          Purge(claiming, reply.has_value());
        } else if (reply->integer == 2) {
          ++counts_.elsewhere;
          runs_.erase(claiming->name);
        } else if (loop_.now_ms() < claiming->until_ms) {
          loop_.SetTimer(claiming->again, options_.claim_ms / 5);
        } else {
          ++counts_.lost;
          runs_.erase(claiming->name);
        }
      });
}

void PurgeSchedule::Purge(const std::shared_ptr<Run>& run, bool claimed) {
  if (commander_ == nullptr || claimed) {
    ++counts_.ran;
  } else {
    ++counts_.alone;
  }
  act_(run->request, "schedule " + run->name, [this, run, claimed](bool shared) {
    // What is not shared yet another may do better: the claim runs out.
    if (!claimed || !shared) return;
    redis::ScriptArguments arguments;
    arguments.Key(run->key).Arg(options_.instance).Arg(options_.done_ms).Arg("done");
    commander_->SendScript(redis::ClaimScript(), std::move(arguments), options_.deadline_ms);
  });
}

}  // namespace satchel::proxy
