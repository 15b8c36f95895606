// Three instances, one Redis, Zipf load, purges of every kind, and faults without pause: nobody is
// ever served what may not be served. $SATCHEL_CHAOS_SECONDS sets for how long (the long run is 300),
// $SATCHEL_CHAOS_SEED repeats what was done; how threads interleave is not repeated.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/support/fault_relay.h"
#include "tests/support/proxy_fixture.h"
#include "tests/support/redis_topology.h"
#include "tests/support/version_checker.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Reach = VersionChecker::Reach;

constexpr uint64_t kMiB = 1024 * 1024;
constexpr size_t kInstances = 3;
constexpr size_t kKeys = 150;
constexpr size_t kGroups = 8;
constexpr size_t kClients = 4;
// No request may take longer, whatever Redis does; the origin answers at once. Who waits for another
// instance's fetch waits 5 s at most, where that one can tell nobody any more.
constexpr milliseconds kBound{6000};

int Setting(const char* name, int otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::atoi(given) : otherwise;
}

// Each object says by its letter how it behaves.
struct Page {
  size_t index = 0;
  std::string target;
  std::string group;
  size_t size = 0;
  VersionChecker::Object object;
  std::string cache_control;
  bool varies = false;

  static Page Of(size_t index) {
    Page page;
    page.index = index;
    const char kind = "lsvwrb"[index % 6];
    page.group = "g" + std::to_string(index % kGroups);
    page.target = std::string("/") + kind + "/" + page.group + "/" + std::to_string(index);
    page.size = 100 + index * 7919 % 6000;
    page.object.lifetime = std::chrono::minutes(10);
    if (kind == 's') page.object.lifetime = std::chrono::seconds(2);
    if (kind == 'w') page.object.stale_window = std::chrono::seconds(1);
    if (kind == 'w') page.object.lifetime = std::chrono::seconds(2);
    if (kind == 'v') page.varies = true;
    if (kind == 'b' && index > 20) page.size = 300'000 + index * 3001;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(page.object.lifetime);
    page.cache_control = "max-age=" + std::to_string(seconds.count());
    if (kind == 'w') page.cache_control += ", stale-while-revalidate=1";
    return page;
  }
  std::string Key(size_t variant) const {
    return varies ? target + "?" + std::to_string(variant) : target;
  }
  std::vector<std::string> Keys() const {
    if (!varies) return {target};
    return {Key(0), Key(1), Key(2)};
  }
};

// One fault: begun, endured for a while, ended.
struct Fault {
  std::string name;
  std::function<void()> begin;
  std::function<void()> end;
};

class ChaosTest : public ProxyTest {
 protected:
  ChaosTest() {
    std::cout << "chaos: SATCHEL_CHAOS_SEED=" << seed_ << "\n";
    for (size_t i = 0; i < kKeys; ++i) {
      pages_.push_back(Page::Of(i));
      weights_.push_back(1.0 / std::pow(static_cast<double>(i + 1), 0.9));
      for (const std::string& key : pages_.back().Keys()) {
        checker_.Add(key, pages_.back().object, Clock::now());
      }
    }
    origin.Otherwise([this](OriginExchange& exchange) { Answer(exchange); });
  }

