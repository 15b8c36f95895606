// What purges cost. Everything that talks to Redis needs one to itself:
//   redis-server --port 6400 --save '' & SATCHEL_BENCH_REDIS=127.0.0.1:6400 purge_bench
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/store.h"
#include "proxy/redis/client.h"
#include "proxy/redis/purge_log.h"

namespace satchel {
namespace {

using cache::CacheKey;
using cache::FillPermit;
using cache::Overrides;
using cache::PurgeRecord;
using cache::RequestHead;
using cache::StoredPtr;
using cache::StoredResponse;

constexpr size_t kEntries = 100'000;

StoredPtr Tagged(const std::string& key, std::string_view tag, uint64_t sequence,
                 std::string body) {
  StoredResponse::Parts parts;
  parts.key = key;
  parts.facts.status = 200;
  parts.facts.lifetime = std::chrono::hours(1);
  parts.reason = "OK";
  cache::TagSet tags;
  tags.Add(tag);
  parts.tags = tags.Take();
  parts.purge_sequence = sequence;
  parts.body = cache::Body::Copy(body);
  parts.complete = true;
  return StoredResponse::Make(std::move(parts));
}

RequestHead Get() {
  RequestHead request;
  request.method = cache::Method::kGet;
  return request;
}

struct Full {
  Full() : store({.capacity = size_t{1} << 30}) {
    for (size_t i = 0; i < kEntries; ++i) {
      keys.emplace_back("http://shop.example/items/" + std::to_string(i));
      FillPermit permit = store.TryLead(keys.back(), request, rules);
      permit.CompleteWith(Tagged(std::string(keys.back().text()), "all", 0, std::string(1024, 'b')),
                          true);
    }
  }
  cache::Store store;
  const RequestHead request = Get();
  const Overrides rules;
  std::vector<CacheKey> keys;
};

Full& TheStore() {
  static Full full;
  return full;
}

// One tag on 100,000 responses in memory: the purge itself.
void PurgeOneTagOf100000(benchmark::State& state) {
  Full& full = TheStore();
  const PurgeRecord record = PurgeRecord::Tag("of nobody", false);
  for (auto _ : state) full.store.purges().Apply({&record, 1}, 0);
}
BENCHMARK(PurgeOneTagOf100000);

// The first hit after a purge of something else looks at the table, all others compare a number.
void FirstHitAfterAPurge(benchmark::State& state) {
  Full& full = TheStore();
  const PurgeRecord record = PurgeRecord::Tag("of nobody", false);
  size_t at = 0;
  for (auto _ : state) {
    if (at++ % kEntries == 0) full.store.purges().Apply({&record, 1}, 0);
    benchmark::DoNotOptimize(
        full.store.Lookup(full.keys[at * 7919 % kEntries], full.request, full.rules));
  }
}
BENCHMARK(FirstHitAfterAPurge);

void HitWithoutNewPurges(benchmark::State& state) {
  Full& full = TheStore();
  for (const CacheKey& key : full.keys) full.store.Lookup(key, full.request, full.rules);
  size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        full.store.Lookup(full.keys[at++ * 7919 % kEntries], full.request, full.rules));
  }
}
BENCHMARK(HitWithoutNewPurges);

// ---- With Redis

struct Instance {
  Instance(net::EventLoop& event_loop, net::Resolver& resolver, const std::string& server)
      : loop(event_loop), store({}) {
    const auto address = net::Address::Parse(server);
    redis::Client::Options options;
    options.host = address->IpText();
    options.port = address->port();
    client = std::make_unique<redis::Client>(loop, resolver, options);
    redis::Subscriber::Options channel;
    static_cast<redis::Link::Options&>(channel) = options;
    subscriber = std::make_unique<redis::Subscriber>(loop, resolver, channel,
                                                     redis::Subscriber::Hooks{});
    log = std::make_unique<redis::PurgeLog>(loop, *client, *subscriber, store.purges(),
                                            redis::PurgeLog::Options{.prefix = "purge-bench"});
    client->Start();
    subscriber->Start();
    log->Start();
    Until([this] { return log->coherent() && subscriber->connected(); });
  }
  void Until(const std::function<bool()>& holds) {
    net::Timer tick;
    while (!holds()) {
      loop.SetTimer(tick, 10);
      loop.Turn(true);
    }
  }
  uint64_t Purge(std::string_view tag) {
    std::optional<uint64_t> sequence;
    log->Purge({PurgeRecord::Tag(tag, false)}, false,
               [&](const redis::PurgeLog::Outcome& outcome) { sequence = outcome.sequence; });
    Until([&] { return sequence.has_value(); });
    return *sequence;
  }
  net::EventLoop& loop;
  cache::Store store;
  std::unique_ptr<redis::Client> client;
  std::unique_ptr<redis::Subscriber> subscriber;
  std::unique_ptr<redis::PurgeLog> log;
};

struct Pair {
  explicit Pair(const std::string& server)
      : a(loop, resolver, server), b(loop, resolver, server) {}
  net::EventLoop loop;
  net::Resolver resolver{loop};
  Instance a;
  Instance b;
};

std::unique_ptr<Pair> ThePair(benchmark::State& state) {
  const char* server = std::getenv("SATCHEL_BENCH_REDIS");
  if (server == nullptr) {
    state.SkipWithError("SATCHEL_BENCH_REDIS=address:port of a Redis to be used is not set");
    return nullptr;
  }
  return std::make_unique<Pair>(server);
}

// From the call until it holds in the other instance: one script, one message, whatever it hits.
void PurgeReachesTheOtherInstance(benchmark::State& state) {
  const auto pair = ThePair(state);
  if (!pair) return;
  for (auto _ : state) {
    const uint64_t sequence = pair->a.Purge("all");
    pair->a.Until([&] { return pair->b.log->position() >= sequence; });
  }
}
BENCHMARK(PurgeReachesTheOtherInstance)->Unit(benchmark::kMicrosecond);

// A fetch during which two purges come, one from each instance, and the fetched answer is older than
// both. `stale` counts answers that were found afterwards all the same: it must be 0.
void FillRacedByTwoPurges(benchmark::State& state) {
  const auto pair = ThePair(state);
  if (!pair) return;
  const CacheKey key("http://shop.example/raced");
  const RequestHead request = Get();
  const Overrides rules;
  uint64_t stale = 0;
  for (auto _ : state) {
    FillPermit permit = pair->a.store.TryLead(key, request, rules);
    const uint64_t asked = permit.MarkAsked();
    const StoredPtr old = Tagged("http://shop.example/raced", "raced", asked, "old");
    pair->a.Purge("raced");
    const uint64_t last = pair->b.Purge("raced");
    pair->a.Until([&] { return pair->a.log->position() >= last; });
    // In this instance, and in one that reads it from the shared tier.
    permit.CompleteWith(old, true);
    if (pair->a.store.Lookup(key, request, rules).response != nullptr) ++stale;
    if (pair->b.store.purges().Check(old) != nullptr) ++stale;
  }
  state.counters["stale"] = static_cast<double>(stale);
  if (stale > 0) state.SkipWithError("an answer older than a purge was found");
}
BENCHMARK(FillRacedByTwoPurges)->Unit(benchmark::kMicrosecond)->Iterations(10'000);

}  // namespace
}  // namespace satchel
