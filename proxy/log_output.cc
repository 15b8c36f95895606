#include "proxy/log_output.h"

#include <poll.h>
#include <sched.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>

#include <cstring>

#include "proxy/line_writer.h"
#include "proxy/metrics.h"

namespace satchel::proxy {

// Runs on the logger's thread.
class LogOutput::Sink final : public spdlog::sinks::sink {
 public:
  explicit Sink(const std::string& to) : writer_(to) {}

  void log(const spdlog::details::log_msg& message) override {
    LogBatch batch;
    std::string_view payload(message.payload.data(), message.payload.size());
    if (payload.size() >= sizeof(batch)) {
      std::memcpy(&batch, payload.data(), sizeof(batch));
      payload.remove_prefix(sizeof(batch));
      if (batch.writer < kMaxWriters) {
        uint64_t& seen = seen_[batch.writer];
        if (batch.lines_before > seen) Add(dropped_, batch.lines_before - seen);
        seen = batch.lines_before + batch.lines;
      }
      Add(writer_.Write(payload) ? written_ : dropped_, batch.lines);
    }
    done_.store(done_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  void flush() override { writer_.ApplyChange(); }
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

  LineWriter& writer() { return writer_; }
  uint64_t written() const { return Read(written_); }
  uint64_t dropped() const { return Read(dropped_); }
  uint64_t done() const { return done_.load(std::memory_order_acquire); }

 private:
  LineWriter writer_;
  std::array<uint64_t, kMaxWriters> seen_{};
  Counter written_{0};
  Counter dropped_{0};
  Counter done_{0};  // batches
};

namespace {

// On a core that it shares with a worker, lines to write are no reason to interrupt a request.
void NeverPreempt() {
  const sched_param none{};
  sched_setscheduler(0, SCHED_BATCH, &none);  // of this thread; without it it works all the same
}

}  // namespace

struct LogOutput::Pool {
  explicit Pool(const std::shared_ptr<Sink>& sink)
      : threads(std::make_shared<spdlog::details::thread_pool>(kQueuedBatches, 1, NeverPreempt)),
        logger(std::make_shared<spdlog::async_logger>(
            "access", sink, threads, spdlog::async_overflow_policy::overrun_oldest)) {}
  std::shared_ptr<spdlog::details::thread_pool> threads;
  std::shared_ptr<spdlog::async_logger> logger;
};

LogOutput::LogOutput(const std::string& to)
    : sink_(std::make_shared<Sink>(to)), pool_(std::make_unique<Pool>(sink_)) {}

LogOutput::~LogOutput() { Close(std::chrono::milliseconds(0)); }

void LogOutput::Submit(std::string_view payload) {
  if (pool_ == nullptr) return;
  submitted_.fetch_add(1, std::memory_order_relaxed);
  pool_->logger->log(spdlog::source_loc{}, spdlog::level::info,
                     spdlog::string_view_t(payload.data(), payload.size()));
}

void LogOutput::Redirect(const std::string& to) {
  sink_->writer().Redirect(to);
  if (pool_ != nullptr) pool_->logger->flush();  // wakes the thread; does not wait for it
}

void LogOutput::Reopen() {
  sink_->writer().Reopen();
  if (pool_ != nullptr) pool_->logger->flush();
}

void LogOutput::Close(std::chrono::milliseconds patience) {
  if (pool_ == nullptr) return;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  // spdlog can't wait with a deadline; this happens once, at the end of the program.
  while (sink_->done() + pool_->threads->overrun_counter() < submitted_.load() &&
         std::chrono::steady_clock::now() < deadline) {
    ::poll(nullptr, 0, 1);
  }
  sink_->writer().StopWaiting();
  pool_.reset();  // joins; the queue's rest is written as far as the descriptor takes it at once
}

uint64_t LogOutput::lines_written() const { return sink_->written(); }
uint64_t LogOutput::lines_dropped() const { return sink_->dropped(); }
uint64_t LogOutput::write_errors() const { return sink_->writer().errors(); }

}  // namespace satchel::proxy
