#include "proxy/net/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace satchel::net {

Mailbox::Mailbox() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Mailbox::~Mailbox() { close(fd_); }

void Mailbox::Post(Message message) {
  {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
    if (std::exchange(signalled_, true)) return;
  }
  const uint64_t one = 1;
  // Can only fail with EAGAIN at 2^64 - 1, when the fd is readable anyway.
  [[maybe_unused]] const ssize_t n = write(fd_, &one, sizeof one);
}

void Mailbox::Drain() {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(fd_, &count, sizeof count);
  std::vector<Message> batch;
  {
    const std::lock_guard lock(mutex_);
    batch.swap(messages_);
    signalled_ = false;
  }
  for (Message& message : batch) {
    message();
    message = nullptr;  // what it holds goes now, not when the batch ends
  }
}

}  // namespace satchel::net
