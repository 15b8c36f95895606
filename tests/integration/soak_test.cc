// Everything at once for a while: hits, misses, aborts, slow readers, reloads, a Redis that comes
// and goes. $SATCHEL_SOAK_SECONDS sets for how long (10 by default; the long run is 300).

#include <algorithm>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_process.h"

namespace satchel::testing {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;

struct Sample {
  double seconds;
  uint64_t resident;
  size_t descriptors;
};

size_t SizeOf(const std::string& target) {
  size_t hash = std::hash<std::string>()(target);
  return hash % 20 == 0 ? 300'000 : hash % 3000;
}

unsigned SeedOf(const std::string& target) {
  return static_cast<unsigned>(std::hash<std::string>()(target) % 1000);
}

// Each path says by its first letter how it behaves; the body depends on nothing but the target.
void Answer(OriginExchange& exchange) {
  const std::string& target = exchange.request().target;
  std::string body = Pattern(0, SizeOf(target), SeedOf(target));
  if (exchange.request().method != "GET") {
    exchange.Respond({.body = "done"});
    return;
  }
  switch (target[1]) {
    case 's':  // stale soon, refreshed in the background
      exchange.Respond({.fields = {{"Cache-Control", "max-age=1, stale-while-revalidate=5"},
                                   {"ETag", "\"" + std::to_string(SeedOf(target)) + "\""}},
                        .body = body,
                        .framing = Reply::Framing::kChunked});
      return;
    case 'n':
      exchange.Respond({.fields = {{"Cache-Control", "no-store"}}, .body = body});
      return;
    case 'v':
      exchange.Respond(Fresh(body, 2, {{"Vary", "X-V"}}));
      return;
    case 'c':  // cut in the middle
      exchange.SendHead(200, {{"Content-Length", "100000"}, {"Cache-Control", "max-age=60"}});
      exchange.Send(std::string(1000, 'c'));
      exchange.Reset();
      return;
    case 'x':
      exchange.Reset();
      return;
    default:
      exchange.Respond(Fresh(body, 3));
  }
}

class SoakTest : public ProxyTest {
 protected:
  void ClientLoop(unsigned seed);

  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> requests_ = 0;
  std::atomic<uint64_t> wrong_ = 0;
};

void SoakTest::ClientLoop(unsigned seed) {
  std::mt19937 random(seed);
  auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  RawClient client = satchel->Connect();
  while (!stop_) {
    if (!client.connected()) client = satchel->Connect();
    const char* kinds = "ffffffffssssnnvvvcx";
    std::string target = std::string("/") + kinds[pick(19)] + "/" + std::to_string(pick(200));
    bool faulty = target[1] == 'c' || target[1] == 'x';
    Fields fields;
    if (target[1] == 'v') fields.Add("X-V", std::to_string(pick(4)));
    switch (pick(20)) {
      case 0: {  // leaves before or while the answer comes
        client.Send(Request("GET", target, fields));
        if (pick(2) == 0) client.ReadBytes(200, std::chrono::milliseconds(20));
        client.Reset();
        break;
      }
      case 1: {  // reads slowly
        RawClient slow(satchel->address(), 4096);
        slow.Send(Request("GET", target, fields));
        Response response = slow.ReadHead();
        for (int i = 1; i < 4; ++i) {
          slow.ReadBodyUntil(&response, static_cast<uint64_t>(i) * 2000);
          PassTime(std::chrono::milliseconds(5));
        }
        slow.ReadBody(&response);
        if (!faulty && (response.status != 200 || response.body.size() != SizeOf(target))) ++wrong_;
        break;
      }
      case 2:
        client.Exchange("POST", target, fields, std::string(pick(5000), 'b'));
        if (target[1] == 'x' || target[1] == 'c') client = satchel->Connect();
        break;
      case 3:
        client.Send("GET / HTTP/1.1\r\nBad Header\r\n\r\n");
        if (client.Read().status != 400) ++wrong_;
        client = satchel->Connect();
        break;
      case 4: {
        std::string burst;
        for (int i = 0; i < 5; ++i) burst += Request("GET", "/f/1");
        client.Send(burst);
        std::string expected = Pattern(0, SizeOf("/f/1"), SeedOf("/f/1"));
        for (int i = 0; i < 5; ++i) {
          if (client.Read().body != expected) ++wrong_;
        }
        break;
      }
      default: {
        Response response = client.Get(target, fields);
        if (faulty) {
          if (response.status == 200 && response.complete) ++wrong_;
          if (!response.complete) client = satchel->Connect();
        } else if (response.status != 200 || !response.complete ||
                   response.body != Pattern(0, SizeOf(target), SeedOf(target))) {
          ++wrong_;
          client = satchel->Connect();
        }
      }
    }
    ++requests_;
  }
}

TEST_F(SoakTest, MixedTrafficLeavesMemoryAndDescriptorsFlat) {
  const char* given = std::getenv("SATCHEL_SOAK_SECONDS");
  const int seconds = given != nullptr ? std::max(2, std::atoi(given)) : 10;
  origin.Otherwise(Answer);
  RedisProcess redis;
  SatchelConfig config = Config();
  config.l1 = "size: 16MiB";
  config.l2 = "redis: \"" + redis.url() + "\"";
  config.rest = "log: {level: warn}\n";
  Start(config);
  satchel->process().KeepAtMost(kMiB);
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < 8; ++i) clients.emplace_back([this, i] { ClientLoop(i + 1); });

  std::vector<Sample> samples;
  auto began = std::chrono::steady_clock::now();
  auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  };
  for (int step = 0; elapsed() < seconds; ++step) {
    PassTime(std::chrono::milliseconds(500));
    samples.push_back(
        {elapsed(), satchel->process().ResidentBytes(), satchel->process().OpenDescriptors()});
    if (step % 4 == 1) {
      config.cache = step % 8 == 1 ? "sie: 5s" : "sie: 6s";
      satchel->Reload(config);
    }
    if (step % 12 == 5) redis.Pause();
    if (step % 12 == 8) redis.Continue();
    if (step % 24 == 15) redis.Restart();
    ASSERT_TRUE(satchel->process().Running()) << satchel->process().err();
  }
  redis.Continue();
  stop_ = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong_, 0u) << "of " << requests_;
  EXPECT_GT(requests_, static_cast<uint64_t>(seconds) * 20);

  // Nothing stays behind.
  EXPECT_TRUE(Eventually([&] {
    Metrics metrics = satchel->ReadMetrics();
    return metrics.Sum("satchel_requests_in_flight") == 0 &&
           metrics.Sum("satchel_connections_open") == 0;
  })) << satchel->ReadMetrics().text();
  // The store is full after the first third; from there on the level may not rise.
  uint64_t early = 0;
  uint64_t late = 0;
  size_t most_descriptors = 0;
  for (const Sample& sample : samples) {
    if (sample.seconds < seconds * 0.5) early = std::max(early, sample.resident);
    if (sample.seconds > seconds * 0.8) late = std::max(late, sample.resident);
    most_descriptors = std::max(most_descriptors, sample.descriptors);
  }
  EXPECT_LT(late, early + early / 5 + MemoryAllowance(16 * kMiB));
  EXPECT_LT(most_descriptors, 300u);
  std::cout << "soak: " << seconds << " s, " << requests_ << " requests, resident " << early / kMiB
            << " -> " << late / kMiB << " MiB, at most " << most_descriptors << " descriptors\n";
  // The end of the process is checked by the fixture: exit 0, which a sanitizer's report is not.
}

}  // namespace
}  // namespace satchel::testing
