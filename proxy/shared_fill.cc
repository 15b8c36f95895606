#include "proxy/shared_fill.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "cache/fetch_time.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

using News = redis::FleetLock::News;

constexpr int64_t kHeirAfterMs = 10;  // behind the moment at which the lease ends
// Whether Redis and the holder are still there, and whether its word has passed us by.
constexpr int64_t kAskMs = 250;
constexpr int kLetDowns = 1;  // beyond it nobody waits any more

}  // namespace

SharedFill::SharedFill(Worker& worker, Job job, Hooks hooks)
    : worker_(worker), job_(job), hooks_(std::move(hooks)), timer_([this] { OnTimer(); }) {}

SharedFill::~SharedFill() = default;

bool SharedFill::Start() {
  cache::RemoteStore* const remote = worker_.remote();
  if (remote == nullptr || !remote->available()) return false;
  Look();
  return true;
}

void SharedFill::Look() {
  look_started_ns_ = net::EventLoop::ReadClockNs();
  looking_ = worker_.remote()->Lookup(
      *job_.key, *job_.head, job_.rule->cache,
      [this](const cache::Result<cache::StoredPtr>& found) { OnLooked(found); });
}

void SharedFill::OnLooked(const cache::Result<cache::StoredPtr>& found) {
  const auto finished = std::move(looking_);
  worker_.SyncRedisMetrics();
  worker_.metrics().l2_read_duration.Observe(
      static_cast<uint64_t>((net::EventLoop::ReadClockNs() - look_started_ns_) / 1000));
  found_nothing_ = found && *found == nullptr;
  if (found && *found && hooks_.use(*found)) {
    if (waited_) Add(worker_.metrics().fleet_followed);
    return;
  }
  if (!trying_) {
    if (found_nothing_ && LookForEquivalent()) return;
    GoOn(found.has_value());
    return;
  }
  looked_ = true;
  Settle();
}

bool SharedFill::LookForEquivalent() {
  if (job_.background || std::exchange(searched_, true)) return false;
  looking_ = worker_.remote()->LookupEquivalent(
      *job_.key, *job_.head, job_.rule->cache, worker_.store().VarianceOf(*job_.key),
      [this](const cache::RemoteStore::Equivalent& found) {
        const auto finished = std::move(looking_);
        worker_.SyncRedisMetrics();
        if (found.response && hooks_.use_equivalent(found)) return;
        GoOn(/*answered=*/true);
      });
  return looking_ != nullptr;
}

// Nothing of use was found.
void SharedFill::GoOn(bool answered) {
  // A tier that does not answer in time has no say in who fetches either.
  if (answered && job_.takes_turns && job_.rule->cache.cluster_lock > cache::Millis(0)) {
    Try();
  } else {
    Finish(Go::kFetch);
  }
}

// Lock and lookup in one write: what another stored between our last look and the end of its lock
// is seen, and a key is fetched once.
void SharedFill::Try() {
  std::string slot = worker_.redis_store()->SlotOf(*job_.key, *job_.head, job_.rule->cache);
  // What others stored may have told by which fields the answer is selected.
  if (!turn_ || turn_->slot() != slot) {
    listening_.reset();
    let_down_ = false;
    const cache::Millis patience =
        cache::LockLifetime(job_.expected, {.longest = job_.rule->cache.cluster_lock,
                                            .wait = job_.rule->cache.coalesce_wait,
                                            .first_byte_timeout = job_.rule->timeouts.first_byte});
    turn_ = std::make_shared<redis::FleetLock::Turn>(*worker_.fleet_lock(), std::move(slot),
                                                     patience.count());
  }
  if (std::exchange(let_down_, false)) {
    Add(worker_.metrics().fleet_let_downs);
    if (++let_downs_ > kLetDowns) {
      FinishWaiting();
      return;
    }
  }
  trying_ = true;
  looked_ = answered_ = news_came_ = false;
  turn_->Take([this](Outcome outcome) {
    answered_ = true;
    outcome_ = outcome;
    Settle();
  });
  Look();
}

