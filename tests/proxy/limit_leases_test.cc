#include "proxy/limit_leases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace satchel::proxy {
namespace {

constexpr int64_t kSecond = 1'000'000;

rules::RateLimitPolicy PolicyOf(uint64_t limit, int64_t window_us, bool lease = true) {
  rules::RateLimitPolicy policy;
  policy.name = "api";
  policy.plans.resize(1);
  policy.plans[0].windows = {{"w", limit, std::chrono::microseconds(window_us)}};
  policy.default_plan = 0;
  policy.lease = lease;
  return policy;
}

// Instances that lease from one exact log, on one clock. A call takes some time to arrive and some
// to return, during which others are sent.
class Fleet {
 public:
  Fleet(const rules::RateLimitPolicy& policy, size_t instances, unsigned seed)
      : check_{.policy = &policy, .plan = &policy.plans[0]}, leases_(instances), random_(seed) {
    spec_ = rules::SpecOf(policy.plans[0].windows[0], policy.max_entries, 1);
  }

  // A request at some instance.
  void Ask(int64_t now) {
    const size_t instance = random_() % leases_.size();
    if (leases_[instance].Use(7, group_, now) != nullptr) {
      admitted_.push_back(now);
      return;
    }
    Call call{.instance = instance, .sent = now};
    if (length_ > 0) call.ahead = leases_[instance].Ahead(7, group_, 1, leases_.size(), now);
    ++calls_;
    events_.emplace(now + Delay(), std::move(call));
  }
  // What arrives before `now`.
  void PassUntil(int64_t now) {
    while (!events_.empty() && events_.begin()->first < now) {
      auto event = events_.extract(events_.begin());
      Call& call = event.mapped();
      call.states.empty() ? Decide(event.key(), call) : Return(call);
    }
  }
  std::vector<int64_t> Admitted() const {
    std::vector<int64_t> sorted = admitted_;
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }
  int64_t calls() const { return calls_; }

 private:
  struct Call {
    size_t instance = 0;
    int64_t sent = 0;
    int64_t ahead = 0;
    int64_t granted = 0;
    std::vector<rules::LimitStates> states{};  // empty on the way there
  };

  // Mostly a millisecond, now and then much more.
  int64_t Delay() {
    const auto usual = static_cast<int64_t>(50 + random_() % 1000);
    return random_() % 200 == 0 ? 20 * usual : usual;
  }
  void Decide(int64_t now, Call& call) {
    rules::WindowLog* const one = &log_;
    call.states.resize(1);
    call.states[0].count = 1;
    call.granted = rules::CheckWindows(
        {&one, 1}, {&spec_, 1}, {.count = 1 + call.ahead, .lease = call.ahead > 0 ? length_ : 0},
        now, {call.states[0].states.data(), 1});
    if (call.granted > 0) admitted_.push_back(now);
    events_.emplace(now + Delay(), std::move(call));
  }
  void Return(const Call& call) {
    if (length_ == 0) return;
    leases_[call.instance].Store(7, group_, 1, call.granted, call.sent, call.states);
  }

