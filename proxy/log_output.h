#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace satchel::proxy {

// Precedes the lines of a batch, so that the far end can tell how many were lost before it.
struct LogBatch {
  uint32_t writer = 0;
  uint32_t lines = 0;         // in this batch
  uint64_t lines_before = 0;  // by the same writer, in all earlier batches
};

// Where lines go: a descriptor that may be slow, full or closed. A spdlog asynchronous logger with
// a bounded queue, oldest batches dropped first, stands before it; its thread waits for the
// descriptor, nobody else does. Any thread may hand over lines.
class LogOutput {
 public:
  static constexpr size_t kQueuedBatches = 256;
  static constexpr uint32_t kMaxWriters = 256;

  // `to`: "stdout", "stderr" or the path of a file to append to. A file that can't be opened is
  // tried again at Reopen() and its lines are counted as dropped meanwhile.
  explicit LogOutput(const std::string& to);
  // Waits for the queue for at most the time given to Close(), which it calls if need be.
  ~LogOutput();
  LogOutput(const LogOutput&) = delete;
  LogOutput& operator=(const LogOutput&) = delete;

  // `payload`: a LogBatch in its bytes, then whole lines.
  void Submit(std::string_view payload);
  // Opens the file anew (log rotation). Nothing for stdout and stderr.
  void Reopen();
  // Another destination from the next batch on.
  void Redirect(const std::string& to);
  // Writes out what is queued, but gives up after `patience`. Submit() does nothing afterwards.
  void Close(std::chrono::milliseconds patience);

  uint64_t lines_written() const;
  uint64_t lines_dropped() const;  // overrun or not writable
  uint64_t write_errors() const;

 private:
  class Sink;
  std::shared_ptr<Sink> sink_;
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace satchel::proxy
