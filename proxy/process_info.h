#pragma once

#include <cstdint>

namespace satchel::proxy {

// What the kernel says about this process. Zero where it says nothing.
struct ProcessInfo {
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t open_descriptors = 0;
  uint64_t max_descriptors = 0;
  uint64_t threads = 0;
  double cpu_seconds = 0;
};

ProcessInfo ReadProcessInfo();

}  // namespace satchel::proxy
