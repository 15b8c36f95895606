#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/body_file.h"

namespace satchel::cache {

// The bytes of a complete body: immutable, without transfer coding, shared by every reader. One
// allocation where the length was known, else segments of at least 64 KiB. Copying a Body copies
// pointers, but for the small one that lies inside a StoredResponse. Any thread may read it.
class Body {
 public:
  using Segment = std::shared_ptr<const char[]>;

  Body() = default;
  Body(const Body& other) { Assign(other); }
  Body(Body&& other) noexcept;
  Body& operator=(const Body& other);
  Body& operator=(Body&& other) noexcept;
  ~Body() = default;

  static Body Copy(std::string_view bytes);  // one segment

  void AppendSegment(Segment bytes, size_t size);

  // Appends the bytes [offset, offset + length) of another body. Segments that are taken whole are
  // shared; parts of segments, and small ones, are copied, so that nothing unseen is kept alive.
  void Append(const Body& other, uint64_t offset, uint64_t length);

  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Fills `out` with the bytes of [offset, offset + length) and returns how many entries were
  // used; stops early when `out` is full. The views live as long as this Body or a copy of it.
  size_t Gather(uint64_t offset, uint64_t length, std::span<iovec> out) const;

  // Has the processor fetch a small body from memory before it is read. Of a large one the copying
  // hides that it comes from there.
  void Prefetch() const {
    constexpr size_t kLine = 64;
    constexpr size_t kSmall = 4096;
    if (kind_ == Kind::kPieces || size_ > kSmall) return;
    for (size_t at = 0; at < size_; at += kLine) __builtin_prefetch(bytes() + at);
  }

  // The same bytes in a file of their own; without one where BodyFile::Make refuses.
  Body InFile(const BodyFile::Limits& limits) const;
  // The descriptor of that file, whose byte 0 is the body's; -1 if there is none. Open as long as
  // this Body or a copy of it lives.
  int file() const { return kind_ == Kind::kFile ? body_file().fd() : -1; }

  std::string ToString() const;  // tests and small bodies

  // Memory held outside the object, allocator overhead not counted.
  size_t MemoryUse() const;

 private:
  friend class StoredResponse;

  struct Piece {
    Segment bytes;
    uint64_t start;
    uint64_t size;
  };
  // What `holder_` points to. The bytes of an embedded body lie in the allocation of the
  // StoredResponse that it is part of; a copy has its own.
  enum class Kind : uint8_t { kBytes, kPieces, kEmbedded, kFile };

  void Assign(const Body& other);
  void Embed(const char* bytes, size_t size);  // StoredResponse only
  const BodyFile& body_file() const { return *static_cast<const BodyFile*>(holder_.get()); }
  const char* bytes() const {
    if (kind_ == Kind::kFile) return body_file().bytes();
    return static_cast<const char*>(holder_.get());
  }
  const std::vector<Piece>& pieces() const {
    return *static_cast<const std::vector<Piece>*>(holder_.get());
  }

  std::shared_ptr<const void> holder_;
  uint64_t size_ : 62 = 0;
  Kind kind_ : 2 = Kind::kBytes;
};

}  // namespace satchel::cache
