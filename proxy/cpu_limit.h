#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace satchel::proxy {

// What the process may use. Absent = no limit found.
struct ResourceLimits {
  std::optional<double> cpus;            // the cgroup's quota divided by its period
  std::optional<uint64_t> memory_bytes;  // the lowest limit on the way up to the root
};

// Reads cgroup v2, or v1 where v2 has no controllers, from the mounts listed in /proc/self. Every
// ancestor counts, because its limit holds for us too. `root` stands before absolute paths, so
// that a test can bring its own files; "" for the real ones. Files that can't be read or parsed
// set no limit.
ResourceLimits ReadResourceLimits(const std::string& root = "");

// The CPUs of the affinity mask, or the quota rounded up if that is less. At least 1.
uint32_t UsableCpus(const ResourceLimits& limits);

// Raises the soft limit of open files to the hard one; returns what holds now.
uint64_t RaiseDescriptorLimit();

}  // namespace satchel::proxy
