#include "proxy/file_loader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;

constexpr size_t kMostMatches = 1000;

std::string Reason(int error) {
  if (error == ENOENT) return "no such file";
  std::string text = std::strerror(error);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

uint64_t Mix(uint64_t hash, std::string_view text) {
  for (const uint64_t part : {std::hash<std::string_view>()(text), text.size()}) {
    hash = (hash ^ part) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return hash;
}

uint64_t HashOf(const Result<std::string>& text) {
  return text ? Mix(1, *text) : Mix(2, text.error().message);
}

uint64_t HashOf(const Result<std::vector<std::string>>& names) {
  if (!names) return Mix(3, names.error().message);
  uint64_t hash = 4;
  for (const std::string& name : *names) hash = Mix(hash, name);
  return hash;
}

struct FdCloser {
  int fd;
  ~FdCloser() { ::close(fd); }
};

}  // namespace

Result<std::string> ReadWholeFile(const std::string& path, uint64_t max_bytes) {
  // Without O_NONBLOCK a FIFO would hang the program.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Fail(ErrorSource::kInternal, Reason(errno));
  const FdCloser closer{fd};
  struct stat info;
  if (::fstat(fd, &info) != 0) return Fail(ErrorSource::kInternal, Reason(errno));
  if (S_ISDIR(info.st_mode)) return Fail(ErrorSource::kInternal, "is a directory");
  if (!S_ISREG(info.st_mode)) return Fail(ErrorSource::kInternal, "not a regular file");
  std::string text;
  // Reads past the size that fstat told: some file systems tell none, and files grow.
  while (text.size() <= max_bytes) {
    const size_t before = text.size();
    text.resize(before + size_t{16} * 1024);
    const ssize_t n = ::read(fd, text.data() + before, text.size() - before);
    if (n < 0 && errno != EINTR) return Fail(ErrorSource::kInternal, Reason(errno));
    text.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return text;
  }
  return Fail(ErrorSource::kInternal, "longer than " + std::to_string(max_bytes) + " bytes");
}

Result<std::vector<std::string>> ListMatching(const std::string& pattern) {
  const size_t slash = pattern.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : pattern.substr(0, slash + 1);
  const std::string last = slash == std::string::npos ? pattern : pattern.substr(slash + 1);
  std::vector<std::string> paths;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), ::closedir);
  if (entries == nullptr) {
    if (errno == ENOENT) return paths;
    return Fail(ErrorSource::kInternal, Reason(errno));
  }
  while (const dirent* entry = ::readdir(entries.get())) {
    // A leading period is matched by itself only: "..data" and editors' files stay out.
    if (::fnmatch(last.c_str(), entry->d_name, FNM_PERIOD) != 0) continue;
    std::string path = (slash == std::string::npos ? std::string() : folder) + entry->d_name;
    struct stat info;
    if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) continue;
    if (paths.size() == kMostMatches) {
      return Fail(ErrorSource::kInternal,
                  "more than " + std::to_string(kMostMatches) + " files match");
    }
    paths.push_back(std::move(path));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::optional<std::string> FileLoader::Environment(const std::string& name) const {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

Result<std::string> FileLoader::ReadFile(const std::string& path, uint64_t max_bytes) const {
  auto text = ReadWholeFile(path, max_bytes);
  facts_.files[{path, max_bytes}] = HashOf(text);
  return text;
}

Result<std::vector<std::string>> FileLoader::ListFiles(const std::string& pattern) const {
  auto names = ListMatching(pattern);
  facts_.patterns[pattern] = HashOf(names);
  return names;
}

FileFacts LookAgain(const FileFacts& facts) {
  FileFacts now;
  for (const auto& [file, hash] : facts.files) {
    now.files[file] = HashOf(ReadWholeFile(file.first, file.second));
  }
  for (const auto& [pattern, hash] : facts.patterns) {
    now.patterns[pattern] = HashOf(ListMatching(pattern));
  }
  return now;
}

}  // namespace satchel::proxy
