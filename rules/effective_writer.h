#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/config.h"

namespace satchel::rules {

// How EffectiveYaml() writes YAML. Everything reads back as the same value.

inline constexpr const char* kHidden = "\"***\"";  // in place of a secret

std::string Quote(std::string_view text);
std::string List(const std::vector<std::string>& texts);
// "{a: 1, b: 2}" from what is already YAML.
std::string Map(const std::vector<std::pair<std::string, std::string>>& pairs);
std::string Templates(const std::vector<TagTemplate>& templates);
std::string Bool(bool value);

// Block style: one key per line, indented.
class Writer {
 public:
  void Line(int depth, std::string_view text) {
    out_.append(static_cast<size_t>(depth) * 2, ' ');
    out_ += text;
    out_ += '\n';
  }
  void Key(int depth, std::string_view key, std::string_view value) {
    Line(depth, std::string(key) + ": " + std::string(value));
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

// effective_clock.cc: the blocks of what is done by the clock.
void WritePurge(const PurgeConfig& purge, Writer& out);
void WriteWarmup(const std::vector<WarmupConfig>& warmup, Writer& out);

}  // namespace satchel::rules
