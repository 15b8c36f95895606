#include "proxy/net/block_cache.h"

#include <utility>

namespace satchel::net {

constinit thread_local BlockCache* BlockCache::of_thread_ = nullptr;

BlockCache::Use::Use() : cache_(new BlockCache) { of_thread_ = cache_; }

BlockCache::Use::~Use() {
  of_thread_ = nullptr;
  delete cache_;
}

BlockCache::~BlockCache() {
  for (size_t i = 0; i < kClasses; ++i) {
    while (counts_[i] > 0) std::free(blocks_[i][--counts_[i]]);
  }
}

}  // namespace satchel::net
