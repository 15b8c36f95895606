#include "cache/body_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <vector>

namespace satchel::cache {
namespace {

std::atomic<size_t> files{0};
std::atomic<size_t> bytes_in_files{0};

// Hardened systems refuse files that could be executed; kernels before 6.3 don't know the flag.
int OpenMemory() {
  constexpr unsigned kNoExec = 8;  // MFD_NOEXEC_SEAL
  const int fd = memfd_create("satchel body", MFD_CLOEXEC | kNoExec);
  return fd >= 0 || errno != EINVAL ? fd : memfd_create("satchel body", MFD_CLOEXEC);
}

// Everything, from the beginning of the file on.
bool WriteAll(int fd, std::span<const iovec> pieces) {
  std::vector<iovec> left(pieces.begin(), pieces.end());
  size_t first = 0;
  while (first < left.size()) {
    const size_t count = std::min<size_t>(left.size() - first, 64);
    ssize_t n = writev(fd, left.data() + first, static_cast<int>(count));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    for (; first < left.size() && static_cast<size_t>(n) >= left[first].iov_len; ++first) {
      n -= static_cast<ssize_t>(left[first].iov_len);
    }
    if (n > 0) {
      left[first].iov_base = static_cast<char*>(left[first].iov_base) + n;
      left[first].iov_len -= static_cast<size_t>(n);
    }
  }
  return true;
}

}  // namespace

std::shared_ptr<const BodyFile> BodyFile::Make(std::span<const iovec> pieces,
                                               const Limits& limits) {
  size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  if (size == 0) return nullptr;
  int fd = -1;
  void* bytes = MAP_FAILED;
  const size_t cost = Cost(size);
  const bool few = files.fetch_add(1, std::memory_order_relaxed) < limits.files;
  const bool small =
      bytes_in_files.fetch_add(cost, std::memory_order_relaxed) + cost <= limits.bytes;
  if (few && small) {
    fd = OpenMemory();
    if (fd >= 0 && WriteAll(fd, pieces)) {
      bytes = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    }
  }
  if (bytes == MAP_FAILED) {
    if (fd >= 0) close(fd);
    files.fetch_sub(1, std::memory_order_relaxed);
    bytes_in_files.fetch_sub(cost, std::memory_order_relaxed);
    return nullptr;
  }
  return std::make_shared<const BodyFile>(fd, static_cast<const char*>(bytes), size);
}

BodyFile::~BodyFile() {
  munmap(const_cast<char*>(bytes_), size_);
  close(fd_);
  files.fetch_sub(1, std::memory_order_relaxed);
  bytes_in_files.fetch_sub(Cost(size_), std::memory_order_relaxed);
}

size_t BodyFile::count() { return files.load(std::memory_order_relaxed); }

}  // namespace satchel::cache
