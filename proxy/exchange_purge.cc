// PURGE: a request that is for us and for no origin.
#include <utility>

#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace satchel::proxy {

void Exchange::Purge() {
  decision_.action = cache::Action::kBypass;
  outcome_ = Outcome::kRefused;
  if (framing_.kind != http1::BodyKind::kNone) client_->ForbidKeepAlive();
  if (info_.peer_trusted) {
    client_ip_ = EffectiveClient(head_, info_.peer_ip, client_->listener());
  }
  const auto asked = PurgeRequest::FromHead(head_);
  if (!asked) {
    SendProblem(400, asked.error().message, "bad-purge");
    return;
  }
  const rules::PurgeConfig& config = snapshot_->config.purge;
  const std::string authorization(
      head_.fields.First(cache::FieldId::kAuthorization).value_or(std::string_view()));
  if (FindGrant(config, rules::ParseIp(client_ip_), authorization, *asked) == nullptr) {
    SendProblem(403, "purge.allow does not let you purge this", "purge-refused");
    return;
  }
  auto plan = PlanOf(*asked, snapshot_->rules);
  if (!plan) {
    SendProblem(422, plan.error().message, "bad-purge");
    return;
  }
  state_ = State::kFetching;
  outcome_ = Outcome::kSynthetic;
  worker_.purger().PurgeFrom(
      worker_.loop(), std::move(plan->order),
      [weak = weak_from_this(), purger = &worker_.purger(), asked = *asked,
       refresh = std::move(plan->refresh), who = "PURGE from " + client_ip_](
          const PurgeAnswer& answer) {
        LogPurge(asked, answer, who);
        purger->Refresh(refresh, answer.sequence);
        if (const auto self = weak.lock()) self->OnPurgeDone(asked, answer);
      });
}

void Exchange::OnPurgeDone(const PurgeRequest& request, const PurgeAnswer& answer) {
  const auto self = shared_from_this();
  PurgeReport report = Report(request, answer);
  Problem as_json;
  as_json.body = std::move(report.json);
  as_json.media_type = "application/json";
  SendProblem(static_cast<uint16_t>(report.status), "", "", std::move(as_json));
}

}  // namespace satchel::proxy
