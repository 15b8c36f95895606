#include <utility>

#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/limit_fields.h"
#include "proxy/net/sha256.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

LimitOutcome OutcomeOf(const LimitVerdict& verdict) {
  switch (verdict.source) {
    case LimitVerdict::Source::kOpen:
      return LimitOutcome::kOpen;
    case LimitVerdict::Source::kClosed:
      return LimitOutcome::kClosed;
    default:
      break;
  }
  if (verdict.allowed) return LimitOutcome::kAllowed;
  return verdict.Refuses() ? LimitOutcome::kRefused : LimitOutcome::kShadow;
}

}  // namespace

// Asks the policies in the order of the file, first those that count every request, and before the
// origin is asked those that count only what reaches it. Goes on with `admitted_`.
void Exchange::Admit() {
  if (!at_origin_) state_ = State::kAdmitting;
  while (next_policy_ < policies_.size()) {
    const rules::RateLimitPolicy& policy = *policies_[next_policy_++];
    if ((policy.count == rules::CountWhat::kOrigin) != at_origin_) continue;
    const auto ip = rules::ParseIp(client_ip_);
    const rules::Identity identity =
        rules::FindIdentity(policy, head_, ip.value_or(rules::IpAddress{}), net::Sha256);
    if (identity.outcome == rules::Identity::Outcome::kSkip) continue;
    limit_policy_ = policy.name;
    if (identity.outcome == rules::Identity::Outcome::kUnauthorized) {
      if (policy.mode == rules::LimitMode::kShadow) continue;
      RefuseUnidentified(policy);
      return;
    }
    LimitCheck check;
    check.policy = &policy;
    check.plan = identity.plan;
    check.id = identity.id;
    check.cost = snapshot_->rules.CostOf(policy, head_);
    limit_started_ns_ = net::EventLoop::ReadClockNs();
    if (const auto verdict = worker_.limiter().TryLocal(check)) {
      OnVerdict(*verdict);
      if (verdict->Refuses()) return;
      continue;
    }
    limit_pending_ = worker_.limiter().Check(check, [this](const LimitVerdict& verdict) {
      const auto self = shared_from_this();
      const auto finished = std::move(limit_pending_);
      OnVerdict(verdict);
      if (!verdict.Refuses()) Admit();
    });
    return;
  }
  admitted_();
}

void Exchange::OnVerdict(const LimitVerdict& verdict) {
  worker_.metrics().limit_duration.Observe(
      static_cast<uint64_t>((net::EventLoop::ReadClockNs() - limit_started_ns_) / 1000));
  limit_outcome_ = OutcomeOf(verdict);
  Add(worker_.metrics().limits, limit_outcome_);
  verdicts_.push_back(verdict);
  cache::HeaderMap fields;
  SetLimitFields(verdicts_, worker_.WallNow(), fields);
  limit_fields_.clear();
  http1::AppendFields(limit_fields_, fields);
  if (verdict.Refuses()) RefuseByLimit(verdict);
}

void Exchange::RefuseByLimit(const LimitVerdict& verdict) {
  const LimitAnswer answer = RefusalOf(verdict);
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

void Exchange::RefuseUnidentified(const rules::RateLimitPolicy& policy) {
  const LimitAnswer answer = UnauthorizedOf(policy);
  limit_outcome_ = LimitOutcome::kNoKey;
  Add(worker_.metrics().limits, limit_outcome_);
  outcome_ = Outcome::kLimited;
  Problem problem;
  problem.body = answer.body;
  http1::AppendField(problem.fields, "WWW-Authenticate", answer.authenticate);
  reader_ = {};
  task_.reset();
  SendProblem(answer.status, "an API key is required", "no-key", std::move(problem));
}

}  // namespace satchel::proxy
