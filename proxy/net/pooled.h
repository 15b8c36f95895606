#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace satchel::net {

// Gives a class memory from a short list of its own freed objects, one list for each thread. For
// objects made and freed once for each request: what malloc does for blocks of their size costs
// more than the rest of their life. Freed on another thread, memory joins that thread's list.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
template <typename T>
class Pooled {};  // sanitizers must see each object's own memory
#else
template <typename T>
class Pooled {
 public:
  static void* operator new(size_t size) {
    std::vector<void*>& list = List().blocks;
    if (size != sizeof(T) || list.empty()) return ::operator new(size);
    void* const block = list.back();
    list.pop_back();
    return block;
  }
  static void operator delete(void* block, size_t size) {
    std::vector<void*>& list = List().blocks;
    if (size != sizeof(T) || list.size() >= kMost) {
      ::operator delete(block);
      return;
    }
    list.push_back(block);
  }

 private:
  static constexpr size_t kMost = 256;
  struct FreeList {
    std::vector<void*> blocks;
    ~FreeList() {
      for (void* block : blocks) ::operator delete(block);
    }
  };
  static FreeList& List() {
    static thread_local FreeList list;
    return list;
  }
};
#endif

}  // namespace satchel::net
