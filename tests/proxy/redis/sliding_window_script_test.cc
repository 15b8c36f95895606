// The script in Redis against the same algorithm on plain data (rules/sliding_window.h), reply by
// reply. The script reads the server's clock; the model is given the time that the reply tells.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "proxy/redis/lua/sliding_window.lua.h"
#include "rules/sliding_window.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/concurrency.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using rules::Charge;
using rules::WindowLog;
using rules::WindowSpec;
using rules::WindowState;

const Script& SlidingWindow() {
  static const Script script(lua::kSlidingWindow);
  return script;
}

struct Peer {
  explicit Peer(const std::string& address) {
    const net::Address server = *net::Address::Parse(address);
    Client::Options options;
    options.host = server.IpText();
    options.port = server.port();
    // The machine may be busy: what is tested here is not speed.
    options.connect_timeout_ms = 10'000;
    options.limits.stall_ms = 60'000;
    client = std::make_unique<Client>(loop, resolver, options);
    client->AddScript(SlidingWindow());
    client->Start();
    EXPECT_TRUE(TurnUntil(loop, [this] { return client->ready(); }));
  }
  net::EventLoop loop;
  net::Resolver resolver{loop};
  std::unique_ptr<Client> client;
};

ScriptArguments Arguments(const std::vector<std::string>& keys,
                          const std::vector<WindowSpec>& specs, const Charge& charge) {
  ScriptArguments arguments;
  for (const std::string& key : keys) arguments.Key(key);
  arguments.Arg(charge.unit).Arg(charge.count).Arg(charge.lease).Arg(charge.force ? "1" : "0");
  for (const WindowSpec& spec : specs) {
    arguments.Arg(spec.limit).Arg(spec.window).Arg(spec.resolution);
  }
  return arguments;
}

// One identity: its windows, the keys in Redis and the model's logs.
struct Subject {
  std::vector<std::string> keys;
  std::vector<WindowSpec> specs;
  std::vector<WindowLog> logs;
};

