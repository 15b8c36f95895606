#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace satchel::cache {

// The bytes of one body in a file that exists in memory alone, mapped for reading. The kernel sends
// from such a file without copying. It has one file for each body, and its pages are never written
// again: what is still on its way to a client stays whole when the file is closed. Immutable; any
// thread may read it.
class BodyFile {
 public:
  // What the kernel holds for one beside its pages, roughly: inode, open file, mapping.
  static constexpr size_t kOverhead = 2048;
  static constexpr size_t kPage = 4096;

  // Whether a body of that size is worth a file: below 32 KiB copying costs less than the extra call;
  // what a socket doesn't take at once gains little, and making a large file would hold others up.
  static bool IsWorthOne(uint64_t size) {
    return size >= (uint64_t{32} << 10) && size <= (uint64_t{512} << 10);
  }
  // How many of the times that it is sent it gets one: what is seldom asked for isn't copied in vain.
  static constexpr double kShare = 1.0 / 8;

  // For all files of the process.
  struct Limits {
    size_t files = 0;  // each has a descriptor
    size_t bytes = 0;  // of memory
  };
  // Copies the bytes. Null if one file more would exceed a limit, or the system has none.
  static std::shared_ptr<const BodyFile> Make(std::span<const iovec> pieces, const Limits& limits);

  BodyFile(int fd, const char* bytes, size_t size) : fd_(fd), bytes_(bytes), size_(size) {}
  ~BodyFile();
  BodyFile(const BodyFile&) = delete;
  BodyFile& operator=(const BodyFile&) = delete;

  int fd() const { return fd_; }
  const char* bytes() const { return bytes_; }
  size_t MemoryUse() const { return Cost(size_); }

  static size_t count();  // of those that exist in this process

 private:
  static size_t Cost(size_t size) { return (size + kPage - 1) / kPage * kPage + kOverhead; }

  int fd_;
  const char* bytes_;
  size_t size_;
};

}  // namespace satchel::cache
