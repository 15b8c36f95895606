#pragma once

#include <functional>
#include <mutex>
#include <vector>

namespace satchel::net {

// The one door into a worker for other threads: a locked vector and an eventfd. Messages run on
// the worker in the order of posting. Messages left when the mailbox goes are destroyed unrun.
class Mailbox {
 public:
  using Message = std::function<void()>;

  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void Post(Message message);  // any thread
  void Drain();                // the owner: runs what has been posted so far
  int fd() const { return fd_; }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<Message> messages_;
  bool signalled_ = false;
};

}  // namespace satchel::net