TEST(SlidingWindowScriptTest, AgreesWithTheModelReplyByReply) {
  testing::RedisProcess server;
  Peer peer(server.address());
  std::mt19937 random(4711);
  const auto below = [&](int n) {
    return static_cast<int64_t>(random() % static_cast<unsigned>(n));
  };
  std::vector<Subject> subjects;
  for (int i = 0; i < 12; ++i) {
    Subject subject;
    for (int64_t w = 0; w <= i % 3; ++w) {
      WindowSpec spec;
      spec.limit = 1 + below(40);
      spec.window = 2000 + below(60'000);  // microseconds: entries leave while the test runs
      if (i % 4 == 3) spec.resolution = 1 + below(3000);
      subject.keys.push_back("rl:{" + std::to_string(i) + "}:" + std::to_string(w));
      subject.specs.push_back(spec);
    }
    subject.logs.resize(subject.specs.size());
    subjects.push_back(std::move(subject));
  }

  constexpr int kCalls = 20'000;
  int compared = 0;
  int64_t granted_sum = 0;
  int64_t refused_sum = 0;
  for (int sent = 0; sent < kCalls;) {
    for (int i = 0; i < 16 && sent < kCalls; ++i, ++sent) {
      Subject& subject = subjects[random() % subjects.size()];
      Charge charge;
      charge.unit = 1 + below(7);
      if (random() % 3 != 0) charge.unit = 1;
      charge.count = random() % 3 == 0 ? below(10) : 1;
      charge.force = random() % 50 == 0;
      if (random() % 10 == 0) charge.lease = below(1000);
      ASSERT_TRUE(peer.client->SendScript(
          SlidingWindow(), Arguments(subject.keys, subject.specs, charge), 30'000,
          [&, charge](cache::Result<Reply> reply) {
            ASSERT_TRUE(reply) << reply.error().message;
            ASSERT_EQ(reply->items.size(), 2 + 3 * subject.specs.size());
            const int64_t now = reply->items[1].integer;
            std::vector<WindowState> expected(subject.specs.size());
            const int64_t granted =
                rules::CheckWindows(subject.logs, subject.specs, charge, now, expected);
            ASSERT_EQ(reply->items[0].integer, granted) << "call " << compared;
            for (size_t w = 0; w < expected.size(); ++w) {
              const Reply* part = &reply->items[2 + 3 * w];
              const WindowState told{part[0].integer, part[1].integer, part[2].integer};
              ASSERT_EQ(told, expected[w])
                  << "call " << compared << " window " << w << ": " << told.remaining << " "
                  << told.reset << " " << told.wait << ", not " << expected[w].remaining << " "
                  << expected[w].reset << " " << expected[w].wait;
            }
            granted_sum += granted;
            refused_sum += charge.count - granted;
            ++compared;
          }));
    }
    // A few batches on their way at a time.
    TurnUntil(
        peer.loop, [&] { return sent - compared < 64 || HasFatalFailure(); }, 60'000);
    if (HasFatalFailure()) return;
  }
  ASSERT_TRUE(TurnUntil(
      peer.loop, [&] { return compared == kCalls || HasFatalFailure(); }, 60'000));
  EXPECT_GT(granted_sum, 1000);
  EXPECT_GT(refused_sum, 1000);
  for (const std::string& key : server.Keys()) {
    EXPECT_GT(std::stol(server.Command({"PTTL", key})), 0) << key;
  }
}

// Many connections, several calls in flight on each: in no stretch of a window's length, wherever
// it begins, more than the limit.
TEST(SlidingWindowScriptTest, ConcurrentCallersNeverPassTheLimit) {
  testing::RedisProcess server;
  constexpr int64_t kLimit = 25;
  constexpr int64_t kWindow = 150'000;
  std::mutex mutex;
  std::vector<int64_t> admitted;
  int64_t refused = 0;
  testing::RunTogether(8, [&](size_t) {
    Peer peer(server.address());
    std::vector<int64_t> own;
    int64_t own_refused = 0;
    int open = 0;
    const int64_t end = net::EventLoop::ReadClockMs() + 1000;
    const std::vector<WindowSpec> specs = {{.limit = kLimit, .window = kWindow}};
    TurnUntil(
        peer.loop,
        [&] {
          while (open < 8 && net::EventLoop::ReadClockMs() < end) {
            ++open;
            EXPECT_TRUE(peer.client->SendScript(SlidingWindow(), Arguments({"{x}"}, specs, {}),
                                                30'000, [&](cache::Result<Reply> reply) {
                                                  --open;
                                                  if (!reply || reply->items.size() != 5) {
                                                    ADD_FAILURE() << "no reply";
                                                  } else if (reply->items[0].integer == 1) {
                                                    own.push_back(reply->items[1].integer);
                                                  } else {
                                                    ++own_refused;
                                                  }
                                                }));
          }
          return open == 0;
        },
        60'000);
    const std::lock_guard lock(mutex);
    admitted.insert(admitted.end(), own.begin(), own.end());
    refused += own_refused;
  });
  std::sort(admitted.begin(), admitted.end());
  ASSERT_GT(admitted.size(), static_cast<size_t>(2 * kLimit));
  EXPECT_GT(refused, 100);
  for (size_t i = 0; i + kLimit < admitted.size(); ++i) {
    ASSERT_GE(admitted[i + kLimit] - admitted[i], kWindow) << i;
  }
}

// Whoever waits exactly as told gets in, and not a microsecond earlier.
TEST(SlidingWindowScriptTest, TheWaitToldIsExact) {
  testing::RedisProcess server;
  Peer peer(server.address());
  const std::vector<WindowSpec> specs = {{.limit = 2, .window = 30'000}};
  std::vector<std::array<int64_t, 3>> calls;  // granted, now, wait
  const auto call = [&] {
    const size_t before = calls.size();
    peer.client->SendScript(
        SlidingWindow(), Arguments({"{x}"}, specs, {}), 5000, [&](cache::Result<Reply> reply) {
          ASSERT_TRUE(reply);
          calls.push_back(
              {reply->items[0].integer, reply->items[1].integer, reply->items[4].integer});
        });
    TurnUntil(peer.loop, [&] { return calls.size() != before; });
  };
  int64_t free_at = 0;
  int waits = 0;
  while (waits < 20) {
    call();
    const auto& [granted, now, wait] = calls.back();
    if (free_at != 0) {
      ASSERT_EQ(granted == 1, now >= free_at) << now - free_at;
    }
    if (granted == 0) {
      if (free_at == 0) ++waits;
      free_at = now + wait;
    } else {
      free_at = 0;
    }
  }
}

}  // namespace
}  // namespace satchel::redis
