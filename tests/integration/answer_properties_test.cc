// Random requests at two instances that share one Redis, and what must hold of every answer however
// it came about: its age is no smaller than the truth, its bytes are those of its response, and it
// is an answer to the fields that selected it. SATCHEL_PROPERTY_SEED repeats a run.

#include <cmath>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "tests/support/shared_tier_fixture.h"

namespace satchel::testing {
namespace {

using Clock = std::chrono::steady_clock;

class AnswerPropertiesTest : public SharedTierTest {
 protected:
  void SetUp() override {
    SharedTierTest::SetUp();
    const char* given = std::getenv("SATCHEL_PROPERTY_SEED");
    seed_ = given != nullptr ? static_cast<uint32_t>(std::atol(given)) : std::random_device()();
    RecordProperty("seed", std::to_string(seed_));
    random_.seed(seed_);
  }
  size_t Below(size_t bound) { return random_() % bound; }
  // Seeds for handlers, which run on threads of their own.
  std::shared_ptr<std::atomic<uint32_t>> Dice() const {
    return std::make_shared<std::atomic<uint32_t>>(seed_);
  }
  const SatchelProcess& Any() { return Below(2) == 0 ? *satchel : *other_; }

  uint32_t seed_ = 0;
  std::mt19937 random_;
};

// What the origin said of its answers, by the number that each carries.
class Truths {
 public:
  // A new answer, `age` seconds old as it leaves.
  std::string Note(long age) {
    const std::lock_guard lock(mutex_);
    said_.push_back({age, Clock::now()});
    return std::to_string(said_.size() - 1);
  }
  // How old that answer is at least.
  double AgeOf(const std::string& number, Clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    const auto& [age, at] = said_.at(std::stoul(number));
    return static_cast<double>(age) + std::chrono::duration<double>(now - at).count();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<long, Clock::time_point>> said_;
};

TEST_F(AnswerPropertiesTest, D2_NoAgeIsSmallerThanTheTruth) {
  SCOPED_TRACE("SATCHEL_PROPERTY_SEED=" + std::to_string(seed_));
  constexpr size_t kTargets = 40;
  // Refreshes may go on when the test has ended.
  const auto truths = std::make_shared<Truths>();
  origin.Otherwise([truths, dice = Dice()](OriginExchange& exchange) {
    std::mt19937 random(++*dice);
    const long age = random() % 3 == 0 ? static_cast<long>(random() % 100'000) : 0;
    const long date = random() % 2 == 0 ? static_cast<long>(random() % 50'000) : 0;
    const long lifetime = std::max(age, date) + static_cast<long>(random() % 3) - 1;
    // Fresh for a while, stale at once, or for ever to be validated.
    const std::string control[] = {
        "max-age=" + std::to_string(lifetime + 60),
        "max-age=" + std::to_string(std::max(0L, lifetime)) + ", stale-while-revalidate=60",
        "no-cache"};
    const bool confirms = exchange.request().fields.Has("If-None-Match") && random() % 2 == 0;
    Fields fields = {{"ETag", "\"1\""}, {"Cache-Control", control[random() % 3]}};
    if (age > 0) fields.Add("Age", std::to_string(age));
    fields.Add("Date", HttpDate(-date));
    fields.Add("X-Number", truths->Note(std::max(age, date)));
    exchange.Respond(
        {.status = confirms ? 304 : 200, .fields = fields, .body = confirms ? "" : "x"});
  });
  size_t hits = 0;
  size_t shared = 0;
  for (int i = 0; i < 600; ++i) {
    const std::string target = "/" + std::to_string(Below(kTargets));
    const Fields wishes[] = {{},
                             {},
                             {{"Cache-Control", "max-age=0"}},
                             {{"Cache-Control", "max-stale"}},
                             {{"If-None-Match", "\"1\""}}};
    const Clock::time_point asked = Clock::now();
    const Response response = Any().Send(Below(5) == 0 ? "HEAD" : "GET", target, wishes[Below(5)]);
    ASSERT_TRUE(response.status == 200 || response.status == 304) << Describe(response);
    // What is only passed on has the age that its origin gives it, and a 304 carries no X-Number.
    const std::string detail = CacheStatus(response).Get("detail");
    if (!Hit(response) && !detail.starts_with("revalidated")) continue;
    if (!response.fields.Has("X-Number")) continue;
    hits += Hit(response) ? 1 : 0;
    shared += detail.find("l2") != std::string::npos ? 1 : 0;
    // Two clocks have been compared on the way: that of the host, and that of Redis as measured.
    const double least = truths->AgeOf(response.Get("X-Number"), asked) - 0.1;
    ASSERT_GE(static_cast<double>(Age(response)), std::floor(least)) << Describe(response);
    ASSERT_LE(static_cast<double>(Age(response)), least + 30) << Describe(response);
  }
  EXPECT_GT(hits, 50u);
  EXPECT_GT(shared, 5u);
}

TEST_F(AnswerPropertiesTest, EveryReaderGetsTheSameBytes) {
  SCOPED_TRACE("SATCHEL_PROPERTY_SEED=" + std::to_string(seed_));
  constexpr int kRounds = 40;
  constexpr size_t kReaders = 12;
  for (int round = 0; round < kRounds; ++round) {
    const std::string target = "/" + std::to_string(round);
    const size_t size = Below(4) == 0   ? Below(20)
                        : Below(4) == 0 ? Below(3'000'000)
                                        : Below(100'000);
    const std::string body = Pattern(0, size, static_cast<uint32_t>(round + 1));
    const bool chunked = Below(2) == 0;
    const size_t pause = size == 0 ? 0 : Below(size);
    const size_t piece = 1 + Below(1 + size / 4);
    origin.On(target, [=](OriginExchange& exchange) {
      exchange.SendHead(200, {chunked ? Field{"Transfer-Encoding", "chunked"}
                                      : Field{"Content-Length", std::to_string(size)},
                              {"Cache-Control", "max-age=60"},
                              {"ETag", "\"1\""}});
      if (exchange.request().method == "HEAD") return;
      for (size_t at = 0; at < size;) {
        size_t count = std::min(piece, size - at);
        if (at < pause) count = std::min(count, pause - at);
        const std::string bytes = body.substr(at, count);
        if (!(chunked ? exchange.SendChunk(bytes) : exchange.Send(bytes))) return;
        at += count;
        if (at == pause) exchange.Hold(target);
      }
      if (chunked) exchange.SendLastChunk();
    });
    // What each reader wants, settled before they start.
    struct Reader {
      const SatchelProcess* at;
      std::string range;
      std::string expected;
      bool head = false;
      bool aborts = false;
      size_t leaves_at = 0;
    };
    std::vector<Reader> readers(kReaders);
    for (Reader& reader : readers) {
      reader.at = &Any();
      reader.expected = body;
      const size_t kind = Below(6);
      if (kind == 0 && size > 0) {
        const size_t first = Below(size);
        const size_t last = first + Below(size - first);
        reader.range = "bytes=" + std::to_string(first) + "-" + std::to_string(last);
        reader.expected = body.substr(first, last - first + 1);
      } else if (kind == 1) {
        reader.aborts = true;
        reader.leaves_at = Below(size + 1);
      } else if (kind == 2) {
        reader.head = true;
        reader.expected.clear();
      }
    }
    std::atomic<size_t> asked = 0;
    std::thread director([&] {
      EXPECT_TRUE(Eventually([&] { return asked == kReaders; }));
      origin.Release(target);
    });
    RunTogether(kReaders, [&](size_t i) {
      const Reader& reader = readers[i];
      RawClient client = reader.at->Connect();
      Fields fields;
      if (!reader.range.empty()) fields.Add("Range", reader.range);
      const std::string method = reader.head ? "HEAD" : "GET";
      client.Send(Request(method, target, fields));
      ++asked;
      Response response = client.ReadHead(method, std::chrono::seconds(30));
      if (reader.aborts) {
        client.ReadBodyUntil(&response, reader.leaves_at, std::chrono::seconds(30));
        EXPECT_TRUE(body.starts_with(response.body));
        client.Reset();
        return;
      }
      client.ReadBody(&response, std::chrono::seconds(30));
      EXPECT_TRUE(response.complete) << Describe(response).substr(0, 600);
      // A range may be answered with the whole.
      const bool whole = !reader.range.empty() && response.status == 200;
      EXPECT_TRUE(response.body == (whole ? body : reader.expected))
          << "round " << round << ", " << size << " bytes, " << reader.range << ": "
          << response.status << " with " << response.body_size;
    });
    director.join();
    // And what is stored now, at both.
    for (const SatchelProcess* process : {satchel.get(), other_.get()}) {
      EXPECT_TRUE(process->Get(target).body == body) << "round " << round;
    }
  }
}

TEST_F(AnswerPropertiesTest, E1_NobodyGetsAnotherSelectionsAnswer) {
  SCOPED_TRACE("SATCHEL_PROPERTY_SEED=" + std::to_string(seed_));
  const std::vector<std::string> names = {"X-A", "X-B", "X-C"};
  // Its body is what it was asked with. By which of the fields it is selected changes over time.
  origin.Otherwise([names, dice = Dice()](OriginExchange& exchange) {
    std::mt19937 random(++*dice);
    std::string body;
    for (const std::string& name : names) {
      const Fields& fields = exchange.request().fields;
      body += name + "=" + (fields.Has(name) ? fields.Joined(name) : "(absent)") + ";";
    }
    Fields fields = {{"Cache-Control",
                      random() % 4 == 0 ? "max-age=0, stale-while-revalidate=60" : "max-age=60"}};
    for (const std::string& name : names) {
      if (random() % 3 != 0) fields.Add("Vary", name);
    }
    exchange.Respond({.fields = fields, .body = body});
  });
  size_t hits = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::pair<const SatchelProcess*, Fields>> requests(10);
    for (auto& [process, fields] : requests) {
      process = &Any();
      for (const std::string& name : names) {
        if (const size_t value = Below(3); value > 0) fields.Add(name, std::to_string(value));
      }
      if (Below(15) == 0) fields.Add("Cache-Control", "no-cache");
    }
    const std::string target = "/" + std::to_string(Below(4));
    std::atomic<size_t> round_hits = 0;
    RunTogether(requests.size(), [&](size_t i) {
      const auto& [process, asked] = requests[i];
      const Response response = process->Get(target, asked);
      EXPECT_EQ(response.status, 200) << Describe(response);
      for (const std::string& name : response.fields.All("Vary")) {
        const std::string value = asked.Has(name) ? asked.Get(name) : "(absent)";
        EXPECT_THAT(response.body, ::testing::HasSubstr(name + "=" + value + ";"))
            << "round " << round << " asked with\n"
            << asked.ToWire() << Describe(response);
      }
      if (Hit(response)) ++round_hits;
    });
    hits += round_hits;
  }
  EXPECT_GT(hits, 100u);
}

}  // namespace
}  // namespace satchel::testing