void SharedFill::Settle() {
  if (!looked_ || !answered_) return;
  trying_ = false;
  if (outcome_ != Outcome::kBusy) {
    if (waited_ && outcome_ == Outcome::kTaken) Add(worker_.metrics().fleet_heirs);
    Finish(Go::kFetch);
  } else if (news_came_) {
    Look();
  } else {
    Wait();
  }
}

void SharedFill::Wait() {
  if (!std::exchange(waited_, true)) {
    Add(worker_.metrics().fleet_waits);
    wait_started_ns_ = net::EventLoop::ReadClockNs();
    const int64_t wait = job_.rule->cache.coalesce_wait.count();
    wait_until_ms_ = wait > 0 ? worker_.loop().now_ms() + wait : 0;
  }
  if (!listening_) {
    listening_ = worker_.announcements().Listen(
        worker_.loop(), turn_->channel(),
        {.confirmed =
             [this] {
               // What was announced before now was not heard.
               if (trying_ || looking_) {
                 news_came_ = true;
               } else if (!ended_) {
                 Try();
               }
             },
         .message =
             [this](std::string_view message) { OnNews(redis::FleetLock::Parse(message)); }});
  }
  AskHolder();
}

void SharedFill::AskHolder() {
  turn_->AskLeft([this](int64_t left_ms) {
    if (ended_ || trying_ || looking_) return;
    if (left_ms < 0) {
      Finish(Go::kFetch);
    } else if (left_ms == 0) {
      // It is done and its word is still on its way, or it is gone.
      let_down_ = true;
      Try();
    } else {
      SetTimer(left_ms + kHeirAfterMs);
    }
  });
}

void SharedFill::SetTimer(int64_t ms) {
  worker_.loop().SetTimer(timer_, std::min({ms, WaitLeftMs(), kAskMs}));
}

int64_t SharedFill::WaitLeftMs() const {
  if (wait_until_ms_ == 0) return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(0, wait_until_ms_ - worker_.loop().now_ms());
}

void SharedFill::OnTimer() {
  if (ended_ || trying_ || looking_) return;
  if (WaitLeftMs() == 0) {
    Add(worker_.metrics().bounds, Bound::kFleetWait);
    FinishWaiting();
  } else if (!worker_.fleet_lock()->available(turn_->slot())) {
    Finish(Go::kFetch);
  } else {
    AskHolder();
  }
}

void SharedFill::OnNews(News news) {
  if (ended_) return;
  switch (news) {
    case News::kUncacheable:
      Finish(Go::kAlone);
      return;
    case News::kEach:
      Finish(Go::kFetch);
      return;
    case News::kStored:
      let_down_ = true;  // unless it is found
      break;
    case News::kFailed:
    case News::kUnknown:
      break;
  }
  if (trying_ || looking_) {
    news_came_ = true;
  } else if (news == News::kStored) {
    Look();
  } else {
    Try();
  }
}

void SharedFill::Progress() {
  if (turn_) turn_->Progress();
}

void SharedFill::Conclude(News news) {
  if (turn_) turn_->Conclude(news);
}

void SharedFill::Stop() {
  if (waited_ && !ended_) {
    worker_.metrics().fleet_wait_duration.Observe(
        static_cast<uint64_t>((net::EventLoop::ReadClockNs() - wait_started_ns_) / 1000));
  }
  ended_ = true;
  timer_.Cancel();
  looking_.reset();
  listening_.reset();
}

void SharedFill::End() {
  Stop();
  Conclude(News::kFailed);
}

// A refresh in the background is somebody else's then.
void SharedFill::FinishWaiting() { Finish(job_.background ? Go::kGiveUp : Go::kFetch); }

void SharedFill::Finish(Go go) {
  Stop();
  hooks_.go(go);
}

}  // namespace satchel::proxy
