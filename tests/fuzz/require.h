#pragma once

// What a fuzz target holds to be always true.

#include <cstdlib>

inline void Require(bool condition) {
  if (!condition) std::abort();
}
