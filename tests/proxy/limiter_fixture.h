#pragma once

// A worker with its limiter, for tests.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/sha256.h"
#include "proxy/rate_limiter.h"
#include "proxy/redis/client.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/concurrency.h"
#include "tests/support/redis_process.h"

namespace satchel::proxy {

using redis::TurnFor;
using redis::TurnUntil;
using Source = LimitVerdict::Source;

inline rules::RateLimitPolicy PolicyOf(
    std::vector<rules::RateWindow> windows,
    rules::StoreDown store_down = rules::StoreDown::kLocalShare) {
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = std::move(windows);
  policy.default_plan = 0;
  policy.store_down = store_down;
  return policy;
}

inline rules::RateWindow Window(uint64_t limit, std::chrono::microseconds window,
                                std::string name = "hour") {
  return {std::move(name), limit, window};
}

inline LimitCheck CheckOf(const rules::RateLimitPolicy& policy, std::string_view who = "alice",
                          int64_t cost = 1) {
  return {.policy = &policy, .plan = &policy.plans[0], .id = net::Digest22(who), .cost = cost};
}

// A worker with its limiter.
struct Node {
  Node(const net::Address* server, SharedLimits& shared, RateLimiter::Options options = {},
       redis::Client::Options client_options = {}) {
    if (server != nullptr) {
      client_options = redis::PatientOptions(*server, client_options);
      client_options.limits.stall_ms = 60'000;
      client = std::make_unique<redis::Client>(loop, resolver, client_options);
    }
    limiter = std::make_unique<RateLimiter>(loop, client.get(), shared, options);
    if (client != nullptr) {
      client->Start();
      EXPECT_TRUE(TurnUntil(loop, [this] { return client->ready(); }));
    }
  }
  // The verdict of the last of the checks that has one.
  LimitVerdict Ask(const std::vector<LimitCheck>& checks) {
    LimitRequest request;
    return AskWith(request, checks);
  }
  LimitVerdict Ask(const LimitCheck& check) { return Ask(std::vector{check}); }
  LimitVerdict AskWith(LimitRequest& request, const std::vector<LimitCheck>& checks) {
    request.checks() = checks;
    bool done = false;
    if (!request.Begin(*limiter, [&] { done = true; })) {
      EXPECT_FALSE(done);
      EXPECT_TRUE(TurnUntil(loop, [&] { return done; }));
    }
    if (request.verdicts().empty()) return {};
    return request.refusal() != nullptr ? *request.refusal() : request.verdicts().back();
  }
  // Without waiting: nothing if Redis has to be asked.
  std::optional<LimitVerdict> AskNow(const LimitCheck& check) {
    LimitRequest request;
    request.checks() = {check};
    if (!request.Begin(*limiter, [] {})) return std::nullopt;
    return request.verdicts().back();
  }
  net::EventLoop loop;
  net::Resolver resolver{loop};
  std::unique_ptr<redis::Client> client;
  std::unique_ptr<RateLimiter> limiter;
};

// One that is asked and waited for elsewhere.
class Question {
 public:
  Question(RateLimiter& limiter, const LimitCheck& check,
           std::function<void(const LimitVerdict&)> done) {
    request_.checks() = {check};
    const auto tell = [this, done] { done(request_.verdicts().back()); };
    if (request_.Begin(limiter, tell)) tell();
  }

 private:
  LimitRequest request_;
};

inline RateLimiter::Options Patient() { return {.deadline_ms = 10'000}; }

inline rules::RateLimitPolicy Named(rules::RateLimitPolicy policy, std::string name) {
  policy.name = std::move(name);
  return policy;
}

class RateLimiterRedisTest : public ::testing::Test {
 protected:
  testing::RedisProcess server_;
  net::Address address_ = *net::Address::Parse(server_.address());
  SharedLimits shared_;
};

}  // namespace satchel::proxy
