#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "rules/config.h"

namespace satchel::rules {

// What the parser asks of the world. Paths arrive joined to the folder of the file that names
// them.
class Loader {
 public:
  virtual ~Loader() = default;
  // Nothing if the variable is not set.
  virtual std::optional<std::string> Environment(const std::string& name) const = 0;
  // The whole file; fails if it is longer than `max_bytes`. The message is the reason alone, for
  // example "no such file".
  virtual cache::Result<std::string> ReadFile(const std::string& path,
                                              uint64_t max_bytes) const = 0;
  // Files that match a pattern with '*' in its last part, sorted by name.
  virtual cache::Result<std::vector<std::string>> ListFiles(const std::string& pattern) const = 0;
};

// One mistake or warning.
struct Diagnostic {
  std::string file;
  uint32_t line = 0;    // 1-based; 0 = concerns the whole file
  uint32_t column = 0;  // 1-based; 0 = the whole line
  std::string path;     // for example "rules[2].cache.ttl"; empty at the top
  std::string what;     // what is wrong; what to write instead

  // file:line:column: path: what
  std::string ToString() const;
};

struct ParseResult {
  std::optional<Config> config;  // set if and only if there are no errors
  std::vector<Diagnostic> errors;
  std::vector<Diagnostic> warnings;  // those of CheckConfig() too
};

constexpr uint64_t kMaxConfigBytes = 1 << 20;  // per file
constexpr uint64_t kMaxSecretBytes = 64 << 10;

// Parses and checks one configuration with all that it includes. Never throws, whatever the bytes;
// reports all mistakes at once, in the order of the file.
ParseResult ParseConfig(std::string_view text, const std::string& file_name, const Loader& loader);

// The configuration of `satchel run --listen A --upstream B [--redis URL]`. `redis` may be empty.
// Diagnostics name the option instead of a file.
ParseResult MakeSimpleConfig(std::string_view listen, std::string_view upstream,
                             std::string_view redis);

}  // namespace satchel::rules
