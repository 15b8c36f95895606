#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace satchel::cache {

// The bytes of a complete body: immutable, without transfer coding, shared by every reader. One
// allocation where the length was known, else segments of at least 64 KiB. Copying a Body copies
// pointers. Any thread may read it.
class Body {
 public:
  using Segment = std::shared_ptr<const char[]>;

  Body() = default;
  static Body Copy(std::string_view bytes);  // one segment

  void AppendSegment(Segment bytes, size_t size);

  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Fills `out` with the bytes of [offset, offset + length) and returns how many entries were
  // used; stops early when `out` is full. The views live as long as this Body or a copy of it.
  size_t Gather(uint64_t offset, uint64_t length, std::span<iovec> out) const;

  std::string ToString() const;  // tests and small bodies

  // Memory held, allocator overhead not counted.
  size_t MemoryUse() const;

 private:
  struct Piece {
    Segment bytes;
    uint64_t start;
    uint64_t size;
  };
  std::vector<Piece> pieces_;
  uint64_t size_ = 0;
};

}  // namespace satchel::cache
