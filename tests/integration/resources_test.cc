// Floods, stalls and departures: what is held stays bounded, and others are served meanwhile.

#include <sched.h>
#include <sys/resource.h>

#include <filesystem>
#include <thread>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;

class ResourcesTest : public ProxyTest {
 protected:
  bool DescriptorsReturnTo(size_t count) {
    return Eventually([&] { return satchel->process().OpenDescriptors() <= count; });
  }
};

constexpr uint64_t kMiB = 1024 * 1024;

TEST_F(ResourcesTest, AThousandAbortsLeaveTheCountsWhereTheyWere) {
  origin.On("/big", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "5000000"}, {"Cache-Control", "no-store"}});
    exchange.SendPattern(0, 5'000'000);
  });
  origin.On("/hang", [](OriginExchange& exchange) { exchange.WaitForPeerToLeave(); });
  origin.On("/ok", Fresh("ok"));
  Start();
  Get("/ok");
  size_t descriptors = satchel->process().OpenDescriptors();
  for (int i = 0; i < 1000; ++i) {
    RawClient client(satchel->address(), i % 7 == 0 ? 4096 : 0);
    switch (i % 5) {
      case 0:
        client.Send("GET /ok HTTP/1.1\r\nHo");
        break;
      case 1:
        client.Send(Request("GET", "/ok"));
        break;
      case 2:
        client.Send("POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab");
        break;
      case 3:
        client.Send(Request("GET", i % 50 == 3 ? "/big" : "/hang"));
        break;
      default:
        break;
    }
    if (i % 2 == 0) {
      client.Reset();
    } else {
      client.Close();
    }
  }
  EXPECT_EQ(Get("/ok").status, 200);
  EXPECT_TRUE(Eventually([&] {
    Metrics metrics = satchel->ReadMetrics();
    return metrics.Sum("satchel_requests_in_flight") == 0 &&
           metrics.Sum("satchel_connections_open") == 0;
  }));
  EXPECT_TRUE(Eventually([&] { return satchel->process().OpenDescriptors() <= descriptors + 8; }))
      << satchel->process().OpenDescriptors() << " before: " << descriptors;
}

TEST_F(ResourcesTest, WhatWritesTheLogAloneNeverPreempts) {
  Start();
  const std::string tasks = "/proc/" + std::to_string(satchel->process().pid()) + "/task";
  const auto batch_threads = [&] {
    size_t count = 0;
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      count += sched_getscheduler(std::stoi(task.path().filename())) == SCHED_BATCH;
    }
    return count;
  };
  EXPECT_TRUE(Eventually([&] { return batch_threads() == 1; })) << batch_threads();
}

TEST_F(ResourcesTest, SlowHeadsDoNotKeepOthersOut) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = Config();
  config.listener = "header_timeout: 1s";
  Start(config);
  std::vector<RawClient> slow;
  for (int i = 0; i < 300; ++i) {
    slow.emplace_back(satchel->address());
    slow.back().Send("GET / HTTP/1.1\r\nX-Slow: ");
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Get("/").status, 200);
  for (RawClient& client : slow) {
    Response response = client.Read();
    EXPECT_EQ(response.status, 408) << Describe(response);
  }
}

TEST_F(ResourcesTest, ConnectionsAboveTheLimitWaitOrAreRefused) {
  origin.On("/", Fresh("x"));
  SatchelConfig config = Config();
  config.workers = "1";
  config.listener = "max_connections: 20";
  Start(config);
  std::vector<RawClient> held;
  for (int i = 0; i < 20; ++i) {
    held.emplace_back(satchel->address());
    ASSERT_EQ(held.back().Get("/").status, 200);
  }
  RawClient one_more = satchel->Connect();
  one_more.Send(Request("GET", "/"));
  Response response = one_more.Read("GET", milliseconds(300));
  EXPECT_NE(response.status, 200) << Describe(response);
  EXPECT_TRUE(response.status == 503 || response.status == 0);
  held.clear();
  EXPECT_TRUE(Eventually([&] { return Get("/").status == 200; }));
}

