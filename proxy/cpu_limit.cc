#include "proxy/cpu_limit.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace satchel::proxy {
namespace {

// v1 writes "no limit" as the largest multiple of the page size that fits.
constexpr uint64_t kNoMemoryLimit = uint64_t{1} << 60;

std::optional<std::string> ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(4096, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

std::vector<std::string> ReadLines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  std::string line;
  constexpr size_t kMostLines = 10000;
  while (lines.size() < kMostLines && std::getline(file, line)) lines.push_back(line);
  return lines;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<int64_t> ParseNumber(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  const auto text = ReadSmallFile(path);
  return text ? ParseNumber(*text) : std::nullopt;
}

// One hierarchy: where it is mounted, which part of it the mount shows, and where we are in it.
struct Hierarchy {
  std::string mount_point;
  std::string mount_root;
  std::string path;

  // Folders from our own cgroup up to the top of what the mount shows.
  std::vector<std::string> Folders(const std::string& root) const {
    std::string inside = path;
    // Inside a container without a cgroup namespace the mount shows our own cgroup at its top.
    if (mount_root != "/" && inside.starts_with(mount_root)) inside.erase(0, mount_root.size());
    // "/.." stands before a cgroup outside the namespace: only the mount's top is ours to see.
    if (inside.find("..") != std::string::npos) inside.clear();
    std::vector<std::string> folders;
    while (!inside.empty() && inside != "/") {
      folders.push_back(root + mount_point + inside);
      inside.erase(inside.rfind('/'));
    }
    folders.push_back(root + mount_point);
    return folders;
  }
};

// The hierarchy of `controller`, or the unified one if that is empty.
std::optional<Hierarchy> FindHierarchy(const std::string& root, std::string_view controller) {
  Hierarchy found;
  bool have_path = false;
  for (const std::string& line : ReadLines(root + "/proc/self/cgroup")) {
    // hierarchy-id:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const auto names = Split(controllers, ',');
    const bool ours = controller.empty()
                          ? controllers.empty()
                          : std::find(names.begin(), names.end(), controller) != names.end();
    if (!ours) continue;
    found.path = line.substr(second + 1);
    have_path = true;
  }
  if (!have_path) return std::nullopt;
  for (const std::string& line : ReadLines(root + "/proc/self/mountinfo")) {
    // id parent dev root mount-point options [fields] - type source super-options
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto before = Split(std::string_view(line).substr(0, dash), ' ');
    const auto after = Split(std::string_view(line).substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    if (controller.empty()) {
      if (after[0] != "cgroup2") continue;
    } else {
      const auto options = Split(after[2], ',');
      if (after[0] != "cgroup" ||
          std::find(options.begin(), options.end(), controller) == options.end()) {
        continue;
      }
    }
    found.mount_root = before[3];
    found.mount_point = before[4];
    return found;
  }
  return std::nullopt;
}

template <typename T>
void Lower(std::optional<T>& limit, T value) {
  if (!limit || value < *limit) limit = value;
}

void ReadUnified(const std::string& root, ResourceLimits& limits) {
  const auto hierarchy = FindHierarchy(root, "");
  if (!hierarchy) return;
  for (const std::string& folder : hierarchy->Folders(root)) {
    if (const auto text = ReadSmallFile(folder + "/cpu.max")) {  // "max 100000", "150000 100000"
      const auto parts = Split(*text, ' ');
      const auto quota = ParseNumber(parts[0]);
      const auto period = parts.size() > 1 ? ParseNumber(parts[1]) : std::nullopt;
      if (quota && period && *quota > 0 && *period > 0) {
        Lower(limits.cpus, static_cast<double>(*quota) / static_cast<double>(*period));
      }
    }
    const auto memory = ReadNumber(folder + "/memory.max");  // "max" is not a number: no limit
    if (memory && *memory > 0) Lower(limits.memory_bytes, static_cast<uint64_t>(*memory));
  }
}

void ReadLegacy(const std::string& root, ResourceLimits& limits) {
  if (const auto cpu = FindHierarchy(root, "cpu")) {
    for (const std::string& folder : cpu->Folders(root)) {
      const auto quota = ReadNumber(folder + "/cpu.cfs_quota_us");  // -1: none
      const auto period = ReadNumber(folder + "/cpu.cfs_period_us");
      if (quota && period && *quota > 0 && *period > 0) {
        Lower(limits.cpus, static_cast<double>(*quota) / static_cast<double>(*period));
      }
    }
  }
  if (const auto memory = FindHierarchy(root, "memory")) {
    for (const std::string& folder : memory->Folders(root)) {
      const auto limit = ReadNumber(folder + "/memory.limit_in_bytes");
      if (limit && *limit > 0 && static_cast<uint64_t>(*limit) < kNoMemoryLimit) {
        Lower(limits.memory_bytes, static_cast<uint64_t>(*limit));
      }
    }
  }
}

}  // namespace

ResourceLimits ReadResourceLimits(const std::string& root) {
  ResourceLimits limits;
  // A hybrid system has both; controllers live in one of them, so the lower figure is the one.
  ReadUnified(root, limits);
  ReadLegacy(root, limits);
  return limits;
}

uint32_t UsableCpus(const ResourceLimits& limits) {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) count = std::max(1, CPU_COUNT(&set));
  if (limits.cpus) {
    // A quota of 1.5 CPUs is worth two threads; of 0.2 one.
    const double whole = std::ceil(std::clamp(*limits.cpus, 1.0, 4096.0));
    count = std::min(count, static_cast<int>(whole));
  }
  return static_cast<uint32_t>(count);
}

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

}  // namespace satchel::proxy
