// Each worker's freed blocks are kept for its next requests, and the heap is watched as it grows. Not
// part of builds with sanitizers, which have to see each block come and go.
#include <cstdlib>
#include <new>

#include "proxy/net/block_cache.h"
#include "proxy/net/heap.h"

namespace {

using satchel::net::BlockCache;

void* Allocate(std::size_t size) {
  for (;;) {
    if (void* const block = std::malloc(size)) {
      satchel::net::AdviseHeap();
      return block;
    }
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

}  // namespace

void* operator new(std::size_t size) {
  if (size > BlockCache::kLargest) return Allocate(size);
  const std::size_t size_class = BlockCache::ClassOf(size);
  if (BlockCache* const cache = BlockCache::OfThread()) {
    if (void* const block = cache->Take(size_class)) return block;
  }
  return Allocate(BlockCache::SizeOf(size_class));
}

void operator delete(void* block) noexcept { std::free(block); }

void operator delete(void* block, std::size_t size) noexcept {
  if (size <= BlockCache::kLargest && block != nullptr) {
    BlockCache* const cache = BlockCache::OfThread();
    if (cache != nullptr && cache->Give(block, BlockCache::ClassOf(size))) return;
  }
  std::free(block);
}
