#include "proxy/net/heap.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace satchel::net {
namespace {

constexpr int kGrowth = 16 << 20;     // bytes at a time
constexpr int kKeptFree = 64 << 20;   // at the heap's end; more is given back
constexpr int kOwnMapping = 4 << 20;  // a block of this size or more is mapped by itself

// The end of the heap as far as it was advised.
std::atomic<char*> advised_end{nullptr};

char* EndOfHeap() { return static_cast<char*>(sbrk(0)); }

}  // namespace

void SetUpHeap() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TOP_PAD, kGrowth);
  mallopt(M_TRIM_THRESHOLD, kKeptFree);
  mallopt(M_MMAP_THRESHOLD, kOwnMapping);
  advised_end = EndOfHeap();
}

void AdviseHeap() {
  char* const end = EndOfHeap();
  char* begin = advised_end.load(std::memory_order_relaxed);
  if (end == begin || !advised_end.compare_exchange_strong(begin, end)) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t skip = -reinterpret_cast<uintptr_t>(begin) & (page - 1);
  if (end > begin + skip) {
    madvise(begin + skip, static_cast<size_t>(end - begin) - skip, MADV_HUGEPAGE);
  }
}

bool ReserveHeap(size_t bytes) {
  constexpr size_t kBlock = size_t{1} << 20;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  mallopt(M_TRIM_THRESHOLD, -1);  // what is freed stays
  std::vector<char*> blocks;
  blocks.reserve(bytes / kBlock + 1);
  for (size_t taken = 0; taken < bytes; taken += kBlock) {
    char* const block = static_cast<char*>(std::malloc(kBlock));
    if (block == nullptr) break;
    AdviseHeap();
    for (size_t at = 0; at < kBlock; at += page) static_cast<volatile char*>(block)[at] = 0;
    blocks.push_back(block);
  }
  const bool enough = blocks.size() * kBlock >= bytes;
  for (char* const block : blocks) std::free(block);
  if (enough) return true;
  mallopt(M_TRIM_THRESHOLD, kKeptFree);
  malloc_trim(0);
  return false;
}

}  // namespace satchel::net
