#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/redis/client.h"
#include "proxy/redis/redis_store.h"
#include "tests/cache/memory_support.h"
#include "tests/proxy/redis/fake_redis.h"

// A shared tier as one worker has it, and responses to be put there.
namespace satchel::redis {

inline constexpr std::string_view kUrl = "http://origin.test/";

inline cache::Time Now() {
  return std::chrono::time_point_cast<cache::Millis>(std::chrono::system_clock::now());
}

// One worker's view of the shared tier.
struct Instance {
  explicit Instance(const net::Address& server, RedisStore::Options store_options = {},
                    Client::Options options = {}) {
    options = PatientOptions(server, options);
    options.limits.stall_ms = 60'000;
    client = std::make_unique<Client>(loop, resolver, options);
    if (store_options.deadline_ms == 20) store_options.deadline_ms = 10'000;
    store = std::make_unique<RedisStore>(loop, *client, store_options);
    client->Start();
    EXPECT_TRUE(TurnUntil(loop, [this] { return client->ready(); }));
  }

  // The body found, "miss", or "error".
  std::string Find(std::string_view url = kUrl,
                   const cache::RequestHead& request = cache::testing::Get()) {
    found = nullptr;
    std::optional<std::string> answer;
    const auto pending =
        store->Lookup(cache::CacheKey(std::string(url)), request, cache::Overrides(),
                      [&](cache::Result<cache::StoredPtr> result) {
                        if (!result) {
                          answer = "error";
                          return;
                        }
                        found = *result;
                        answer = found ? found->body().ToString() : "miss";
                      });
    EXPECT_FALSE(answer.has_value());
    TurnUntil(loop, [&] { return answer.has_value(); });
    return answer.value_or("nothing");
  }
  bool Remove(std::string_view url = kUrl) {
    std::optional<bool> confirmed;
    store->Remove(cache::CacheKey(std::string(url)), [&](bool ok) { confirmed = ok; });
    EXPECT_FALSE(confirmed.has_value());
    TurnUntil(loop, [&] { return confirmed.has_value(); });
    return confirmed.value_or(false);
  }
  void Put(const cache::StoredPtr& response) { store->Put(response, cache::Overrides(), nullptr); }
  // Whether it is there in the end.
  bool PutAndWait(const cache::StoredPtr& response) {
    std::optional<bool> stored;
    store->Put(response, cache::Overrides(), [&](bool outcome) { stored = outcome; });
    EXPECT_FALSE(stored.has_value());
    TurnUntil(loop, [&] { return stored.has_value(); });
    return stored.value_or(false);
  }

  net::EventLoop loop;
  net::Resolver resolver{loop};
  std::unique_ptr<Client> client;
  std::unique_ptr<RedisStore> store;
  cache::StoredPtr found;
};

struct Made {
  std::string url = std::string(kUrl);
  std::string body = "hello";
  int64_t lifetime_s = 60;
  int64_t age_s = 0;
  std::vector<std::string> vary = {};
  cache::RequestHead request = cache::testing::Get();
};

inline cache::StoredPtr Make(const Made& made) {
  cache::StoredResponse::Parts parts =
      cache::testing::PartsOf({.key = made.url, .body = made.body});
  parts.facts.received = parts.facts.date = Now();
  parts.facts.initial_age = std::chrono::seconds(made.age_s);
  parts.facts.lifetime = std::chrono::seconds(made.lifetime_s);
  parts.vary.names = made.vary;
  if (!made.vary.empty()) {
    parts.vary_values = cache::VaryValues(parts.vary, made.request, cache::Overrides());
  }
  return cache::StoredResponse::Make(std::move(parts));
}

}  // namespace satchel::redis