  const LimitCheck check_;
  const std::span<const LimitCheck> group_{&check_, 1};
  const int64_t length_ = LimitLeases::LengthFor(group_);
  std::vector<LimitLeases> leases_;
  rules::WindowLog log_;
  rules::WindowSpec spec_;
  std::mt19937_64 random_;
  std::multimap<int64_t, Call> events_;
  std::vector<int64_t> admitted_;
  int64_t calls_ = 0;
};

struct Result {
  std::vector<int64_t> admitted;
  int64_t calls = 0;
};

Result Simulate(const rules::RateLimitPolicy& policy, size_t instances, double per_second,
                int64_t length_us, unsigned seed) {
  Fleet fleet(policy, instances, seed);
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap(per_second / 1e6);
  double at = 1000;
  while (at < static_cast<double>(length_us)) {
    at += gap(random);
    const auto now = static_cast<int64_t>(at);
    fleet.PassUntil(now);
    fleet.Ask(now);
  }
  fleet.PassUntil(2 * length_us);
  return {fleet.Admitted(), fleet.calls()};
}

void ExpectNoWindowOver(const Result& result, size_t limit, int64_t window) {
  for (size_t i = limit; i < result.admitted.size(); ++i) {
    ASSERT_GE(result.admitted[i] - result.admitted[i - limit], window) << i;
  }
}

TEST(LimitLeasesTest, NoWindowHoldsMoreThanTheLimitHoweverSlotsAreUsed) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    for (const double load : {0.3, 0.7, 1.0, 1.5, 5.0}) {
      const auto policy = PolicyOf(500, kSecond);
      const Result result = Simulate(policy, 1 + seed % 8, 500 * load, 4 * kSecond, seed);
      ASSERT_NO_FATAL_FAILURE(ExpectNoWindowOver(result, 500, kSecond)) << seed << " " << load;
    }
  }
}

