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
  arguments.Arg(charge.count).Arg(charge.lease).Arg(charge.force ? "1" : "0").Arg("t");
  for (const WindowSpec& spec : specs) {
    arguments.Arg(spec.unit).Arg(spec.limit).Arg(spec.window).Arg(spec.resolution);
  }
  return arguments;
}

// One identity: its windows, the keys in Redis and the model's logs.
struct Subject {
  std::vector<std::string> keys;
  std::vector<WindowSpec> specs;
  std::vector<WindowLog> logs;

  int64_t Model(const std::vector<WindowSpec>& asked, const Charge& charge, int64_t now,
                std::vector<WindowState>* states) {
    std::vector<WindowLog*> pointers;
    for (WindowLog& log : logs) pointers.push_back(&log);
    states->resize(logs.size());
    return rules::CheckWindows(pointers, asked, charge, now, *states);
  }
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
      std::vector<WindowSpec> specs = subject.specs;
      for (WindowSpec& spec : specs) spec.unit = random() % 3 != 0 ? 1 : 1 + below(7);
      charge.count = random() % 3 == 0 ? below(10) : 1;
      charge.force = random() % 50 == 0;
      if (random() % 10 == 0) charge.lease = below(1000);
      ASSERT_TRUE(peer.client->SendScript(
          SlidingWindow(), Arguments(subject.keys, specs, charge), 30'000,
          [&, charge, specs](cache::Result<Reply> reply) {
            ASSERT_TRUE(reply) << reply.error().message;
            ASSERT_EQ(reply->items.size(), 2 + 3 * subject.specs.size());
            const int64_t now = reply->items[1].integer;
            std::vector<WindowState> expected;
            const int64_t granted = subject.Model(specs, charge, now, &expected);
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

// Many connections call at once; what Redis told is put in the order of its clock and compared with
// the model.
TEST(SlidingWindowScriptTest, AgreesWithTheModelWhoeverCalls) {
  testing::RedisProcess server;
  constexpr int kThreads = 6;
  constexpr int kCallsEach = 4000;
  struct Told {
    Charge charge;
    std::vector<WindowSpec> specs;
    Reply reply;
  };
  std::mutex mutex;
  std::vector<Told> all;
  Subject subject;
  subject.keys = {"rl:{x}:a", "rl:{x}:b"};
  subject.specs = {{.limit = 30, .window = 20'000}, {.limit = 200, .window = 300'000}};
  subject.logs.resize(2);
  testing::RunTogether(kThreads, [&](size_t thread) {
    Peer peer(server.address());
    std::mt19937 random(static_cast<unsigned>(thread) + 1);
    std::vector<Told> own;
    int sent = 0;
    int open = 0;
    TurnUntil(
        peer.loop,
        [&] {
          for (; sent < kCallsEach && open < 8; ++sent, ++open) {
            Charge charge{.count = static_cast<int64_t>(random() % 4), .force = random() % 60 == 0};
            auto specs = subject.specs;
            for (WindowSpec& spec : specs) spec.unit = 1 + static_cast<int64_t>(random() % 3);
            EXPECT_TRUE(peer.client->SendScript(
                SlidingWindow(), Arguments(subject.keys, specs, charge), 30'000,
                [&, charge, specs](cache::Result<Reply> reply) {
                  --open;
                  if (reply) own.push_back({charge, specs, std::move(*reply)});
                }));
          }
          return sent == kCallsEach && open == 0;
        },
        60'000);
    const std::lock_guard lock(mutex);
    all.insert(all.end(), own.begin(), own.end());
  });
  ASSERT_EQ(all.size(), static_cast<size_t>(kThreads * kCallsEach));
  std::sort(all.begin(), all.end(), [](const Told& a, const Told& b) {
    return a.reply.items[1].integer < b.reply.items[1].integer;
  });
  for (size_t i = 0; i < all.size(); ++i) {
    const Told& told = all[i];
    std::vector<WindowState> expected;
    const int64_t now = told.reply.items[1].integer;
    const int64_t granted = subject.Model(told.specs, told.charge, now, &expected);
    ASSERT_EQ(told.reply.items[0].integer, granted) << "call " << i;
    for (size_t w = 0; w < 2; ++w) {
      const Reply* part = &told.reply.items[2 + 3 * w];
      ASSERT_EQ((WindowState{part[0].integer, part[1].integer, part[2].integer}), expected[w])
          << "call " << i << " window " << w;
    }
  }
}

// The same text with a clock of the test's: pauses, steps back, steps of more than a window.
TEST(SlidingWindowScriptTest, AgreesWithTheModelUnderAnInjectedClock) {
  std::string text(lua::kSlidingWindow);
  const std::string clock = "call('TIME')";
  const size_t at = text.find(clock);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, clock.size(), "{ARGV[#ARGV - 1], ARGV[#ARGV]}");
  const Script script(text);
  testing::RedisProcess server;
  Peer peer(server.address());
  std::mt19937_64 random(99);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  constexpr int kRuns = 60;
  constexpr int kCalls = 300;
  int compared = 0;
  for (int run = 0; run < kRuns; ++run) {
    Subject subject;
    for (int64_t w = 0; w <= run % 3; ++w) {
      const int64_t window = pick(1000, 2'000'000);
      subject.specs.push_back({.limit = pick(1, 40),
                               .window = window,
                               .resolution = pick(0, 1) == 0 ? 1 : pick(2, window / 8)});
      subject.keys.push_back("rl:{" + std::to_string(run) + "}:" + std::to_string(w));
    }
    subject.logs.resize(subject.specs.size());
    const int64_t widest = subject.specs[0].window;
    int64_t now = 1'700'000'000'000'000 + pick(0, 1'000'000);
    for (int call = 0; call < kCalls; ++call) {
      const int64_t kind = pick(0, 99);
      now += kind < 55   ? pick(0, widest / 50)
             : kind < 88 ? pick(0, widest / 4)
             : kind < 92 ? pick(widest, 3 * widest)
             : kind < 98 ? -pick(0, widest)
                         : -pick(widest, 3 * widest);
      auto specs = subject.specs;
      for (WindowSpec& spec : specs) spec.unit = pick(0, 9) < 7 ? 1 : pick(1, 7);
      const Charge charge{.count = pick(0, 9) < 7 ? 1 : pick(0, 9),
                          .lease = pick(0, 9) < 8 ? 0 : pick(1, widest / 100),
                          .force = pick(0, 19) == 0};
      auto arguments = Arguments(subject.keys, specs, charge);
      arguments.Arg(now / 1'000'000).Arg(now % 1'000'000);
      ASSERT_TRUE(peer.client->SendScript(
          script, std::move(arguments), 30'000,
          [&, charge, specs, now, run, call](cache::Result<Reply> reply) {
            ASSERT_TRUE(reply) << reply.error().message;
            std::vector<WindowState> expected;
            const int64_t granted = subject.Model(specs, charge, now, &expected);
            ASSERT_EQ(reply->items[0].integer, granted) << "run " << run << " call " << call;
            for (size_t w = 0; w < specs.size(); ++w) {
              const Reply* part = &reply->items[2 + 3 * w];
              ASSERT_EQ((WindowState{part[0].integer, part[1].integer, part[2].integer}),
                        expected[w])
                  << "run " << run << " call " << call << " window " << w;
            }
            ++compared;
          }));
    }
    const int want = (run + 1) * kCalls;
    ASSERT_TRUE(
        TurnUntil(peer.loop, [&] { return compared == want || HasFatalFailure(); }, 60'000));
    if (HasFatalFailure()) return;
  }
}

// What stands beside windows: slots and penalties, in the same call.
class ScriptGatesTest : public ::testing::Test {
 protected:
  struct Gate {
    std::string key;
    int64_t a, b, c, d;
  };
  // granted, and per gate remaining, reset, wait.
  std::vector<int64_t> Call(const std::vector<Gate>& gates, int64_t count = 1,
                            std::string_view token = "t") {
    ScriptArguments arguments;
    for (const Gate& gate : gates) arguments.Key(gate.key);
    arguments.Arg(count).Arg("0").Arg("0").Arg(token);
    for (const Gate& gate : gates) {
      arguments.Arg(gate.a).Arg(gate.b).Arg(gate.c).Arg(gate.d);
    }
    std::vector<int64_t> numbers;
    EXPECT_TRUE(peer_.client->SendScript(SlidingWindow(), std::move(arguments), 30'000,
                                         [&](cache::Result<Reply> reply) {
                                           ASSERT_TRUE(reply) << reply.error().message;
                                           for (const Reply& item : reply->items) {
                                             numbers.push_back(item.integer);
                                           }
                                         }));
    EXPECT_TRUE(TurnUntil(peer_.loop, [&] { return !numbers.empty(); }));
    return numbers;
  }

  testing::RedisProcess server_;
  Peer peer_{server_.address()};
};

TEST_F(ScriptGatesTest, SlotsAreTakenWithTheWindowsOrNotAtAll) {
  const std::vector<Gate> gates = {{"{x}:w", 1, 3, 3'600'000'000, 1},
                                   {"{x}:c", 1, 2, 30'000'000, 0}};
  EXPECT_EQ(Call(gates, 1, "a")[0], 1);
  EXPECT_EQ(Call(gates, 1, "b")[0], 1);
  const auto refused = Call(gates, 1, "c");
  EXPECT_EQ(refused[0], 0);
  EXPECT_EQ(refused[2], 1);         // the window keeps its third
  EXPECT_EQ(refused[7], 1'000'000);  // try again in a second
  EXPECT_EQ(server_.Command({"ZREM", "{x}:c", "a:1"}), "1");
  EXPECT_EQ(Call(gates, 1, "d")[0], 1);
  EXPECT_EQ(server_.Command({"ZREM", "{x}:c", "b:1"}), "1");
  EXPECT_EQ(Call(gates, 1, "e")[0], 0);  // now the window refuses: no slot is taken
  EXPECT_EQ(server_.Command({"ZCARD", "{x}:c"}), "1");
  EXPECT_GT(std::stol(server_.Command({"PTTL", "{x}:c"})), 0);
}

TEST_F(ScriptGatesTest, ASlotThatNobodyGivesBackRunsOut) {
  const std::vector<Gate> gates = {{"{x}:c", 1, 1, 40'000, 0}};
  EXPECT_EQ(Call(gates)[0], 1);
  EXPECT_TRUE(TurnUntil(peer_.loop, [&] { return Call(gates)[0] == 1; }));
}

TEST_F(ScriptGatesTest, APenaltyHoldsOverTheWindowsItWatches) {
  const std::vector<Gate> gates = {{"{x}:w", 1, 1, 1000, 1}, {"{x}:p", 1, 60'000'000, 0, 0}};
  EXPECT_EQ(Call(gates)[0], 1);
  std::vector<int64_t> refused;
  // The window is a millisecond: two calls must fall into one.
  for (int i = 0; i < 1000 && (refused.empty() || refused[0] != 0); ++i) {
    refused = Call(gates, 2);
    if (refused[0] == 1) break;
  }
  EXPECT_EQ(refused[7], 60'000'000);
  TurnFor(peer_.loop, 5);
  const auto held = Call(gates);
  EXPECT_EQ(held[0], 0);
  EXPECT_LT(held[7], 60'000'000);
  EXPECT_GT(held[7], 1'000'000);
  EXPECT_GT(std::stol(server_.Command({"PTTL", "{x}:p"})), 0);
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
