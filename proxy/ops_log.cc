#include "proxy/ops_log.h"

#include <poll.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>

#include <atomic>
#include <memory>

#include "proxy/line_writer.h"

namespace satchel::proxy {
namespace {

constexpr size_t kQueuedLines = 1024;
constexpr char kPattern[] = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";

class StderrSink final : public spdlog::sinks::sink {
 public:
  StderrSink() : writer_("stderr"), formatter_(kPattern, spdlog::pattern_time_type::utc) {}

  void log(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_.format(message, line);
    // One event is one line, whatever it quotes.
    for (size_t i = 0; i + 1 < line.size(); ++i) {
      const auto byte = static_cast<unsigned char>(line[i]);
      if (byte < 0x20 || byte == 0x7f) line[i] = '?';
    }
    writer_.Write(std::string_view(line.data(), line.size()));
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
  LineWriter& writer() { return writer_; }

 private:
  LineWriter writer_;
  spdlog::pattern_formatter formatter_;
};

struct Log {
  std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
  std::shared_ptr<spdlog::details::thread_pool> threads =
      std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
  std::shared_ptr<spdlog::async_logger> logger = std::make_shared<spdlog::async_logger>(
      "ops", sink, threads, spdlog::async_overflow_policy::overrun_oldest);
  ~Log() {
    sink->writer().StopWaiting();
    threads.reset();  // joins; the logger holds it weakly
  }
};

Log& TheLog() {
  static Log log;
  return log;
}

spdlog::level::level_enum LevelOf(rules::LogLevel level) {
  switch (level) {
    case rules::LogLevel::kTrace:
      return spdlog::level::trace;
    case rules::LogLevel::kDebug:
      return spdlog::level::debug;
    case rules::LogLevel::kInfo:
      return spdlog::level::info;
    case rules::LogLevel::kWarn:
      return spdlog::level::warn;
    case rules::LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

spdlog::logger& OpsLog() { return *TheLog().logger; }

void SetOpsLogLevel(rules::LogLevel level) { TheLog().logger->set_level(LevelOf(level)); }

void StopOpsLog(std::chrono::milliseconds patience) {
  Log& log = TheLog();
  if (log.threads == nullptr) return;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (log.threads->queue_size() > 0 && std::chrono::steady_clock::now() < deadline) {
    ::poll(nullptr, 0, 1);
  }
  log.logger->set_level(spdlog::level::off);
  log.sink->writer().StopWaiting();
  log.threads.reset();
}

}  // namespace satchel::proxy
