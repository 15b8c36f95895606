#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace satchel::proxy {

// Precedes the lines of a batch, so that the far end can tell how many were lost before it.
struct LogBatch {
  uint32_t writer = 0;
  uint32_t lines = 0;         // in this batch
  uint64_t lines_before = 0;  // by the same writer, in all earlier batches
};

// Where access log lines go. A spdlog asynchronous logger with a bounded queue, oldest batches
// dropped first, stands before the descriptor; its thread waits for it, nobody else does.
class LogOutput {
 public:
  static constexpr size_t kQueuedBatches = 256;
  static constexpr uint32_t kMaxWriters = 256;

  // `to`: "stdout", "stderr" or the path of a file to append to. While a file can't be opened its
  // lines are counted as dropped.
  explicit LogOutput(const std::string& to);
  ~LogOutput();  // Close() without patience
  LogOutput(const LogOutput&) = delete;
  LogOutput& operator=(const LogOutput&) = delete;

  // `payload`: a LogBatch in its bytes, then whole lines. Any thread.
  void Submit(std::string_view payload);

  void Redirect(const std::string& to);  // any thread; from the next batch on
  void Reopen();                         // any thread; after log rotation
  // Writes out what is queued, but gives up after `patience`. Nobody may Submit() any more.
  void Close(std::chrono::milliseconds patience);

  // Any thread. A line counts as dropped when it was pushed out of the queue or not writable.
  uint64_t lines_written() const;
  uint64_t lines_dropped() const;
  uint64_t write_errors() const;

 private:
  class Sink;
  struct Pool;
  std::shared_ptr<Sink> sink_;
  std::unique_ptr<Pool> pool_;
  std::atomic<uint64_t> submitted_{0};
};

}  // namespace satchel::proxy
