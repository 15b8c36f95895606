#include "proxy/net/heap.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace satchel::net {
namespace {

// Sanitizers have an allocator of their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

long PageFaults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// The flags of the last mapping of the heap.
std::string FlagsOfHeap() {
  std::ifstream maps("/proc/self/smaps");
  std::string flags;
  bool heap = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') != std::string::npos && line.find(':') > line.find('-')) {
      heap = line.ends_with("[heap]");
    }
    if (heap && line.starts_with("VmFlags:")) flags = line + " ";
  }
  return flags;
}

std::vector<void*> Fill(size_t bytes) {
  std::vector<void*> blocks;
  for (size_t taken = 0; taken < bytes; taken += 1448) {
    blocks.push_back(std::malloc(1448));
    std::memset(blocks.back(), 1, 1448);
  }
  return blocks;
}

TEST(HeapTest, WhatIsReservedCostsNoPageFaultsLater) {
  SetUpHeap();
  constexpr size_t kBytes = size_t{48} << 20;
  ASSERT_TRUE(ReserveHeap(kBytes));
  const long before = PageFaults();
  const std::vector<void*> blocks = Fill(kBytes - (size_t{2} << 20));
  EXPECT_LT(PageFaults() - before, 1000) << "of 11,000 pages; the list's own are among them";
  for (void* block : blocks) std::free(block);
}

TEST(HeapTest, WhereTheHeapGrowsItAsksForHugePagesIfTheSystemHasThem) {
  const bool has_them = std::filesystem::exists("/sys/kernel/mm/transparent_hugepage");
  SetUpHeap();
  std::vector<void*> blocks;
  const char* const end = static_cast<char*>(sbrk(0));
  while (static_cast<char*>(sbrk(0)) <= end) blocks.push_back(std::malloc(1448));
  EXPECT_EQ(FlagsOfHeap().find(" hg "), std::string::npos);
  AdviseHeap();
  EXPECT_EQ(FlagsOfHeap().find(" hg ") != std::string::npos, has_them) << FlagsOfHeap();
  for (void* block : blocks) std::free(block);
}

TEST(HeapTest, WhatThereIsNotIsNotReserved) {
  rlimit limit{};
  getrlimit(RLIMIT_DATA, &limit);
  const rlimit small{.rlim_cur = size_t{64} << 20, .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_DATA, &small);
  EXPECT_FALSE(ReserveHeap(size_t{256} << 20));
  setrlimit(RLIMIT_DATA, &limit);
  EXPECT_TRUE(ReserveHeap(size_t{1} << 20));
}

#endif

}  // namespace
}  // namespace satchel::net
