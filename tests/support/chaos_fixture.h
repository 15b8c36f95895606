#pragma once

// Three instances under Zipf load, purges of every kind, and faults without pause; a checker that
// knows what may be served. What the faults are is the test's.

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/proxy_fixture.h"
#include "tests/support/version_checker.h"

namespace satchel::testing {

// One fault: begun, endured for a while, ended.
struct Fault {
  std::string name;
  std::function<void()> begin;
  std::function<void()> end;
};

class ChaosTest : public ProxyTest {
 protected:
  using Clock = std::chrono::steady_clock;
  static constexpr size_t kInstances = 3;

  ChaosTest();
  ~ChaosTest() override;

  // All share what is at the URLs, each at its own if there are so many.
  void StartThree(const std::vector<std::string>& urls);
  // All connected, and nothing held back.
  bool Calm();
  // $SATCHEL_CHAOS_SECONDS of it, at least two.
  void Run(const std::vector<Fault>& faults);

 private:
  struct Page;

  void NotePublished();
  // What keeps each from being calm.
  std::string Moods() const;
  void Judge();
  void Answer(OriginExchange& exchange);
  void ReadLoop(unsigned seed);
  void PurgeLoop(unsigned seed);
  void PurgeOnce(std::mt19937& random);
  void PutOnce(size_t instance, const Page& page);
  void Complain(const std::string& what);

  const unsigned seed_;
  const int seconds_;
  VersionChecker checker_{kInstances, {}};
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
  std::vector<std::pair<double, uint64_t>> memory_;     // seconds, bytes of all three
  std::vector<std::unique_ptr<SatchelProcess>> fleet_;  // the first to go
};

}  // namespace satchel::testing