  void StartThree(const std::vector<std::string>& urls) {
    for (size_t i = 0; i < kInstances; ++i) {
      SatchelConfig config = Config();
      config.l1 = "size: 16MiB, incoherent_ttl: 1s";
      config.l2 = "redis: \"" + urls[i % urls.size()] +
                  "\", deadline: 50ms, breaker: {failures: 5, open_for: 200ms}";
      config.rest = "log: {level: warn}\n";
      fleet_.push_back(std::make_unique<SatchelProcess>(config));
      fleet_.back()->process().KeepAtMost(kMiB);
    }
    ASSERT_TRUE(Calm());
  }
  // All connected, and nothing held back.
  bool Calm() {
    return Eventually(
        [&] {
          NotePublished();
          return std::all_of(fleet_.begin(), fleet_.end(), [](const auto& one) {
            const Metrics metrics = one->ReadMetrics();
            return metrics.Sum("satchel_purge_coherent") == 1 &&
                   metrics.Sum("satchel_purge_channel_up") == 1 &&
                   metrics.Sum("satchel_redis_breaker_open") == 0;
          });
        },
        milliseconds(60'000));
  }
  void NotePublished() {
    for (size_t i = 0; i < fleet_.size(); ++i) {
      const auto began = Clock::now();
      if (fleet_[i]->ReadMetrics().Sum("satchel_purge_coherent") == 1) {
        checker_.Published(i, began, Clock::now());
      }
    }
  }

  void Run(const std::vector<Fault>& faults, int seconds);
  void Judge(int seconds);

 private:
  void Answer(OriginExchange& exchange);
  void ReadLoop(unsigned seed);
  void PurgeLoop(unsigned seed);
  void PurgeOnce(std::mt19937& random);
  void Complain(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (complaints_.size() < 20) complaints_.push_back(what);
    ++wrong_;
  }

 protected:
  const unsigned seed_ = static_cast<unsigned>(
      Setting("SATCHEL_CHAOS_SEED", static_cast<int>(std::random_device()() % 1'000'000)));
  const int seconds_ = std::max(2, Setting("SATCHEL_CHAOS_SECONDS", 3));
  std::vector<std::unique_ptr<SatchelProcess>> fleet_;
  VersionChecker checker_{kInstances, {}};

 private:
  std::vector<Page> pages_;
  std::vector<double> weights_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> faulty_ = false;
  std::atomic<Clock::rep> fault_ended_ = 0;
  std::atomic<uint64_t> requests_ = 0;
  std::atomic<uint64_t> hits_ = 0;
  std::atomic<int64_t> slowest_ms_ = 0;
  std::array<std::atomic<uint64_t>, 4> reached_{};
  std::mutex mutex_;
  std::vector<std::string> complaints_;
  uint64_t wrong_ = 0;
  std::vector<std::pair<double, uint64_t>> memory_;  // seconds, bytes of all three
};

void ChaosTest::Answer(OriginExchange& exchange) {
  const OriginRequest& request = exchange.request();
  const size_t slash = request.target.rfind('/');
  const auto index = static_cast<size_t>(std::atoi(request.target.c_str() + slash + 1));
  if (index >= pages_.size() || request.target != pages_[index].target) {
    exchange.Respond({.status = 404});
    return;
  }
  const Page& page = pages_[index];
  if (request.method != "GET") {
    for (const std::string& key : page.Keys()) checker_.Update(key, Clock::now());
    exchange.Respond({.status = 204});
    return;
  }
  const auto variant = static_cast<size_t>(std::atoi(request.fields.Get("X-V").c_str()));
  const std::string key = page.Key(variant);
  const auto now = Clock::now();
  const bool excused = faulty_ || Clock::duration(fault_ended_) + std::chrono::seconds(4) >
                                      now.time_since_epoch();
  checker_.CountFetch(key, now, excused);
  const uint64_t version = checker_.Current(key);
  // No two representations of one resource share one (RFC 9110 section 8.8.3).
  const std::string etag = "\"" + std::to_string(variant) + "." + std::to_string(version) + "\"";
  Fields fields{{"Cache-Control", page.cache_control},
                {"ETag", etag},
                {"Surrogate-Key", page.group + " p" + std::to_string(page.index)}};
  if (page.varies) fields.Add("Vary", "X-V");
  if (request.fields.Get("If-None-Match") == etag) {
    exchange.Respond({.status = 304, .fields = fields});
    return;
  }
  exchange.Respond({.fields = fields,
                    .body = VersionedBody(key, version, page.size),
                    .framing = index % 2 == 0 ? Reply::Framing::kLength : Reply::Framing::kChunked});
}

void ChaosTest::ReadLoop(unsigned seed) {
  std::mt19937 random(seed);
  std::discrete_distribution<size_t> zipf(weights_.begin(), weights_.end());
  std::vector<RawClient> clients;
  for (const auto& one : fleet_) clients.push_back(one->Connect());
  while (!stop_) {
    const Page& page = pages_[zipf(random)];
    const size_t instance = random() % kInstances;
    const size_t variant = page.varies ? random() % 3 : 0;
    Fields fields{{"Host", "shop.test"}};
    if (page.varies) fields.Add("X-V", std::to_string(variant));
    const auto begun = Clock::now();
    const Response response = clients[instance].Get(page.target, fields);
    const auto ended = Clock::now();
    const std::string key = page.Key(variant);
    const auto took = std::chrono::duration_cast<milliseconds>(ended - begun).count();
    int64_t slowest = slowest_ms_;
    while (took > slowest && !slowest_ms_.compare_exchange_weak(slowest, took)) {
    }
    ++requests_;
    if (CacheStatus(response).hit()) ++hits_;
    if (took > kBound.count()) Complain(key + " took " + std::to_string(took) + " ms");
    if (response.status != 200 || !response.complete) {
      Complain(key + " at " + std::to_string(instance) + ": " + Describe(response));
      clients[instance] = fleet_[instance]->Connect();
      continue;
    }
    const auto version = VersionOf(key, response.body, page.size);
    if (!version) {
      Complain(key + ": a wrong body of " + std::to_string(response.body.size()) +
               " bytes: " + response.body.substr(0, 60));
    } else if (auto wrong = checker_.Check(key, instance, *version, begun, ended)) {
      Complain(*wrong + "; " + response.Get("Cache-Status") + " age " + response.Get("Age"));
    }
  }
}

void ChaosTest::PurgeOnce(std::mt19937& random) {
  const size_t instance = random() % kInstances;
  const SatchelProcess& at = *fleet_[instance];
  const Page& page = pages_[random() % pages_.size()];
  const auto kind = random() % 5;
  const bool soft = random() % 3 == 0;
  if (kind == 0) {  // an unsafe method: in force here before its answer, on its way to the others
    const Response answer = at.Send("PUT", page.target, {{"Host", "shop.test"}}, "x");
    if (answer.status != 204) Complain("PUT " + page.target + ": " + Describe(answer));
    return;
  }
  std::vector<std::string> keys;
  nlohmann::json order = {{"soft", soft}};
  const auto hit = [&](const Page& one) {
    for (const std::string& key : one.Keys()) keys.push_back(key);
  };
  if (kind == 1) {
    order["urls"] = {"http://shop.test" + page.target};
    hit(page);
  } else if (kind == 2) {
    order["tags"] = {page.group};
    for (const Page& one : pages_) {
      if (one.group == page.group) hit(one);
    }
  } else if (kind == 3) {
    const std::string prefix = page.target.substr(0, page.target.rfind('/') + 1);
    order["prefixes"] = {"http://shop.test" + prefix};
    for (const Page& one : pages_) {
      if (one.target.starts_with(prefix)) hit(one);
    }
  } else {
    order["tags"] = {"p" + std::to_string(page.index)};
    order["wait"] = false;
    hit(page);
  }
  for (const std::string& key : keys) checker_.Update(key, Clock::now());
  const auto purge = checker_.BeginPurge(keys, instance, soft);
  const Response answer =
      Fetch(at.admin(), "POST", "/purge", {{"Host", "localhost"}}, order.dump());
  const auto report = nlohmann::json::parse(answer.body, nullptr, false);
  Reach reach = Reach::kNowhere;
  if (answer.status == 200 || answer.status == 202) {
    reach = !report["shared"].get<bool>() ? Reach::kHere
            : report.contains("confirmed") && report["confirmed"].size() == kInstances
                ? Reach::kEverywhere
                : Reach::kShared;
  } else {
    Complain("purge: " + Describe(answer));
  }
  ++reached_[static_cast<size_t>(reach)];
  checker_.EndPurge(purge, reach, Clock::now());
}

void ChaosTest::PurgeLoop(unsigned seed) {
  std::mt19937 random(seed);
  while (!stop_) {
    PurgeOnce(random);
    PassTime(milliseconds(random() % 60));
  }
}

void ChaosTest::Run(const std::vector<Fault>& faults, int seconds) {
  std::mt19937 random(seed_);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kClients; ++i) {
    threads.emplace_back([this, i] { ReadLoop(seed_ + 1 + i); });
  }
  threads.emplace_back([this] { PurgeLoop(seed_ + 100); });
  const auto began = Clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(Clock::now() - began).count();
  };
  while (elapsed() < seconds) {
    const Fault& fault = faults[random() % faults.size()];
    PassTime(milliseconds(200 + random() % 600));
    NotePublished();
    SCOPED_TRACE(fault.name);
    faulty_ = true;
    fault.begin();
    PassTime(milliseconds(100 + random() % (seconds > 30 ? 3000 : 700)));
    fault.end();
    if (seconds > 30 && random() % 4 == 0) EXPECT_TRUE(Calm()) << "after " << fault.name;
    fault_ended_ = Clock::now().time_since_epoch().count();
    faulty_ = false;
    uint64_t resident = 0;
    for (const auto& one : fleet_) {
      ASSERT_TRUE(one->process().Running()) << one->process().err();
      resident += one->process().ResidentBytes();
    }
    memory_.emplace_back(elapsed(), resident);
  }
  EXPECT_TRUE(Calm());
  stop_ = true;
  for (std::thread& thread : threads) thread.join();
  // What was held back is known to all by now or within the bound; one last round of everything.
  NotePublished();
  PassTime(VersionChecker::Bounds().unheard);
  std::mt19937 last(seed_ + 200);
  for (size_t i = 0; i < 5; ++i) PurgeOnce(last);
  stop_ = false;
  std::thread reader([this] { ReadLoop(seed_ + 300); });
  const uint64_t target = requests_ + 500;
  EXPECT_TRUE(Eventually([&] { return requests_ >= target; }));
  stop_ = true;
  reader.join();
  Judge(seconds);
}

