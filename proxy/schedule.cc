#include "proxy/schedule.h"

#include <algorithm>
#include <utility>

namespace satchel::proxy {

Schedule::Schedule(net::EventLoop& loop, Clock clock, int64_t look_ms)
    : loop_(loop), clock_(std::move(clock)), look_ms_(look_ms), timer_([this] { Look(); }) {}

std::optional<cache::Time> Schedule::NextOf(const Entry& entry, cache::Time after) {
  std::optional<cache::Time> first;
  for (const rules::Cron& cron : entry.at) {
    const auto next = cron.Next(after);
    if (next && (!first || *next < *first)) first = next;
  }
  return first;
}

void Schedule::Set(std::vector<Entry> entries) {
  const std::vector<Waiting> old = std::exchange(entries_, {});
  const cache::Time now = clock_();
  for (Entry& entry : entries) {
    const auto same = std::ranges::find_if(
        old, [&](const Waiting& w) { return w.name == entry.name && w.at == entry.at; });
    Waiting waiting{std::move(entry), {}};
    waiting.next = same != old.end() ? same->next : NextOf(waiting, now);
    entries_.push_back(std::move(waiting));
  }
  looked_ = now;
  SetTimer(now);
}

std::vector<Schedule::Upcoming> Schedule::upcoming() const {
  std::vector<Upcoming> all;
  for (const Waiting& entry : entries_) all.push_back({entry.name, entry.next});
  return all;
}

void Schedule::Look() {
  const cache::Time now = clock_();
  const bool set_back = now < looked_;
  looked_ = now;
  std::vector<std::pair<std::function<void(cache::Time)>, cache::Time>> due;
  for (Waiting& entry : entries_) {
    if (set_back) entry.next = NextOf(entry, now);
    if (!entry.next || *entry.next > now) continue;
    if (now - *entry.next <= kForgetAfter) due.emplace_back(entry.run, *entry.next);
    entry.next = NextOf(entry, now);
  }
  SetTimer(now);
  // Last: what runs may set another schedule.
  for (const auto& [run, when] : due) run(when);
}

void Schedule::SetTimer(cache::Time now) {
  int64_t after = look_ms_;
  bool any = false;
  for (const Waiting& entry : entries_) {
    if (!entry.next) continue;
    any = true;
    after = std::min(after, (*entry.next - now).count());
  }
  if (any) {
    loop_.SetTimer(timer_, std::max<int64_t>(after, 1));
  } else {
    timer_.Cancel();
  }
}

}  // namespace satchel::proxy
