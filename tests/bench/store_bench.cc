// What the store costs on the hit path and the miss path. CPU time is what counts:
//   store_bench --benchmark_min_time=1
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "cache/store.h"
#include "cache/store_impl.h"

namespace satchel::cache {
namespace {

StoredPtr Response(const std::string& key, size_t body) {
  StoredResponse::Parts parts;
  parts.key = key;
  parts.facts.status = 200;
  parts.facts.lifetime = std::chrono::hours(1);
  parts.reason = "OK";
  parts.fields.Add("Content-Type", "application/json");
  parts.fields.Add("Cache-Control", "public, max-age=3600");
  parts.fields.Add("ETag", "\"0123456789abcdef\"");
  parts.body = Body::Copy(std::string(body, 'b'));
  return StoredResponse::Make(std::move(parts));
}

std::string KeyText(size_t i) {
  return "http://shop.example/catalogue/items/" + std::to_string(100'000'000 + i);
}

// A store of 100,000 objects of 1 KiB, and the order in which they are asked for.
struct Full {
  Full() : store({.capacity = size_t{1} << 30}) {
    uint32_t random = 1;
    for (size_t i = 0; i < kObjects; ++i) {
      keys.emplace_back(KeyText(i));
      FillPermit permit = store.TryLead(keys.back(), request, rules);
      permit.CompleteWith(Response(KeyText(i), 1024), true);
    }
    for (size_t i = 0; i < kOrder; ++i) {
      random = random * 1664525 + 1013904223;
      order.push_back((random >> 8) % kObjects);
    }
  }
  static Full& Instance() {
    static Full full;
    return full;
  }
  static constexpr size_t kObjects = 100'000;
  static constexpr size_t kOrder = 1 << 16;
  Store store;
  RequestHead request;
  Overrides rules;
  std::vector<CacheKey> keys;
  std::vector<size_t> order;
};

// One key, always in the processor's cache: the instructions alone.
void LookupHotHit(benchmark::State& state) {
  Full& full = Full::Instance();
  const CacheKey& key = full.keys[static_cast<size_t>(state.thread_index()) * 7919];
  for (auto _ : state) benchmark::DoNotOptimize(full.store.Lookup(key, full.request, full.rules));
}
BENCHMARK(LookupHotHit)->Threads(1)->Threads(2);

// Keys at random: with the misses of the processor's cache that a large store has.
void LookupRandomHit(benchmark::State& state) {
  Full& full = Full::Instance();
  size_t at = static_cast<size_t>(state.thread_index()) * 31;
  for (auto _ : state) {
    const CacheKey& key = full.keys[full.order[at++ & (Full::kOrder - 1)]];
    benchmark::DoNotOptimize(full.store.Lookup(key, full.request, full.rules));
  }
}
BENCHMARK(LookupRandomHit)->Threads(1)->Threads(2);

void LookupMiss(benchmark::State& state) {
  Full& full = Full::Instance();
  const CacheKey key(KeyText(Full::kObjects + 1));
  for (auto _ : state) benchmark::DoNotOptimize(full.store.Lookup(key, full.request, full.rules));
}
BENCHMARK(LookupMiss);

// The bookkeeping of a hit alone, beside reading the entry as an index probe does.
void HitBookkeeping(benchmark::State& state) {
  constexpr uint32_t kEntries = 4096;
  const bool touch = state.range(0) != 0;
  Inflation inflation;
  EntrySlab slab;
  EvictionQueue queue(slab, inflation, 0.75);
  for (uint32_t i = 0; i < kEntries; ++i) {
    const uint32_t id = slab.Allocate();
    slab[id].charge = 100;
    slab.link(id).hash = i;
    queue.Add(id, 0);
  }
  uint32_t at = 0;
  uint64_t hits = 0;
  for (auto _ : state) {
    const uint32_t id = at * 2654435761u >> 20;
    benchmark::DoNotOptimize(slab.link(id).hash);
    benchmark::DoNotOptimize(slab[id].response.get());
    if (touch) queue.Touch(slab[id]);
    // The inflation moves about once in 64 hits.
    if ((++hits & 63) == 0) inflation.Raise(static_cast<double>(hits) * 1e-9);
    ++at;
  }
}
BENCHMARK(HitBookkeeping)->ArgName("touch")->Arg(0)->Arg(1);

// A miss from the permit to the stored object: leader, head, one piece of body, insertion.
void FillAndInsert(benchmark::State& state) {
  const std::string body(static_cast<size_t>(state.range(0)), 'b');
  Store store({.capacity = size_t{256} << 20});
  const RequestHead request;
  const Overrides rules;
  std::vector<CacheKey> keys;
  std::vector<StoredPtr> heads;
  for (size_t i = 0; i < 50'000; ++i) {
    keys.emplace_back(KeyText(i));
    heads.push_back(Response(KeyText(i), 0));
  }
  size_t at = 0;
  for (auto _ : state) {
    const size_t i = at++ % keys.size();
    Store::Begun begun = store.BeginFill(keys[i], request, rules, Time(), nullptr);
    begun.permit.Publish(heads[i], body.size());
    begun.permit.Append(body);
    benchmark::DoNotOptimize(begun.permit.Finish());
  }
}
BENCHMARK(FillAndInsert)->ArgName("body")->Arg(1024)->Arg(16'384)->Arg(1'048'576);

// The same with every insertion evicting something.
void InsertAndEvict(benchmark::State& state) {
  Store store({.capacity = size_t{16} << 20});
  const RequestHead request;
  const Overrides rules;
  std::vector<CacheKey> keys;
  std::vector<StoredPtr> responses;
  for (size_t i = 0; i < 50'000; ++i) {
    keys.emplace_back(KeyText(i));
    responses.push_back(Response(KeyText(i), 1024));
  }
  size_t at = 0;
  for (auto _ : state) {
    const size_t i = at++ % keys.size();
    FillPermit permit = store.TryLead(keys[i], request, rules);
    permit.CompleteWith(responses[i], true);
  }
}
BENCHMARK(InsertAndEvict);

}  // namespace
}  // namespace satchel::cache
