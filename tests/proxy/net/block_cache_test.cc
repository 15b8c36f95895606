#include "proxy/net/block_cache.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <vector>

namespace satchel::net {
namespace {

TEST(BlockCacheTest, ABlockThatIsGivenBackIsGivenOutAgainForSizesOfItsClass) {
  const BlockCache::Use use;
  BlockCache& cache = *BlockCache::OfThread();
  const size_t size_class = BlockCache::ClassOf(100);
  EXPECT_EQ(cache.Take(size_class), nullptr);
  void* const a = std::malloc(BlockCache::SizeOf(size_class));
  void* const b = std::malloc(BlockCache::SizeOf(size_class));
  EXPECT_TRUE(cache.Give(a, size_class));
  EXPECT_TRUE(cache.Give(b, size_class));
  EXPECT_EQ(cache.Take(size_class + 1), nullptr);
  EXPECT_EQ(cache.Take(size_class), b) << "the warmest first";
  EXPECT_EQ(cache.Take(size_class), a);
  EXPECT_EQ(cache.Take(size_class), nullptr);
  std::free(a);
  std::free(b);
}

TEST(BlockCacheTest, EverySizeFitsItsClassAndNoClassWastesWhatMallocWouldNot) {
  for (size_t size = 0; size <= BlockCache::kLargest; ++size) {
    const size_t size_class = BlockCache::ClassOf(size);
    ASSERT_LT(size_class, BlockCache::kClasses);
    ASSERT_GE(BlockCache::SizeOf(size_class), size);
    if (size >= 24) ASSERT_LT(BlockCache::SizeOf(size_class) - size, 16u);
    ASSERT_EQ(BlockCache::ClassOf(BlockCache::SizeOf(size_class)), size_class);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  for (const size_t size : {24u, 40u, 1448u, 2040u}) {
    void* const block = std::malloc(size);
    EXPECT_EQ(malloc_usable_size(block), size);
    std::free(block);
  }
#endif
}

TEST(BlockCacheTest, NoMoreIsKeptThanTheLimits) {
  const BlockCache::Use use;
  BlockCache& cache = *BlockCache::OfThread();
  for (const size_t size : {size_t{24}, BlockCache::kLargest}) {
    const size_t size_class = BlockCache::ClassOf(size);
    size_t kept = 0;
    for (;; ++kept) {
      void* const block = std::malloc(BlockCache::SizeOf(size_class));
      if (cache.Give(block, size_class)) continue;
      std::free(block);
      break;
    }
    EXPECT_EQ(kept, std::min(BlockCache::kMostBlocks,
                             BlockCache::kMostBytes / BlockCache::SizeOf(size_class)));
  }
}

TEST(BlockCacheTest, EachThreadHasItsOwnAndOnlyWhileItUsesOne) {
  EXPECT_EQ(BlockCache::OfThread(), nullptr);
  const BlockCache::Use use;
  BlockCache* const mine = BlockCache::OfThread();
  ASSERT_NE(mine, nullptr);
  void* const block = std::malloc(BlockCache::SizeOf(3));
  std::thread([&] {
    EXPECT_EQ(BlockCache::OfThread(), nullptr);
    {
      const BlockCache::Use other;
      EXPECT_NE(BlockCache::OfThread(), mine);
      // Taken there, given back here, and freed at the end.
      EXPECT_TRUE(BlockCache::OfThread()->Give(block, 3));
    }
    EXPECT_EQ(BlockCache::OfThread(), nullptr);
  }).join();
  EXPECT_EQ(BlockCache::OfThread(), mine);
}

}  // namespace
}  // namespace satchel::net
