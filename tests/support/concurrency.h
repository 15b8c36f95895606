#pragma once

#include <chrono>
#include <cstddef>
#include <functional>

#include "tests/support/net_io.h"

namespace satchel::testing {

// Runs body(0) .. body(count - 1), each on its own thread, all let go at the same moment.
void RunTogether(size_t count, const std::function<void(size_t)>& body);

// Looks at a condition again and again until it holds. For what can only be watched from outside
// (a counter of another process); where an event can be waited for, wait for that.
bool Eventually(const std::function<bool()>& holds, std::chrono::milliseconds patience = kPatience);

// The opposite: the condition must hold all the while.
bool Always(const std::function<bool()>& holds, std::chrono::milliseconds time);

// Lets time pass that the protocol counts in whole seconds (ages, windows). Never a substitute
// for waiting on an event.
void PassTime(std::chrono::milliseconds time);

}  // namespace satchel::testing
