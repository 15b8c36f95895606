// What is warmed, as the server sets it up.
#include <string>
#include <utility>

#include "proxy/ops_log.h"
#include "proxy/server.h"
#include "proxy/service_manager.h"

namespace satchel::proxy {

std::unique_ptr<Warmer> Server::MakeWarmer() {
  const auto wall = [] {
    return std::chrono::time_point_cast<cache::Millis>(std::chrono::system_clock::now());
  };
  return std::make_unique<Warmer>(
      loop_, purger_->commander(), popularity_, snapshot_, wall,
      [this](const WarmRequest& request, bool shared_only, WarmRun::Done done) {
        workers_->Warm(request, shared_only, [this, done = std::move(done)](WarmOutcome outcome) {
          loop_.Post([done, outcome = std::move(outcome)]() mutable { done(std::move(outcome)); });
        });
      });
}

void Server::StartWarming() {
  warmer_->Start([this] {
    // Before the loop runs the start itself says so.
    if (phase_ != Phase::kRunning) return;
    OpsLog().info("warm: ready for requests");
    NotifyServiceManager("READY=1");
  });
  CountPopularity();
}

void Server::ApplyWarming() {
  warmer_->Apply(snapshot_);
  CountPopularity();
}

void Server::CountPopularity() {
  workers_->PostAll([on = warmer_->counts()](Worker& worker) { worker.CountPopularity(on); });
}

}  // namespace satchel::proxy
