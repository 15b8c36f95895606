#include "tests/support/concurrency.h"

#include <poll.h>

#include <barrier>
#include <thread>
#include <vector>

namespace satchel::testing {

void RunTogether(size_t count, const std::function<void(size_t)>& body) {
  std::barrier start(static_cast<std::ptrdiff_t>(count));
  std::vector<std::thread> threads;
  threads.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds patience) {
  Deadline deadline = Deadline::In(patience);
  int pause = 2;
  while (!holds()) {
    if (deadline.Passed()) return false;
    ::poll(nullptr, 0, pause);
    if (pause < 50) pause *= 2;
  }
  return true;
}

bool Always(const std::function<bool()>& holds, std::chrono::milliseconds time) {
  Deadline deadline = Deadline::In(time);
  while (!deadline.Passed()) {
    if (!holds()) return false;
    ::poll(nullptr, 0, 10);
  }
  return holds();
}

void PassTime(std::chrono::milliseconds time) {
  Deadline deadline = Deadline::In(time);
  while (!deadline.Passed()) ::poll(nullptr, 0, deadline.MillisLeft());
}

}  // namespace satchel::testing
