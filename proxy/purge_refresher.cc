#include "proxy/purge_refresher.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cache/vary.h"

namespace satchel::proxy {
namespace {

constexpr int64_t kTickMs = 20;
constexpr size_t kPlacesAtOnce = 2'000;  // of the store, well below a millisecond
constexpr size_t kEnough = 1'000;        // waiting URLs: no more are looked for

std::string TextOf(const RefreshTarget& target) {
  std::string text = target.uri.scheme + "://" + target.uri.authority + target.uri.target;
  for (const cache::HeaderMap::Field field : target.fields) {
    text.append("\n").append(field.name).append(":").append(field.value);
  }
  return text;
}

// What a request for it looks like; nothing where that cannot be told from its key, or where it
// would be somebody's own.
std::optional<RefreshTarget> TargetOf(const cache::StoredResponse& response) {
  const std::vector<std::string>& names = response.vary().names;
  for (const char* own : {"authorization", "cookie"}) {
    if (std::find(names.begin(), names.end(), own) != names.end()) return std::nullopt;
  }
  auto uri = cache::ParseHttpUri(cache::UrlOfKey(response.key()));
  auto fields = cache::SelectingFields(response.vary(), response.vary_values());
  if (!uri || !fields) return std::nullopt;
  return RefreshTarget{std::move(*uri), std::move(*fields), response.vary(),
                       std::string(response.key())};
}

}  // namespace

PurgeRefresher::PurgeRefresher(net::EventLoop& loop, const cache::Store& store)
    : loop_(loop), store_(store), tick_([this] { OnTick(); }) {}

void PurgeRefresher::Add(PurgeRefresh what, uint64_t sequence) {
  for (cache::HttpUri& uri : what.uris) {
    Enqueue({.uri = std::move(uri), .fields = {}, .vary = {}, .key = {}});
  }
  if (!what.records.empty()) {
    if (searches_.size() < kMaxSearches) {
      Search& search = searches_.emplace_back();
      for (const cache::PurgeRecord& record : what.records) search.purged.Apply(record, sequence);
    } else {
      ++counters_.dropped;
    }
  }
  if (!tick_.armed()) OnTick();
}

void PurgeRefresher::Enqueue(RefreshTarget target) {
  if (waiting_.size() >= kMaxWaiting) {
    ++counters_.dropped;
  } else if (known_.insert(TextOf(target)).second) {
    waiting_.push_back(std::move(target));
  }
}

void PurgeRefresher::SearchSome() {
  if (searches_.empty() || waiting_.size() >= kEnough) return;
  Search& search = searches_.front();
  std::vector<cache::StoredPtr> found;
  const bool more = store_.CollectPurged(search.purged, kPlacesAtOnce, search.position, found);
  for (const cache::StoredPtr& response : found) {
    if (auto target = TargetOf(*response)) Enqueue(std::move(*target));
  }
  if (!more) searches_.pop_front();
}

void PurgeRefresher::FetchSome() {
  const double rate = rate_;
  credit_ = std::min(credit_ + rate * kTickMs / 1000, std::max(rate / 10, 1.0));
  for (; credit_ >= 1 && !waiting_.empty(); credit_ -= 1) {
    RefreshTarget target = std::move(waiting_.front());
    waiting_.pop_front();
    known_.erase(TextOf(target));
    ++counters_.begun;
    if (refetch_) refetch_(std::move(target));
  }
}

void PurgeRefresher::OnTick() {
  SearchSome();
  FetchSome();
  if (!waiting_.empty() || !searches_.empty()) loop_.SetTimer(tick_, kTickMs);
}

}  // namespace satchel::proxy