TEST(LimitLeasesTest, HardlyAnySlotIsLost) {
  const auto with = PolicyOf(10'000, kSecond);
  const auto without = PolicyOf(10'000, kSecond, false);
  for (const size_t instances : {1, 3, 8}) {
    for (const double load : {0.7, 1.2, 3.0}) {
      const Result leased = Simulate(with, instances, 10'000 * load, 5 * kSecond, 5);
      const Result exact = Simulate(without, instances, 10'000 * load, 5 * kSecond, 5);
      EXPECT_GE(static_cast<double>(leased.admitted.size()),
                0.999 * static_cast<double>(exact.admitted.size()))
          << instances << " instances at " << load;
    }
  }
}

TEST(LimitLeasesTest, ABusyIdentityNeedsFewerCalls) {
  const Result result = Simulate(PolicyOf(1'000'000, 3600 * kSecond), 2, 5000, 30 * kSecond, 3);
  // A third of them are made while slots are on their way.
  EXPECT_LT(static_cast<double>(result.calls), 0.4 * static_cast<double>(result.admitted.size()));
}

TEST(LimitLeasesTest, ARareIdentityTakesNothingAhead) {
  const Result result = Simulate(PolicyOf(1000, 10 * kSecond), 2, 5, 60 * kSecond, 3);
  EXPECT_EQ(result.calls, static_cast<int64_t>(result.admitted.size()));
}

// One identity that has asked often enough for slots to be taken ahead.
class BusyLease {
 public:
  BusyLease() {
    states[0].count = 1;
    states[0].states[0].remaining = 1'000'000;
    for (int i = 0; i < 41'000; ++i) {
      now += 100;
      EXPECT_EQ(leases.Ahead(1, group, 1, 1, now), 0);
      leases.Store(1, group, 1, 1, now, i + 1 < 41'000 ? full : states);
    }
  }
  int64_t Ahead() {
    now += 100;
    return leases.Ahead(1, group, 1, 1, now);
  }
  int UseAll() {
    int used = 0;
    while (leases.Use(1, group, now) != nullptr) ++used;
    return used;
  }

  const rules::RateLimitPolicy policy = PolicyOf(10'000'000, 3600 * kSecond);
  const LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  const std::span<const LimitCheck> group{&check, 1};
  LimitLeases leases;
  std::vector<rules::LimitStates> states{1};
  std::vector<rules::LimitStates> full{1};  // no room: nothing is taken ahead
  int64_t now = kSecond;
};

TEST(LimitLeasesTest, SlotsAreNotUsedAfterTheLease) {
  BusyLease busy;
  const int64_t ahead = busy.Ahead();
  ASSERT_GT(ahead, 2);
  const int64_t sent = busy.now;
  busy.leases.Store(1, busy.group, 1, 1 + ahead, sent, busy.states);
  EXPECT_EQ(busy.leases.Use(2, busy.group, sent), nullptr);
  EXPECT_NE(busy.leases.Use(1, busy.group, sent + LimitLeases::kLongestUs - 1), nullptr);
  EXPECT_EQ(busy.leases.lost(), 0U);
  EXPECT_EQ(busy.leases.Use(1, busy.group, sent + LimitLeases::kLongestUs), nullptr);
  EXPECT_EQ(busy.leases.lost(), static_cast<uint64_t>(ahead - 1));
}

TEST(LimitLeasesTest, NoMoreIsTakenAheadThanMayBeLost) {
  BusyLease busy;
  // Half a thousandth of the 41,000 that were admitted, though the rate would make it 500.
  const int64_t ahead = busy.Ahead();
  EXPECT_EQ(ahead, 20);
  busy.leases.Store(1, busy.group, 1, 1 + ahead, busy.now, busy.states);
  busy.now += LimitLeases::kLongestUs;  // all lost
  EXPECT_EQ(busy.Ahead(), 0);
  EXPECT_EQ(busy.leases.lost(), 20U);
}

TEST(LimitLeasesTest, WhileOneCallTakesAheadOthersDoNotAndLeaveItsSlotsAlone) {
  BusyLease busy;
  const int64_t ahead = busy.Ahead();
  const int64_t sent = busy.now;
  ASSERT_GT(ahead, 2);
  EXPECT_EQ(busy.Ahead(), 0);  // sent meanwhile
  const int64_t other = busy.now;
  busy.leases.Store(1, busy.group, 1, 1, other, busy.states);
  EXPECT_EQ(busy.UseAll(), 0);
  busy.leases.Store(1, busy.group, 1, 1 + ahead, sent, busy.states);
  busy.leases.Store(1, busy.group, 1, 1, other, busy.states);
  EXPECT_EQ(busy.UseAll(), ahead);
  EXPECT_EQ(busy.leases.lost(), 0U);
}

TEST(LimitLeasesTest, SlotsOfACallWithoutAnAnswerAreLostAndCountedOnce) {
  BusyLease busy;
  const int64_t ahead = busy.Ahead();
  const int64_t sent = busy.now;
  busy.now += LimitLeases::kLongestUs;
  busy.Ahead();
  EXPECT_EQ(busy.leases.lost(), static_cast<uint64_t>(ahead));
  busy.leases.Store(1, busy.group, 1, 1 + ahead, sent, busy.states);  // too late
  EXPECT_EQ(busy.UseAll(), 0);
  EXPECT_EQ(busy.leases.lost(), static_cast<uint64_t>(ahead));
}

TEST(LimitLeasesTest, TheTableIsBounded) {
  const auto policy = PolicyOf(100, 10 * kSecond);
  const LimitCheck check{.policy = &policy, .plan = &policy.plans[0]};
  LimitLeases leases;
  for (uint64_t i = 0; i < 2 * LimitLeases::kMax; ++i) leases.Ahead(i, {&check, 1}, 1, 1, 0);
  EXPECT_LE(leases.size(), LimitLeases::kMax);
}

TEST(LimitLeasesTest, AGroupLeasesOnlyIfAllItsPoliciesDo) {
  const auto with = PolicyOf(100, 10 * kSecond);
  const auto without = PolicyOf(100, 10 * kSecond, false);
  auto slots = with;
  slots.plans[0].concurrent = 3;
  const auto length = [](const rules::RateLimitPolicy& a, const rules::RateLimitPolicy& b) {
    const std::array<LimitCheck, 2> group = {LimitCheck{&a, &a.plans[0]},
                                             LimitCheck{&b, &b.plans[0]}};
    return LimitLeases::LengthFor(group);
  };
  EXPECT_EQ(length(with, with), LimitLeases::kLongestUs);
  EXPECT_EQ(length(with, without), 0);
  EXPECT_EQ(length(with, slots), 0);
  EXPECT_EQ(length(PolicyOf(9, 50'000), with), 500);
}

}  // namespace
}  // namespace satchel::proxy
