#include "proxy/limit_request.h"

#include <algorithm>
#include <utility>

#include "proxy/limit_batch.h"
#include "proxy/rate_limiter.h"

namespace satchel::proxy {

bool LimitRequest::Begin(RateLimiter& limiter, std::function<void()> done) {
  limiter_ = &limiter;
  limiter_alive_ = limiter.alive_;
  std::stable_partition(
      checks_.begin() + static_cast<ptrdiff_t>(next_), checks_.end(),
      [](const LimitCheck& check) { return check.policy->mode == rules::LimitMode::kEnforce; });
  Advance();
  if (!waiting()) return true;
  done_ = std::move(done);
  return false;
}

void LimitRequest::Advance() {
  while (next_ < checks_.size() && refusal() == nullptr) {
    group_end_ = limiter_->GroupEnd(checks_, next_);
    const auto group = std::span(checks_).subspan(next_, group_end_ - next_);
    if (!limiter_->DecideNow(*this, group)) {
      limiter_->Join(*this, group);
      return;
    }
    next_ = group_end_;
  }
}

void LimitRequest::Answer() {
  next_ = group_end_;
  Advance();
  if (!waiting()) std::exchange(done_, nullptr)();
}

const LimitVerdict* LimitRequest::refusal() const {
  const auto found = std::find_if(verdicts_.begin(), verdicts_.end(),
                                  [](const LimitVerdict& verdict) { return verdict.Refuses(); });
  return found == verdicts_.end() ? nullptr : &*found;
}

void LimitRequest::ReleaseSlots() {
  if (slots_.empty()) return;
  for (const Slot& slot : std::exchange(slots_, {})) {
    if (!limiter_alive_.expired()) limiter_->GiveBack(slot);
  }
}

void LimitRequest::Reset() {
  if (batch_ != nullptr) {
    batch_->Remove(*this);
    batch_.reset();
  }
  ReleaseSlots();
  done_ = nullptr;
  checks_.clear();
  verdicts_.clear();
  next_ = group_end_ = 0;
}

}  // namespace satchel::proxy
