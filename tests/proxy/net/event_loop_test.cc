#include "proxy/net/event_loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace satchel::net {
namespace {

TEST(TimerWheelTest, FiresNeverEarlyAndAtMostOneTickLate) {
  std::mt19937 random(7);
  TimerWheel wheel(1000);
  int64_t now = 1000;
  std::vector<std::unique_ptr<Timer>> timers;
  size_t fired = 0;
  for (int i = 0; i < 2000; ++i) {
    auto timer = std::make_unique<Timer>();
    const int64_t deadline = now + static_cast<int64_t>(random() % 600'000);
    timer->OnFire([&now, &fired, deadline] {
      ++fired;
      EXPECT_GE(now, deadline);
      EXPECT_LE(now, deadline + 8);
    });
    timer->Set(wheel, deadline);
    timers.push_back(std::move(timer));
  }
  while (wheel.size() != 0) {
    const int64_t next = wheel.NextDeadline();
    ASSERT_GT(next, now);
    now = next;
    wheel.Advance(now);
  }
  EXPECT_EQ(fired, 2000u);
}

TEST(TimerWheelTest, LeapsOverALongPauseAndFiresEverythingDue) {
  TimerWheel wheel(0);
  int fired = 0;
  Timer soon([&] { ++fired; });
  Timer later([&] { ++fired; });
  Timer beyond([&] { ++fired; });
  soon.Set(wheel, 10);
  later.Set(wheel, 100'000);
  beyond.Set(wheel, 10'000'000);
  wheel.Advance(200'000);
  EXPECT_EQ(fired, 2);
  wheel.Advance(10'000'000);
  EXPECT_EQ(fired, 3);
}

TEST(TimerWheelTest, ACancelledTimerNeverFires) {
  TimerWheel wheel(0);
  int fired = 0;
  Timer first([&] { ++fired; });
  {
    Timer second([&] { ++fired; });
    second.Set(wheel, 20);
  }
  first.Set(wheel, 20);
  first.Cancel();
  wheel.Advance(1000);
  EXPECT_EQ(fired, 0);
  EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerWheelTest, ATimerMayDestroyAnotherOfTheSameTickAndItself) {
  TimerWheel wheel(0);
  int fired = 0;
  auto a = std::make_unique<Timer>();
  auto b = std::make_unique<Timer>();
  const auto kill_both = [&] {
    ++fired;
    a.reset();
    b.reset();
  };
  a->OnFire(kill_both);
  b->OnFire(kill_both);
  a->Set(wheel, 8);
  b->Set(wheel, 8);
  wheel.Advance(100);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, ATimerMayArmItselfAgain) {
  TimerWheel wheel(0);
  int fired = 0;
  Timer timer;
  timer.OnFire([&] {
    if (++fired < 5) timer.Set(wheel, timer.deadline_ms() + 100);
  });
  timer.Set(wheel, 100);
  for (int64_t now = 0; now < 2000; now += 4) wheel.Advance(now);
  EXPECT_EQ(fired, 5);
}

TEST(EventLoopTest, RunsMessagesOfOtherThreadsInTheirOrder) {
  EventLoop loop;
  std::vector<int> seen;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) loop.Post([&seen, i] { seen.push_back(i); });
    loop.Stop();
  });
  loop.Run();
  poster.join();
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

TEST(EventLoopTest, DeferredWorkRunsAfterTheCallbacksOfTheTurn) {
  EventLoop loop;
  std::vector<int> order;
  loop.Post([&] {
    loop.AtTurnEnd([&] { order.push_back(3); });
    order.push_back(1);
  });
  loop.Post([&] { order.push_back(2); });
  loop.Turn(true);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(EventLoopTest, ATimerEndsTheWait) {
  EventLoop loop;
  Timer timer([&] { loop.Stop(); });
  const int64_t start = EventLoop::ReadClockMs();
  loop.SetTimer(timer, 30);
  loop.Run();
  EXPECT_GE(EventLoop::ReadClockMs() - start, 30);
}

TEST(EventLoopTest, AnObjectDeletedLaterOutlivesItsOwnCallback) {
  struct Peer {
    IoWatch watch;
    std::unique_ptr<Peer> self;
    EventLoop* loop;
    bool* gone;
    ~Peer() { *gone = true; }
  };
  EventLoop loop;
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  bool gone = false;
  auto peer = std::make_unique<Peer>();
  Peer* raw = peer.get();
  raw->loop = &loop;
  raw->gone = &gone;
  raw->self = std::move(peer);
  raw->watch.Start(loop, fds[0], EV_READ,
                   [](int, short, void* self) {
                     auto* p = static_cast<Peer*>(self);
                     p->watch.Stop();
                     EventLoop* l = p->loop;
                     l->DeleteLater(std::move(p->self));
                     EXPECT_FALSE(*p->gone);
                   },
                   raw);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  loop.Turn(true);
  EXPECT_TRUE(gone);
  close(fds[0]);
  close(fds[1]);
}

TEST(EventLoopTest, ATimerArmedAfterALongWaitCountsFromNow) {
  EventLoop loop;
  int64_t armed_at = 0;
  int64_t fired_at = 0;
  Timer timer([&] { fired_at = EventLoop::ReadClockMs(); });
  loop.Turn(false);
  const int64_t start = EventLoop::ReadClockMs();
  while (EventLoop::ReadClockMs() - start < 100) {  // the loop's own time is getting old
  }
  loop.Post([&] {
    armed_at = EventLoop::ReadClockMs();
    loop.SetTimer(timer, 50);
  });
  while (fired_at == 0) loop.Turn(true);
  EXPECT_GE(fired_at - armed_at, 49);
}

TEST(EventLoopTest, ATimerArmedBetweenTurnsCountsFromNow) {
  EventLoop loop;
  loop.Turn(false);
  const int64_t start = EventLoop::ReadClockMs();
  while (EventLoop::ReadClockMs() - start < 60) {  // a loop that was built long before it runs
  }
  const int64_t armed_at = EventLoop::ReadClockMs();
  int64_t fired_at = 0;
  Timer timer([&] { fired_at = EventLoop::ReadClockMs(); });
  loop.SetTimer(timer, 40);
  while (fired_at == 0) loop.Turn(true);
  EXPECT_GE(fired_at - armed_at, 39);
}

}  // namespace
}  // namespace satchel::net
