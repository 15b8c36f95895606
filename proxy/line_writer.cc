#include "proxy/line_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace satchel::proxy {
namespace {

// A pipe that poll() calls writable takes at least this much without blocking.
constexpr size_t kSafeWrite = 4096;
constexpr int kPollMs = 50;

}  // namespace

LineWriter::LineWriter(const std::string& to) : to_(to), wanted_(to) { Open(); }

LineWriter::~LineWriter() { CloseOwn(); }

void LineWriter::CloseOwn() {
  if (own_) ::close(fd_);
  fd_ = -1;
  own_ = false;
}

void LineWriter::Open() {
  piecewise_ = false;
  if (to_ != "stdout" && to_ != "stderr") {
    fd_ = ::open(to_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    own_ = fd_ >= 0;
    if (!own_) Add(errors_);
    return;
  }
  fd_ = to_ == "stdout" ? STDOUT_FILENO : STDERR_FILENO;
  struct stat info;
  if (::fstat(fd_, &info) != 0 || S_ISREG(info.st_mode)) return;
  // O_NONBLOCK on the inherited descriptor would reach everybody who shares it. Opening it anew
  // gives one of our own; where that is refused, small pieces after poll() do not block.
  const std::string again = "/proc/self/fd/" + std::to_string(fd_);
  const int own = ::open(again.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (own >= 0) {
    fd_ = own;
    own_ = true;
  } else {
    piecewise_ = true;
  }
}

void LineWriter::Redirect(const std::string& to) {
  const std::lock_guard lock(mutex_);
  if (wanted_ == to) return;
  wanted_ = to;
  change_asked_.store(true, std::memory_order_release);
}

void LineWriter::Reopen() {
  const std::lock_guard lock(mutex_);
  if (wanted_ == "stdout" || wanted_ == "stderr") return;
  change_asked_.store(true, std::memory_order_release);
}

void LineWriter::StopWaiting() { waiting_allowed_.store(false, std::memory_order_relaxed); }

void LineWriter::ApplyChange() {
  if (!change_asked_.exchange(false, std::memory_order_acq_rel)) return;
  {
    const std::lock_guard lock(mutex_);
    to_ = wanted_;
  }
  CloseOwn();
  Open();
}

bool LineWriter::Write(std::string_view data) {
  ApplyChange();
  if (fd_ < 0) {
    // A file whose folder was missing may have become possible.
    Open();
    if (fd_ < 0) return false;
  }
  while (!data.empty()) {
    if (piecewise_ && !WaitWritable()) return false;
    const size_t piece = piecewise_ ? std::min(data.size(), kSafeWrite) : data.size();
    const ssize_t n = ::write(fd_, data.data(), piece);
    if (n > 0) {
      data.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!WaitWritable()) return false;
    } else if (n < 0 && errno != EINTR) {
      Add(errors_);  // EPIPE, ENOSPC, ...: these lines are lost, later ones are tried again
      return false;
    }
  }
  return true;
}

bool LineWriter::WaitWritable() {
  while (true) {
    pollfd entry{fd_, POLLOUT, 0};
    const bool may_wait = waiting_allowed_.load(std::memory_order_relaxed);
    const int ready = ::poll(&entry, 1, may_wait ? kPollMs : 0);
    if (ready > 0) return true;  // an error shows itself in write()
    if (ready < 0 && errno != EINTR) return false;
    if (!may_wait || change_asked_.load(std::memory_order_acquire)) return false;
  }
}

}  // namespace satchel::proxy
