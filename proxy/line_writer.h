#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "proxy/metrics.h"

namespace satchel::proxy {

// Writes to a descriptor that may be slow, full or closed. One thread writes and waits; any other
// may tell it to change the destination or to stop waiting, and never waits itself.
class LineWriter {
 public:
  // `to`: "stdout", "stderr" or the path of a file to append to.
  explicit LineWriter(const std::string& to);
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // The writing thread. False: not (all) written, because of an error or because waiting ended.
  bool Write(std::string_view data);
  // The writing thread: makes a change that was asked for happen now.
  void ApplyChange();

  // Any thread.
  void Redirect(const std::string& to);
  void Reopen();       // the same file anew, after it was moved away
  void StopWaiting();  // what can't be written at once is lost from now on
  uint64_t errors() const { return Read(errors_); }

 private:
  void Open();
  void CloseOwn();
  bool WaitWritable();

  std::string to_;
  int fd_ = -1;
  bool own_ = false;        // fd_ is ours to close
  bool piecewise_ = false;  // fd_ may block on more than a small write
  Counter errors_{0};
  std::atomic<bool> waiting_allowed_{true};
  std::atomic<bool> change_asked_{false};
  std::mutex mutex_;
  std::string wanted_;  // under mutex_
};

}  // namespace satchel::proxy
