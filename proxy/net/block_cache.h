#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace satchel::net {

// Freed blocks of memory of one thread, kept by size to be given out again: a request makes and
// frees some forty small objects, and with dozens of requests under way malloc's own lists of seven
// blocks for each size do not reach. It knows nothing of what the blocks held and writes nothing
// into them. A block may be given back to another thread's cache than it was taken from. A thread
// that does not Use() one has none.
class BlockCache {
 public:
  // The calling thread's, from here to the end of the object. Not to be nested.
  class Use {
   public:
    Use();
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    BlockCache* const cache_;
  };
  static BlockCache* OfThread() { return of_thread_; }

  static constexpr size_t kLargest = 2040;                 // bytes
  static constexpr size_t kMostBlocks = 256;               // of one class
  static constexpr size_t kMostBytes = size_t{128} << 10;  // of one class
  static constexpr size_t kClasses = (kLargest + 7) / 16 + 1;

  // Classes end where malloc's do: 24, 40, 56 bytes and so on.
  static constexpr size_t ClassOf(size_t size) { return size <= 24 ? 1 : (size + 7) / 16; }
  static constexpr size_t SizeOf(size_t size_class) { return 16 * size_class + 8; }

  // A block of SizeOf(size_class) bytes, or null.
  void* Take(size_t size_class) {
    uint16_t& count = counts_[size_class];
    return count == 0 ? nullptr : blocks_[size_class][--count];
  }
  // Takes over a block that malloc gave for so many bytes at least. False: full.
  bool Give(void* block, size_t size_class) {
    uint16_t& count = counts_[size_class];
    if (count == Most(size_class)) return false;
    blocks_[size_class][count++] = block;
    return true;
  }

 private:
  BlockCache() = default;
  ~BlockCache();

  static constexpr size_t Most(size_t size_class) {
    const size_t most = kMostBytes / SizeOf(size_class);
    return most < kMostBlocks ? most : kMostBlocks;
  }

  // Apart, so that of the room for pointers only what is used is ever touched.
  uint16_t counts_[kClasses] = {};
  void* blocks_[kClasses][kMostBlocks];
  static constinit thread_local BlockCache* of_thread_;
};

}  // namespace satchel::net
