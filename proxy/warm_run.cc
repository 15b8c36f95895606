#include "proxy/warm_run.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace satchel::proxy {
namespace {

// A timer may be late by so much without the rate being lost.
constexpr int64_t kSlackNs = 5'000'000;

}  // namespace

WarmRun::WarmRun(net::EventLoop& loop, Options options, std::vector<WarmRequest> requests,
                 Send send)
    : loop_(loop),
      options_(std::move(options)),
      send_(std::move(send)),
      timer_([this] {
        paused_ = false;
        Pump();
      }),
      time_up_([this] { Pump(); }) {
  progress_.id = options_.id;
  progress_.name = options_.name;
  progress_.total = requests.size();
  auto& queue = options_.shared ? first_ : second_;
  for (WarmRequest& request : requests) queue.push_back({std::move(request)});
  if (!options_.shared) stage_ = Stage::kOrigin;
}

void WarmRun::Start(std::function<void()> changed) {
  changed_ = std::move(changed);
  started_ms_ = loop_.now_ms();
  grace_until_ms_ = started_ms_ + options_.shared_grace_ms;
  progress_.started_unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
  loop_.SetTimer(time_up_, options_.max_ms);
  Pump();
}

bool WarmRun::OverBudget() {
  if (progress_.bytes >= options_.max_bytes) {
    progress_.stopped_by = "bytes";
  } else if (loop_.now_ms() - started_ms_ >= options_.max_ms) {
    progress_.stopped_by = "time";
  }
  return !progress_.stopped_by.empty();
}

void WarmRun::Pump() {
  if (pumping_ || finished()) return;
  pumping_ = true;
  progress_.took_ms = loop_.now_ms() - started_ms_;
  if (waiting() > 0 && OverBudget()) {
    Count(WarmResult::kSkipped, waiting());
    first_.clear();
    second_.clear();
  }
  while (in_flight_ < options_.concurrency && !paused_ && waiting() > 0) {
    if (stage_ == Stage::kShared) {
      if (first_.empty()) {
        if (in_flight_ > 0) break;  // the origin is asked when nothing can come from there any more
        stage_ = Stage::kOrigin;
        continue;
      }
      Item next = std::move(first_.front());
      first_.pop_front();
      Issue(std::move(next));
      continue;
    }
    const int64_t now = net::EventLoop::ReadClockNs();
    if (now < next_ns_) {
      loop_.SetTimer(timer_, (next_ns_ - now + 999'999) / 1'000'000);
      break;
    }
    next_ns_ = std::max(next_ns_, now - kSlackNs) + static_cast<int64_t>(1e9 / options_.rate);
    Item next = std::move(second_.front());
    second_.pop_front();
    Issue(std::move(next));
  }
  pumping_ = false;
  if (waiting() == 0 && in_flight_ == 0) Finish();
}

void WarmRun::Issue(Item item) {
  ++in_flight_;
  const bool shared_only = stage_ == Stage::kShared;
  // `done` holds the request: what is under way needs no table.
  const auto held = std::make_shared<Item>(std::move(item));
  send_(held->request, shared_only,
        [this, alive = std::weak_ptr(alive_), held](WarmOutcome outcome) {
          if (alive.expired()) return;
          OnDone(std::move(*held), std::move(outcome));
        });
}

// Is it to be tried again, later or of the origin?
bool WarmRun::PutOff(Item& item, const WarmOutcome& outcome) {
  const auto pause = [this] {
    paused_ = true;
    loop_.SetTimer(timer_, kAskAgainMs);
  };
  if (outcome.unavailable && loop_.now_ms() < grace_until_ms_) {
    first_.push_front(std::move(item));
    pause();
    return true;
  }
  if (outcome.unavailable || outcome.missed) {
    second_.push_back(std::move(item));
    if (outcome.unavailable) {
      // It is done without, in the order in which they were asked for.
      std::move(first_.begin(), first_.end(), std::back_inserter(second_));
      first_.clear();
    }
    return true;
  }
  if (outcome.result != WarmResult::kBusy || item.tries >= kBusyTries) return false;
  ++item.tries;
  second_.push_back(std::move(item));
  // Behind many others it has time enough.
  if (waiting() <= options_.concurrency) pause();
  return true;
}

void WarmRun::OnDone(Item item, WarmOutcome outcome) {
  --in_flight_;
  if (PutOff(item, outcome)) {
    Pump();
    return;
  }
  progress_.bytes += outcome.bytes;
  if (outcome.result == WarmResult::kFailed && progress_.first_error.empty()) {
    const cache::HttpUri& uri = item.request.uri;
    progress_.first_error =
        uri.scheme + "://" + uri.authority + uri.target + ": " + outcome.error;
  }
  Count(outcome.result);
  const std::weak_ptr<int> alive = alive_;
  Pump();
  if (!alive.expired() && !finished()) changed_();
}

void WarmRun::Count(WarmResult result, uint64_t times) {
  progress_.results[static_cast<size_t>(result)] += times;
  progress_.done += times;
}

void WarmRun::Finish() {
  progress_.finished = true;
  progress_.took_ms = loop_.now_ms() - started_ms_;
  timer_.Cancel();
  time_up_.Cancel();
  changed_();
}

}  // namespace satchel::proxy
