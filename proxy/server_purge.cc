// Purges that operators ask for, now or by the clock.
#include <string>
#include <utility>

#include "proxy/ops_log.h"
#include "proxy/purge_request.h"
#include "proxy/server.h"

namespace satchel::proxy {

void Server::Purge(const AdminRequest& request) {
  const auto asked = PurgeRequest::FromJson(request.body);
  if (!asked) {
    request.respond(Problem(400, asked.error().message));
    return;
  }
  auto plan = PlanOf(*asked, snapshot_->rules);
  if (!plan) {
    request.respond(Problem(422, plan.error().message));
    return;
  }
  purger_->Purge(std::move(plan->order),
                 [this, asked = *asked, refresh = std::move(plan->refresh), peer = request.peer,
                  respond = request.respond](const PurgeAnswer& answer) {
                   LogPurge(asked, answer, "admin request from " + peer);
                   purger_->Refresh(refresh, answer.sequence);
                   PurgeReport report = Report(asked, answer);
                   AdminReply reply;
                   reply.status = report.status;
                   reply.body = std::move(report.json);
                   respond(reply);
                 });
}

std::unique_ptr<PurgeSchedule> Server::MakePurgeSchedule() {
  PurgeSchedule::Options options;
  if (snapshot_->config.l2) options.prefix = snapshot_->config.l2->prefix;
  options.instance = redis::Fleet::UniqueName();
  const auto wall = [] {
    return std::chrono::time_point_cast<cache::Millis>(std::chrono::system_clock::now());
  };
  return std::make_unique<PurgeSchedule>(
      loop_, purger_->commander(), std::move(options), wall,
      [this](const PurgeRequest& asked, const std::string& who,
             std::function<void(bool shared)> done) {
        auto plan = PlanOf(asked, snapshot_->rules);
        if (!plan) {
          OpsLog().warn("{} purges nothing: {}", who, plan.error().message);
          return;
        }
        purger_->Purge(std::move(plan->order),
                       [this, asked, who, refresh = std::move(plan->refresh),
                        done = std::move(done)](const PurgeAnswer& answer) {
                         LogPurge(asked, answer, who);
                         purger_->Refresh(refresh, answer.sequence);
                         done(answer.shared);
                       });
      });
}

}  // namespace satchel::proxy