TEST_F(ResourcesTest, WhoReadsNothingIsCutAfterTheWriteStall) {
  origin.On("/", Fresh(Pattern(0, 3 * kMiB)));
  SatchelConfig config = Config();
  config.listener = "write_timeout: 500ms";
  Start(config);
  Get("/");
  RawClient client(satchel->address(), 4096);
  client.Send(Request("GET", "/"));
  EXPECT_TRUE(
      Eventually([&] { return satchel->ReadMetrics().Sum("satchel_connections_open") == 0; }));
  Response response = client.Read();
  EXPECT_FALSE(response.complete);
}

TEST_F(ResourcesTest, APipelineNobodyReadsIsBounded) {
  origin.On("/", Fresh(Pattern(0, 100'000)));
  Start();
  Get("/");
  uint64_t before = satchel->process().ResidentBytes();
  RawClient client(satchel->address(), 4096);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += Request("GET", "/", {{"X-Fill", std::string(500, 'x')}});
  for (int i = 0; i < 100; ++i) {
    if (!client.Send(many, milliseconds(200))) break;
  }
  EXPECT_LT(satchel->process().ResidentBytes(), before + MemoryAllowance(16 * kMiB));
  EXPECT_EQ(Get("/").status, 200);
}

TEST_F(ResourcesTest, MemoryIsTakenAtTheStartWhereThatIsWanted) {
  SatchelConfig config = Config();
  config.l1 = "size: 256MiB";
  Start(config);
  const uint64_t before = satchel->process().MostResidentBytes();
  EXPECT_GT(before, 0u);
  config.l1 = "size: 256MiB, preallocate: true";
  Start(config);
  // That it is kept is HeapTest's: the allocators of sanitizers give it back.
  EXPECT_GT(satchel->process().MostResidentBytes(), before + 200 * kMiB);
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_l1_bytes"), 0);
}

TEST_F(ResourcesTest, IdleConnectionsCostLittle) {
  origin.On("/", Fresh("x"));
  Start();
  Get("/");
  uint64_t before = satchel->process().ResidentBytes();
  std::vector<RawClient> idle;
  for (int i = 0; i < 900; ++i) {
    idle.emplace_back(satchel->address());
    ASSERT_TRUE(idle.back().connected());
    ASSERT_EQ(idle.back().Get("/").status, 200);
  }
  EXPECT_LT(satchel->process().ResidentBytes(), before + MemoryAllowance(900 * 16 * 1024));
}

TEST_F(ResourcesTest, RunningOutOfDescriptorsPausesAcceptAndRecovers) {
  origin.On("/", Fresh("x"));
  Start();
  RawClient connected(satchel->address());
  ASSERT_EQ(connected.Get("/").status, 200);
  rlimit old{};
  rlimit low{};
  ASSERT_EQ(::prlimit(satchel->process().pid(), RLIMIT_NOFILE, nullptr, &old), 0);
  low = old;
  low.rlim_cur = satchel->process().OpenDescriptors() + 10;
  ASSERT_EQ(::prlimit(satchel->process().pid(), RLIMIT_NOFILE, &low, nullptr), 0);
  // One worker may take every descriptor that is left, so only who has a connection is sure of an
  // answer.
  std::vector<RawClient> flood;
  for (int i = 0; i < 100; ++i) {
    flood.emplace_back(satchel->address());
    flood.back().Send(Request("GET", "/"));
  }
  EXPECT_TRUE(Eventually([&] { return satchel->process().OpenDescriptors() >= low.rlim_cur; }));
  EXPECT_EQ(connected.Get("/").status, 200);
  flood.clear();
  ASSERT_EQ(::prlimit(satchel->process().pid(), RLIMIT_NOFILE, &old, nullptr), 0);
  EXPECT_TRUE(Eventually([&] { return Get("/").status == 200; }));
  EXPECT_GT(satchel->ReadMetrics().Sum("satchel_bounds_hit_total", {"bound=\"descriptors\""}), 0);
}

TEST_F(ResourcesTest, ManyConcurrentSlowOriginsAreAllServed) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Respond({.body = exchange.request().target});
  });
  Start();
  std::vector<RawClient> clients;
  for (int i = 0; i < 200; ++i) {
    clients.emplace_back(satchel->address());
    clients.back().Send(Request("GET", "/" + std::to_string(i)));
  }
  EXPECT_TRUE(origin.WaitUntilHeld("all", 200)) << origin.RequestCount();
  origin.Release("all");
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(clients[static_cast<size_t>(i)].Read().body, "/" + std::to_string(i));
  }
}

}  // namespace
}  // namespace satchel::testing
