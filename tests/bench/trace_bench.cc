// Replays PCT1 request traces against the store's own shards and eviction, and prints object and
// byte hit ratios at 0.1, 1 and 10 % of each trace's footprint. Bodies exist by size only.
//
//   trace_bench [--metadata] [--admit-all] [--sizes=0.1,1,10] FILE.pct...
//
// --metadata charges every object what the store really charges; without it only body bytes count.
// --admit-all stores objects up to the whole capacity, not only half of it.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache_key.h"
#include "cache/store_impl.h"

namespace satchel::cache {
namespace {

struct Trace {
  std::string name;
  std::vector<uint32_t> sizes;     // bytes, by object
  std::vector<uint32_t> requests;  // objects
  double footprint = 0;
};

bool ReadTrace(const std::string& path, Trace& trace) {
  std::ifstream file(path, std::ios::binary);
  char magic[4];
  uint32_t objects = 0;
  uint64_t requests = 0;
  if (!file.read(magic, 4) || std::string_view(magic, 4) != "PCT1") return false;
  file.read(reinterpret_cast<char*>(&objects), 4);
  file.read(reinterpret_cast<char*>(&requests), 8);
  if (!file || requests > UINT32_MAX) return false;
  trace.sizes.resize(objects);
  trace.requests.resize(requests);
  file.read(reinterpret_cast<char*>(trace.sizes.data()), std::streamsize{4} * objects);
  file.read(reinterpret_cast<char*>(trace.requests.data()),
            static_cast<std::streamsize>(4 * requests));
  const size_t slash = path.find_last_of('/');
  trace.name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  trace.name = trace.name.substr(0, trace.name.find('.'));
  for (const uint32_t size : trace.sizes) trace.footprint += size;
  return static_cast<bool>(file);
}

struct Score {
  double objects = 0;  // per cent
  double bytes = 0;
  size_t held = 0;         // objects at the end
  double nanoseconds = 0;  // per request
};

size_t RoundUp(size_t bytes) {
  return (bytes + Entry::kChargeUnit - 1) / Entry::kChargeUnit * Entry::kChargeUnit;
}

Score Replay(const Trace& trace, double share, double exponent, size_t shards, bool metadata,
             bool admit_all) {
  Store::Options options;
  options.capacity = static_cast<size_t>(trace.footprint * share);
  options.shards = shards;
  options.size_exponent = exponent;
  if (admit_all) options.admit_share = 1;
  Store::Impl store(options);
  const RequestHead request;
  const Overrides rules;
  std::vector<CacheKey> keys;
  std::vector<StoredPtr> responses(trace.sizes.size());
  for (size_t i = 0; i < trace.sizes.size(); ++i) {
    std::string text = trace.name;
    text.append("/").append(std::to_string(i));
    keys.emplace_back(std::move(text));
  }
  uint64_t hits = 0;
  double hit_bytes = 0;
  double all_bytes = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (const uint32_t object : trace.requests) {
    const CacheKey& key = keys[object];
    const uint32_t size = trace.sizes[object];
    all_bytes += size;
    bool others = false;
    if (store.ShardOf(key.hash()).Find(key, request, rules, others)) {
      ++hits;
      hit_bytes += size;
      continue;
    }
    if (!responses[object]) {
      StoredResponse::Parts parts;
      parts.key = key.text();
      parts.facts.status = 200;
      responses[object] = StoredResponse::Make(std::move(parts));
    }
    size_t charge = RoundUp(std::max<size_t>(size, 1));
    if (metadata) charge = Store::Impl::EntryCharge(responses[object]->charge() + size);
    store.Insert(key, responses[object], charge, 0, 16, nullptr);
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  const double count = static_cast<double>(trace.requests.size());
  Score score;
  score.objects = 100.0 * static_cast<double>(hits) / count;
  score.bytes = 100.0 * hit_bytes / all_bytes;
  score.held = store.objects.load();
  score.nanoseconds = took.count() / count;
  return score;
}

int Main(int argc, char** argv) {
  bool metadata = false;
  bool admit_all = false;
  std::vector<double> shares = {0.001, 0.01, 0.1};
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--metadata") {
      metadata = true;
    } else if (argument == "--admit-all") {
      admit_all = true;
    } else if (argument.starts_with("--sizes=")) {
      shares.clear();
      std::string rest(argument.substr(8));
      for (char* at = rest.data(); *at != '\0';) {
        char* end = at;
        shares.push_back(std::strtod(at, &end) / 100);
        if (end == at || shares.back() <= 0) return std::fputs("bad --sizes\n", stderr), 2;
        at = *end == ',' ? end + 1 : end;
      }
    } else {
      paths.emplace_back(argument);
    }
  }
  if (paths.empty()) {
    std::fputs("usage: trace_bench [--metadata] [--admit-all] [--sizes=0.1,1,10] FILE.pct...\n",
               stderr);
    return 2;
  }
  std::printf("%-8s %6s %5s %6s  %8s %8s %9s %7s\n", "trace", "size %", "a", "shards", "object %",
              "byte %", "held", "ns/req");
  for (const std::string& path : paths) {
    Trace trace;
    if (!ReadTrace(path, trace)) {
      std::fprintf(stderr, "%s: not a PCT1 trace\n", path.c_str());
      return 1;
    }
    for (const double exponent : {1.0, 0.75, 0.25}) {
      for (const double share : shares) {
        for (const size_t shards : {size_t{1}, size_t{16}}) {
          const Score score = Replay(trace, share, exponent, shards, metadata, admit_all);
          std::printf("%-8s %6.1f %5.2f %6zu  %8.2f %8.2f %9zu %7.0f\n", trace.name.c_str(),
                      share * 100, exponent, shards, score.objects, score.bytes, score.held,
                      score.nanoseconds);
          std::fflush(stdout);
        }
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace satchel::cache

int main(int argc, char** argv) { return satchel::cache::Main(argc, argv); }
