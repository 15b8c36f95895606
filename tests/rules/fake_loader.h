#pragma once

#include <map>
#include <string>
#include <vector>

#include "rules/config_parser.h"

namespace satchel::rules {

// Environment and files in memory.
class FakeLoader : public Loader {
 public:
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> files;

  std::optional<std::string> Environment(const std::string& name) const override {
    const auto at = environment.find(name);
    if (at == environment.end()) return std::nullopt;
    return at->second;
  }

  cache::Result<std::string> ReadFile(const std::string& path, uint64_t max_bytes) const override {
    const auto at = files.find(path);
    if (at == files.end()) return cache::Fail(cache::ErrorSource::kInternal, "no such file");
    if (at->second.size() > max_bytes) {
      return cache::Fail(cache::ErrorSource::kInternal, "the file is too large");
    }
    return at->second;
  }

  // A '*' in the last part stands for any run of characters before its end.
  cache::Result<std::vector<std::string>> ListFiles(const std::string& pattern) const override {
    std::vector<std::string> found;
    const size_t star = pattern.find('*');
    for (const auto& [name, text] : files) {
      const bool match = star == std::string::npos ? name == pattern
                                                   : name.starts_with(pattern.substr(0, star)) &&
                                                         name.ends_with(pattern.substr(star + 1));
      if (match) found.push_back(name);
    }
    return found;
  }
};

// The errors of a text, one per line, as `satchel check` prints them.
inline std::string ErrorsOf(std::string_view text, const FakeLoader& loader = {}) {
  const ParseResult result = ParseConfig(text, "rules.yaml", loader);
  std::string lines;
  for (const Diagnostic& error : result.errors) lines += error.ToString() + "\n";
  if (result.config.has_value() != result.errors.empty()) lines += "config and errors disagree\n";
  return lines;
}

// The configuration of a text that must be good.
Config MustParse(std::string_view text, const FakeLoader& loader = {});

// Listener and upstream lines for texts that are about something else.
inline constexpr std::string_view kFrame =
    "version: 1\n"
    "listeners: [{name: web, address: \":8080\"}]\n"
    "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n";

inline std::string Framed(std::string_view rest) { return std::string(kFrame) + std::string(rest); }

}  // namespace satchel::rules
