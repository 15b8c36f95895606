#include <algorithm>
#include <utility>

#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/limit_admission.h"
#include "proxy/limit_fields.h"
#include "proxy/worker.h"

namespace satchel::proxy {

// Asks all policies at once: first those that count every request, and before the origin is asked
// those that count only what reaches it. Goes on with `admitted_`.
void Exchange::Admit() {
  if (!at_origin_) state_ = State::kAdmitting;
  const Admission admission = PrepareLimits(*snapshot_, *rule_, head_, client_ip_, at_origin_,
                                            worker_.limits().kill_switch, limits_);
  if (admission.policy != nullptr) limit_policy_ = admission.policy->name;
  switch (admission.outcome) {
    case Admission::Outcome::kFree:
      admitted_();
      return;
    case Admission::Outcome::kUnauthorized:
    case Admission::Outcome::kForbidden:
      RefuseUnidentified(*admission.policy,
                         admission.outcome == Admission::Outcome::kForbidden);
      return;
    case Admission::Outcome::kAsk:
      break;
  }
  limit_started_ns_ = net::EventLoop::ReadClockNs();
  if (limits_.Begin(worker_.limiter(), [this] {
        const auto self = shared_from_this();
        OnVerdicts();
      })) {
    OnVerdicts();
  }
}

void Exchange::OnVerdicts() {
  worker_.metrics().limit_duration.Observe(
      static_cast<uint64_t>((net::EventLoop::ReadClockNs() - limit_started_ns_) / 1000));
  for (const LimitVerdict& verdict : limits_.verdicts().subspan(verdicts_seen_)) {
    limit_outcome_ = OutcomeOf(verdict);
    Add(worker_.metrics().limits, limit_outcome_);
    limit_policy_ = verdict.policy->name;
  }
  verdicts_seen_ = limits_.verdicts().size();
  limit_fields_.clear();
  AppendLimitFields(limits_.verdicts(), worker_.WallNow(), limit_fields_);
  if (const LimitVerdict* refusal = limits_.refusal()) {
    RefuseByLimit(*refusal);
  } else {
    admitted_();
  }
}

void Exchange::RefuseByLimit(const LimitVerdict& verdict) {
  const LimitAnswer answer = RefusalOf(verdict, worker_.Random());
  limit_policy_ = verdict.policy->name;
  limit_outcome_ = OutcomeOf(verdict);
  outcome_ = Outcome::kLimited;
  Problem problem;
  problem.body = answer.body;
  if (!answer.retry_after.empty()) {
    http1::AppendField(problem.fields, "Retry-After", answer.retry_after);
  }
  reader_ = {};
  task_.reset();
  SendProblem(answer.status, "rate limit exceeded", "rate-limited", std::move(problem));
}

void Exchange::RefuseUnidentified(const rules::RateLimitPolicy& policy, bool unknown) {
  const LimitAnswer answer = unknown ? ForbiddenOf() : UnauthorizedOf(policy);
  limit_outcome_ = unknown ? LimitOutcome::kUnknownKey : LimitOutcome::kNoKey;
  Add(worker_.metrics().limits, limit_outcome_);
  outcome_ = Outcome::kLimited;
  Problem problem;
  problem.body = answer.body;
  if (!answer.authenticate.empty()) {
    http1::AppendField(problem.fields, "WWW-Authenticate", answer.authenticate);
  }
  reader_ = {};
  task_.reset();
  SendProblem(answer.status, unknown ? "the API key is unknown" : "an API key is required",
              unknown ? "unknown-key" : "no-key", std::move(problem));
}

// The origin has answered this request: what it says of limits, and what its answer cost.
void Exchange::SettleLimits(cache::HeaderMap& answer) {
  if (limits_.verdicts().empty()) return;
  for (const LimitCheck& check : limits_.checks()) {
    const int64_t more = CostAfter(*check.policy, answer, check.cost);
    if (more > 0) worker_.limiter().ChargeAfter(check, more);
  }
  MergeOriginFields(limits_.verdicts(), answer, worker_.WallNow(), limit_fields_);
}

// The same where the task that we lead has asked the origin.
void Exchange::SettleLimitsOfTask(const cache::StoredResponse& response) {
  cache::HeaderMap theirs = task_->limit_fields();
  const bool costs = std::any_of(
      limits_.checks().begin(), limits_.checks().end(),
      [](const LimitCheck& check) { return !check.policy->cost_field.name.empty(); });
  if (costs && !task_->revalidated()) {
    const cache::HeaderMap answer = response.Fields();
    for (const LimitCheck& check : limits_.checks()) {
      if (const auto units = answer.First(check.policy->cost_field.name)) {
        theirs.Add(check.policy->cost_field.name, *units);
      }
    }
  }
  SettleLimits(theirs);
  for (const LimitCheck& check : limits_.checks()) theirs.Remove(check.policy->cost_field.name);
  http1::AppendFields(limit_fields_, theirs);
}

}  // namespace satchel::proxy
