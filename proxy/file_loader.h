#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/base/result.h"
#include "rules/config_parser.h"

namespace satchel::proxy {

// What files and folders held at one moment: hashes, to be compared with those of another moment.
struct FileFacts {
  std::map<std::pair<std::string, uint64_t>, uint64_t> files;  // path and most bytes -> content
  std::map<std::string, uint64_t> patterns;                    // pattern -> names that match
  bool operator==(const FileFacts&) const = default;
};

// A whole regular file of at most `max_bytes`. The message is the reason alone.
cache::Result<std::string> ReadWholeFile(const std::string& path, uint64_t max_bytes);

// Files that match a pattern with '*' in its last part, sorted. A missing folder has none.
cache::Result<std::vector<std::string>> ListMatching(const std::string& pattern);

// The same files and patterns as they are now.
FileFacts LookAgain(const FileFacts& facts);

// The real world behind a configuration: environment and files. Remembers what it has shown, so
// that it can be watched. One thread.
class FileLoader : public rules::Loader {
 public:
  std::optional<std::string> Environment(const std::string& name) const override;
  cache::Result<std::string> ReadFile(const std::string& path, uint64_t max_bytes) const override;
  cache::Result<std::vector<std::string>> ListFiles(const std::string& pattern) const override;

  // Everything asked for, readable or not.
  const FileFacts& facts() const { return facts_; }

 private:
  mutable FileFacts facts_;
};

}  // namespace satchel::proxy
