#include "tests/support/version_checker.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "tests/support/net_io.h"

namespace satchel::testing {

std::string VersionedBody(std::string_view key, uint64_t version, size_t size) {
  std::string body = std::string(key) + " " + std::to_string(version) + "\n";
  const auto seed =
      static_cast<unsigned>((std::hash<std::string_view>()(key) + version * 7919) % 1'000'003);
  if (size > body.size()) body += Pattern(body.size(), size - body.size(), seed);
  return body;
}

std::optional<uint64_t> VersionOf(std::string_view key, std::string_view body, size_t size) {
  if (!body.starts_with(key) || body.size() <= key.size() || body[key.size()] != ' ') {
    return std::nullopt;
  }
  uint64_t version = 0;
  const char* const digits = body.data() + key.size() + 1;
  const auto parsed = std::from_chars(digits, body.data() + body.size(), version);
  if (parsed.ec != std::errc() || body != VersionedBody(key, version, size)) return std::nullopt;
  return version;
}

VersionChecker::VersionChecker(size_t instances, Bounds bounds)
    : instances_(instances), bounds_(bounds) {}

void VersionChecker::Add(const std::string& key, Object object, Time at) {
  const std::lock_guard lock(mutex_);
  State& state = states_[key];
  state.object = object;
  state.since = {at};
  state.floors.resize(instances_);
}

uint64_t VersionChecker::Update(const std::string& key, Time at) {
  const std::lock_guard lock(mutex_);
  State& state = states_.at(key);
  state.since.push_back(at);
  return state.since.size();
}

uint64_t VersionChecker::Current(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return states_.at(key).since.size();
}

VersionChecker::Purge VersionChecker::BeginPurge(const std::vector<std::string>& keys,
                                                 size_t instance, bool soft) const {
  const std::lock_guard lock(mutex_);
  Purge purge{.instance = instance, .soft = soft, .oldest = {}};
  for (const std::string& key : keys) {
    purge.oldest.emplace_back(key, states_.at(key).since.size());
  }
  return purge;
}

// With the lock held.
void VersionChecker::Raise(const Purge& purge, size_t instance, Time at) {
  for (const auto& [key, version] : purge.oldest) {
    State& state = states_.at(key);
    // A soft purge leaves what may be served stale, for its window from then on.
    const Time from = purge.soft && state.object.stale_window > Millis(0)
                          ? at + state.object.stale_window + bounds_.slack
                          : at;
    std::vector<Floor>& floors = state.floors[instance];
    const auto behind = std::lower_bound(
        floors.begin(), floors.end(), from,
        [](const Floor& floor, Time time) { return floor.from < time; });
    if (behind != floors.begin() && std::prev(behind)->version >= version) continue;
    // Those that begin later and demand no more are void.
    auto next = behind;
    while (next != floors.end() && next->version <= version) ++next;
    const auto place = floors.erase(behind, next);
    floors.insert(place, {from, version});
    ++floor_count_;
  }
}

void VersionChecker::EndPurge(const Purge& purge, Reach reach, Time at) {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, version] : purge.oldest) states_.at(key).purged = at;
  if (reach == Reach::kNowhere) return;
  for (size_t i = 0; i < instances_; ++i) {
    if (reach == Reach::kEverywhere || i == purge.instance) {
      Raise(purge, i, at);
    } else if (reach == Reach::kShared) {
      Raise(purge, i, at + bounds_.unheard + bounds_.slack);
    }
  }
  if (reach == Reach::kHere) held_.push_back({purge, at});
}

void VersionChecker::Published(size_t instance, Time began, Time at) {
  const std::lock_guard lock(mutex_);
  std::erase_if(held_, [&](const Held& held) {
    if (held.purge.instance != instance || held.at > began) return false;
    for (size_t i = 0; i < instances_; ++i) {
      Raise(held.purge, i, at + bounds_.unheard + bounds_.slack);
    }
    for (const auto& [key, version] : held.purge.oldest) states_.at(key).purged = at;
    return true;
  });
}

std::optional<std::string> VersionChecker::Check(const std::string& key, size_t instance,
                                                 uint64_t version, Time begun, Time ended) const {
  const std::lock_guard lock(mutex_);
  const State& state = states_.at(key);
  const auto millis = [&](Time time) {
    return std::to_string(std::chrono::duration_cast<Millis>(begun - time).count()) + " ms ago";
  };
  const std::string what =
      key + " version " + std::to_string(version) + " from instance " + std::to_string(instance);
  if (version == 0 || version > state.since.size() || state.since[version - 1] > ended) {
    return what + ": there was none yet";
  }
  const std::vector<Floor>& floors = state.floors[instance];
  const auto later =
      std::upper_bound(floors.begin(), floors.end(), begun,
                       [](Time time, const Floor& floor) { return time < floor.from; });
  if (later != floors.begin() && version < std::prev(later)->version) {
    return what + ": a purge in force since " + millis(std::prev(later)->from) + " demands " +
           std::to_string(std::prev(later)->version);
  }
  if (version < state.since.size()) {
    const Time replaced = state.since[version];
    if (begun - replaced > state.object.lifetime + state.object.stale_window + bounds_.slack) {
      return what + ": replaced " + millis(replaced) + ", longer than it could be fresh or stale";
    }
  }
  return std::nullopt;
}

void VersionChecker::CountFetch(const std::string& key, Time at, bool excused) {
  const std::lock_guard lock(mutex_);
  State& state = states_.at(key);
  ++fetches_.all;
  // Lifetimes are whole seconds, measured from the Date of the answer.
  const bool due = !state.fetched ||
                   at - *state.fetched >= state.object.lifetime - Millis(1000) ||
                   (state.purged && *state.purged + bounds_.slack >= *state.fetched);
  if (!due && !excused) ++fetches_.unexplained;
  state.fetched = at;
}

VersionChecker::Fetches VersionChecker::fetches() const {
  const std::lock_guard lock(mutex_);
  return fetches_;
}

size_t VersionChecker::floors() const {
  const std::lock_guard lock(mutex_);
  return floor_count_;
}

}  // namespace satchel::testing
