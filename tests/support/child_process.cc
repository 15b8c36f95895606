#include "tests/support/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

namespace satchel::testing {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "satchel-test-XXXXXX").string();
  if (::mkdtemp(name.data()) != nullptr) path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::path(const std::string& file) const {
  return file.empty() ? path_.string() : (path_ / file).string();
}

std::string TempDir::Write(const std::string& file, const std::string& text) const {
  std::filesystem::path full = path_ / file;
  std::filesystem::create_directories(full.parent_path());
  std::ofstream(full, std::ios::binary) << text;
  return full.string();
}

void ReplaceFile(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new", std::ios::binary) << text;
  std::filesystem::rename(path + ".new", path);
}

ChildProcess::ChildProcess(const std::vector<std::string>& argv,
                           const std::vector<std::string>& environment, const std::string& folder,
                           Output output) {
  int out[2];
  int err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) return;
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  // Only what is safe between fork and exec in a program with threads.
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  for (const std::string& variable : environment) {
    variables.insert(variables.begin(), const_cast<char*>(variable.c_str()));
  }
  variables.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    if (!folder.empty() && ::chdir(folder.c_str()) != 0) ::_exit(126);
    ::execve(arguments[0], arguments.data(), variables.data());
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);
  out_pipe_.Reset(out[0]);
  err_pipe_.Reset(err[0]);
  stop_.Reset(::eventfd(0, EFD_CLOEXEC));
  exited_.Reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  out_reader_ = std::thread([this, output] {
    if (output == Output::kHeldBack) {
      WaitFor(exited_.get(), POLLIN, Deadline::In(std::chrono::hours(1)), stop_.get());
    }
    Collect(out_pipe_.get(), &out_);
  });
  err_reader_ = std::thread([this] { Collect(err_pipe_.get(), &err_); });
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0) return;
  if (Running()) {
    Signal(SIGKILL);
    WaitForExit();
  }
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  out_reader_.join();
  err_reader_.join();
}

void ChildProcess::Collect(int fd, std::string* into) {
  std::string piece(64 * 1024, '\0');
  while (WaitFor(fd, POLLIN, Deadline::In(std::chrono::hours(1)), stop_.get())) {
    ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    std::lock_guard lock(mutex_);
    into->append(piece, 0, static_cast<size_t>(got));
    if (into->size() > keep_ + keep_ / 2) into->erase(0, into->size() - keep_);
    changed_.notify_all();
  }
  std::lock_guard lock(mutex_);
  --open_pipes_;
  changed_.notify_all();
}

bool ChildProcess::Signal(int signal) { return pid_ > 0 && !status_ && ::kill(pid_, signal) == 0; }

bool ChildProcess::Stopped() const {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(
           "/proc/" + std::to_string(pid_) + "/task", error)) {
    std::ifstream stat(task.path() / "stat");
    std::string id, name, state;
    if (stat >> id >> name >> state && state != "T") return false;
  }
  return !error;
}

bool ChildProcess::Running() { return pid_ > 0 && !WaitForExit(std::chrono::milliseconds(0)); }

std::optional<int> ChildProcess::WaitForExit(std::chrono::milliseconds patience) {
  if (status_ || pid_ <= 0) return status_;
  if (!WaitFor(exited_.get(), POLLIN, Deadline::In(patience))) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, 0) == pid_) {
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // What it wrote last is still in the pipes.
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [this] { return open_pipes_ == 0; });
  return status_;
}

std::string ChildProcess::out() const {
  std::lock_guard lock(mutex_);
  return out_;
}

std::string ChildProcess::err() const {
  std::lock_guard lock(mutex_);
  return err_;
}

bool ChildProcess::WaitForOutput(const std::function<bool(const std::string& out)>& ready,
                                 std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] { return ready(out_) || open_pipes_ == 0; }) &&
         ready(out_);
}

void ChildProcess::KeepAtMost(size_t bytes) {
  std::lock_guard lock(mutex_);
  keep_ = bytes;
}

uint64_t ChildProcess::ResidentBytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  uint64_t size = 0;
  uint64_t resident = 0;
  file >> size >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

uint64_t ChildProcess::MostResidentBytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
  for (std::string word; file >> word;) {
    uint64_t kib = 0;
    if (word == "VmHWM:" && file >> kib) return kib * 1024;
  }
  return 0;
}

size_t ChildProcess::OpenDescriptors() const {
  std::error_code error;
  size_t count = 0;
  for (auto it =
           std::filesystem::directory_iterator("/proc/" + std::to_string(pid_) + "/fd", error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    ++count;
  }
  return count;
}

CommandResult RunCommand(const std::vector<std::string>& argv,
                         const std::vector<std::string>& environment, const std::string& folder) {
  ChildProcess process(argv, environment, folder);
  CommandResult result;
  result.status = process.WaitForExit(std::chrono::seconds(30)).value_or(-1);
  result.out = process.out();
  result.err = process.err();
  return result;
}

uint64_t MemoryAllowance(uint64_t bytes) {
  const char* factor = std::getenv("SATCHEL_MEMORY_FACTOR");
  return factor == nullptr ? bytes : bytes * std::strtoull(factor, nullptr, 10);
}

}  // namespace satchel::testing