void ChaosTest::Judge(int seconds) {
  for (const std::string& complaint : complaints_) ADD_FAILURE() << complaint;
  EXPECT_EQ(wrong_, 0u);
  EXPECT_GT(checker_.floors(), static_cast<size_t>(seconds) * 10);
  EXPECT_GT(hits_, requests_ / 10);
  const auto fetches = checker_.fetches();
  EXPECT_LE(fetches.unexplained, fetches.all / 10 + 20);
  uint64_t early = 0;
  uint64_t late = 0;
  for (const auto& [at, bytes] : memory_) {
    uint64_t& most = at < seconds * 0.5 ? early : late;
    most = std::max(most, bytes);
  }
  if (seconds > 30) EXPECT_LT(late, early + early / 5 + MemoryAllowance(48 * kMiB));
  std::cout << "chaos: " << seconds << " s, " << requests_ << " requests, " << hits_
            << " hits, slowest " << slowest_ms_ << " ms; purges everywhere/shared/here/refused "
            << reached_[0] << "/" << reached_[1] << "/" << reached_[2] << "/" << reached_[3]
            << ", limits set " << checker_.floors() << "; fetches " << fetches.all
            << ", unexplained " << fetches.unexplained << "; resident " << early / kMiB << " -> "
            << late / kMiB << " MiB\n";
}

