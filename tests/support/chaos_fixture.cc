#include "tests/support/chaos_fixture.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <thread>

#include "tests/support/concurrency.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;
using Reach = VersionChecker::Reach;

constexpr uint64_t kMiB = 1024 * 1024;
constexpr size_t kKeys = 150;
constexpr size_t kGroups = 8;
constexpr size_t kClients = 4;
// No request may take longer, whatever Redis does; the origin answers at once. Who waits for
// another instance's fetch may be let down twice (two leases of 600 ms), and asks Redis a few
// times, 50 ms each; the rest is for a machine that has other things to do.
constexpr milliseconds kBound{2000};

int Setting(const char* name, int otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? std::atoi(given) : otherwise;
}

}  // namespace

// Each object says by its letter how it behaves.
struct ChaosTest::Page {
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

ChaosTest::ChaosTest()
    : seed_(static_cast<unsigned>(
          Setting("SATCHEL_CHAOS_SEED", static_cast<int>(std::random_device()() % 1'000'000)))),
      seconds_(std::max(2, Setting("SATCHEL_CHAOS_SECONDS", 3))) {
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

ChaosTest::~ChaosTest() = default;

void ChaosTest::StartThree(const std::vector<std::string>& urls) {
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

bool ChaosTest::Calm() {
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

std::string ChaosTest::Moods() const {
  std::string text;
  for (const auto& one : fleet_) {
    const Metrics metrics = one->ReadMetrics();
    for (const char* name : {"satchel_purge_coherent", "satchel_purge_channel_up",
                             "satchel_redis_breaker_open", "satchel_purge_log_failed_reads_total",
                             "satchel_purge_gaps_total", "satchel_purge_log_losses_total"}) {
      text += std::string(name) + " " + std::to_string(static_cast<long>(metrics.Sum(name))) + "; ";
    }
    text += "\n";
  }
  return text;
}

void ChaosTest::NotePublished() {
  for (size_t i = 0; i < fleet_.size(); ++i) {
    const auto began = Clock::now();
    if (fleet_[i]->ReadMetrics().Sum("satchel_purge_coherent") == 1) {
      checker_.Published(i, began, Clock::now());
    }
  }
}

void ChaosTest::Complain(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (complaints_.size() < 20) complaints_.push_back(what);
  ++wrong_;
}

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
  const bool excused =
      faulty_ || Clock::duration(fault_ended_) + std::chrono::seconds(4) > now.time_since_epoch();
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
  exchange.Respond(
      {.fields = fields,
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

// An unsafe method: in force here before its answer, on its way to the others.
void ChaosTest::PutOnce(size_t instance, const Page& page) {
  const Response answer = fleet_[instance]->Send("PUT", page.target, {{"Host", "shop.test"}}, "x");
  if (answer.status != 204) {
    Complain("PUT " + page.target + ": " + Describe(answer));
    return;
  }
  // Nobody else changes anything, so what is current now is what it wrote.
  const auto purge = checker_.BeginPurge(page.Keys(), instance, false);
  checker_.EndPurge(purge, Reach::kHere, Clock::now());
}

void ChaosTest::PurgeOnce(std::mt19937& random) {
  const size_t instance = random() % kInstances;
  const SatchelProcess& at = *fleet_[instance];
  const Page& page = pages_[random() % pages_.size()];
  const auto kind = random() % 5;
  const bool soft = random() % 3 == 0;
  if (kind == 0) {
    PutOnce(instance, page);
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

void ChaosTest::Run(const std::vector<Fault>& faults) {
  std::mt19937 random(seed_);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kClients; ++i) {
    threads.emplace_back([this, i] { ReadLoop(seed_ + 1 + i); });
  }
  threads.emplace_back([this] { PurgeLoop(seed_ + 100); });
  const auto began = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
  while (elapsed() < seconds_) {
    const Fault& fault = faults[random() % faults.size()];
    PassTime(milliseconds(200 + random() % 600));
    NotePublished();
    SCOPED_TRACE(fault.name);
    faulty_ = true;
    fault.begin();
    PassTime(milliseconds(100 + random() % (seconds_ > 30 ? 3000 : 700)));
    fault.end();
    if (seconds_ > 30 && random() % 4 == 0)
      EXPECT_TRUE(Calm()) << "after " << fault.name << "\n" << Moods();
    fault_ended_ = Clock::now().time_since_epoch().count();
    faulty_ = false;
    uint64_t resident = 0;
    for (const auto& one : fleet_) {
      ASSERT_TRUE(one->process().Running()) << one->process().err();
      resident += one->process().ResidentBytes();
    }
    memory_.emplace_back(elapsed(), resident);
  }
  EXPECT_TRUE(Calm()) << Moods();
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
  Judge();
}

void ChaosTest::Judge() {
  for (const std::string& complaint : complaints_) ADD_FAILURE() << complaint;
  EXPECT_EQ(wrong_, 0u);
  EXPECT_GT(checker_.floors(), static_cast<size_t>(seconds_) * 10);
  EXPECT_GT(hits_, requests_ / 10);
  const auto fetches = checker_.fetches();
  EXPECT_LE(fetches.unexplained, fetches.all / 10 + 20);
  uint64_t early = 0;
  uint64_t late = 0;
  for (const auto& [at, bytes] : memory_) {
    uint64_t& most = at < seconds_ * 0.5 ? early : late;
    most = std::max(most, bytes);
  }
  if (seconds_ > 30) EXPECT_LT(late, early + early / 5 + MemoryAllowance(48 * kMiB));
  std::cout << "chaos: " << seconds_ << " s, " << requests_ << " requests, " << hits_
            << " hits, slowest " << slowest_ms_ << " ms; purges everywhere/shared/here/refused "
            << reached_[0] << "/" << reached_[1] << "/" << reached_[2] << "/" << reached_[3]
            << ", limits set " << checker_.floors() << "; fetches " << fetches.all
            << ", unexplained " << fetches.unexplained << "; resident " << early / kMiB << " -> "
            << late / kMiB << " MiB\n";
}

}  // namespace satchel::testing
