#pragma once

// A program run by a test: its output is collected while it runs, its end is waited for.

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/net_io.h"

namespace satchel::testing {

// A private folder, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path(const std::string& file = "") const;
  // Writes the file and returns its path.
  std::string Write(const std::string& file, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

// Replaced as a deployment would do it: written aside, then renamed.
void ReplaceFile(const std::string& path, const std::string& text);

class ChildProcess {
 public:
  // kHeldBack: nobody reads its stdout before it has ended.
  enum class Output { kRead, kHeldBack };

  // Starts argv[0] with the given additions to the environment ("NAME=value").
  explicit ChildProcess(const std::vector<std::string>& argv,
                        const std::vector<std::string>& environment = {},
                        const std::string& folder = "", Output output = Output::kRead);
  // Kills what still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  bool Signal(int signal);
  bool Running();
  // After SIGSTOP: none of its threads runs any more.
  bool Stopped() const;
  // The exit code, or 128 + signal as a shell shows it. Nothing if it still runs at the deadline.
  std::optional<int> WaitForExit(std::chrono::milliseconds patience = kPatience);

  std::string out() const;
  std::string err() const;
  // Waits until `ready` holds for what was written so far.
  bool WaitForOutput(const std::function<bool(const std::string& out)>& ready,
                     std::chrono::milliseconds patience = kPatience);
  // Keep the last `bytes` of the output only; for long runs.
  void KeepAtMost(size_t bytes);

  // From /proc; 0 when the process is gone.
  uint64_t ResidentBytes() const;
  uint64_t MostResidentBytes() const;  // since its start
  size_t OpenDescriptors() const;

 private:
  void Collect(int fd, std::string* into);

  pid_t pid_ = -1;
  UniqueFd exited_;  // a pidfd: readable at the end
  std::optional<int> status_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  size_t keep_ = std::string::npos;
  std::string out_;
  std::string err_;
  int open_pipes_ = 2;
  UniqueFd out_pipe_;
  UniqueFd err_pipe_;
  UniqueFd stop_;
  std::thread out_reader_;
  std::thread err_reader_;
};

struct CommandResult {
  int status = -1;  // -1: did not end in time
  std::string out;
  std::string err;
};

CommandResult RunCommand(const std::vector<std::string>& argv,
                         const std::vector<std::string>& environment = {},
                         const std::string& folder = "");

// How much a process may grow where it should stay within `bytes`. A sanitizer keeps freed memory
// back and puts guards around the rest: its runs set SATCHEL_MEMORY_FACTOR.
uint64_t MemoryAllowance(uint64_t bytes);

}  // namespace satchel::testing