FaultRelay::Faults ErrorFor(const std::string& text) {
  return {.error = [text](const std::string&) { return std::optional(text); }};
}

class ChaosOnOneServer : public ChaosTest {
 protected:
  // On a random relay, or all of them.
  Fault Relayed(const std::string& name, const FaultRelay::Faults& faults, bool reset = false) {
    return {name,
            [this, faults, reset] {
              const size_t only = turn_++ % (kInstances + 1);
              for (size_t i = 0; i < kInstances; ++i) {
                if (only < kInstances && only != i) continue;
                relays_[i]->Set(faults);
                if (reset) relays_[i]->ResetAll();
              }
            },
            [this] {
              for (const auto& relay : relays_) relay->Clear();
            }};
  }
  std::vector<Fault> Faults() {
    std::vector<Fault> faults;
    for (const char* error :
         {"LOADING Redis is loading the dataset in memory", "OOM command not allowed",
          "READONLY You can't write against a read only replica.",
          "NOAUTH Authentication required.", "BUSY Redis is busy running a script."}) {
      faults.push_back(Relayed(error, ErrorFor(error)));
    }
    faults.push_back(Relayed("slow", {.delay = milliseconds(200)}));
    faults.push_back(Relayed("held", {.hold = true}));
    faults.push_back(Relayed("refused", {.refuse = true}, true));
    faults.push_back(Relayed("cut in mid-reply", {.cut_after = 5000}));
    faults.push_back(Relayed("flipped bits", {.flip_every = 20'011}));
    faults.push_back({"stopped", [this] { redis_.Pause(); }, [this] { redis_.Continue(); }});
    faults.push_back({"killed, empty again", [this] { redis_.Kill(); }, [this] { redis_.Restart(); }});
    faults.push_back({"flushed", [this] { redis_.Command({"FLUSHALL"}); }, [] {}});
    faults.push_back({"scripts flushed", [this] { redis_.Command({"SCRIPT", "FLUSH"}); }, [] {}});
    faults.push_back({"subscribers killed",
                      [this] { redis_.Command({"CLIENT", "KILL", "TYPE", "pubsub"}); }, [] {}});
    faults.push_back({"full", [this] { redis_.Command({"CONFIG", "SET", "maxmemory", "1"}); },
                      [this] { redis_.Command({"CONFIG", "SET", "maxmemory", "0"}); }});
    return faults;
  }

  RedisProcess redis_;
  std::vector<std::unique_ptr<FaultRelay>> relays_;
  size_t turn_ = 0;
};

TEST_F(ChaosOnOneServer, NothingIsServedThatMayNotBe) {
  std::vector<std::string> urls;
  for (size_t i = 0; i < kInstances; ++i) {
    relays_.push_back(std::make_unique<FaultRelay>(redis_.address()));
    urls.push_back("redis://" + relays_.back()->address() + "/0");
  }
  StartThree(urls);
  Run(Faults(), seconds_);
}

class ChaosOnACluster : public ChaosTest {
 protected:
  void Migrate() {
    const auto keys = cluster_.node(turn_ % cluster_.size()).Keys("satchel:*");
    if (keys.empty()) return;
    const std::string key = keys[turn_ % keys.size()];
    const long slot = cluster_.SlotOf(key);
    const size_t from = cluster_.OwnerOf(key);
    const size_t to = (from + 1) % cluster_.size();
    cluster_.BeginMigration(slot, from, to);
    // A node that came back just now may not take them yet: then their loss is one fault more.
    cluster_.MoveKeys(slot, from, to, false);
    moving_ = {slot, from, to};
  }
  void EndMigration() {
    if (!moving_) return;
    cluster_.MoveKeys(moving_->slot, moving_->from, moving_->to, false);
    cluster_.EndMigration(moving_->slot, moving_->from, moving_->to);
    moving_.reset();
  }
  std::vector<Fault> Faults() {
    std::vector<Fault> faults;
    for (size_t i = 0; i < cluster_.size(); ++i) {
      RedisProcess& node = cluster_.node(i);
      faults.push_back({"stopped", [&node] { node.Pause(); }, [&node] { node.Continue(); }});
      faults.push_back({"killed, empty again", [&node] { node.Kill(); },
                        [&node] { node.Restart(); }});
      faults.push_back({"flushed", [&node] { node.Command({"FLUSHALL"}); }, [] {}});
      faults.push_back({"clients killed",
                        [&node] {
                          node.Command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
                          node.Command({"CLIENT", "KILL", "TYPE", "pubsub"});
                        },
                        [] {}});
      faults.push_back({"full", [&node] { node.Command({"CONFIG", "SET", "maxmemory", "1"}); },
                        [&node] { node.Command({"CONFIG", "SET", "maxmemory", "0"}); }});
      faults.push_back({"a slot moves",
                        [this] {
                          ++turn_;
                          Migrate();
                        },
                        [this] { EndMigration(); }});
    }
    return faults;
  }

  struct Move {
    long slot;
    size_t from;
    size_t to;
  };
  RedisCluster cluster_;
  std::optional<Move> moving_;
  size_t turn_ = 0;
};

TEST_F(ChaosOnACluster, NothingIsServedThatMayNotBe) {
  StartThree({cluster_.url()});
  Run(Faults(), seconds_);
}

}  // namespace
}  // namespace satchel::testing
