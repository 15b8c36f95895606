#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace satchel::rules {

// One YAML document as a tree of ours: every node knows its place, duplicate keys survive to be
// reported, and limits hold while it is built.
struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  uint32_t line = 1;    // both 1-based
  uint32_t column = 1;  // in bytes
  uint32_t height = 1;  // levels below and including this one
  uint32_t weight = 1;  // nodes, aliases expanded
  std::string text;     // of a scalar
  // Items of a list, or keys and values of a map in turn.
  std::vector<std::shared_ptr<const YamlNode>> items;

  size_t pairs() const { return items.size() / 2; }
};

struct YamlMistake {
  uint32_t line = 0;
  uint32_t column = 0;
  std::string what;
};

constexpr uint32_t kMaxYamlDepth = 32;
constexpr uint32_t kMaxYamlNodes = 100'000;  // aliases expanded

// Parses a text that holds exactly one document. Never throws and never recurses deeper than the
// limits above, whatever the bytes. An empty text is a node of kind kNull.
std::expected<std::shared_ptr<const YamlNode>, YamlMistake> ParseYaml(std::string_view text);

}  // namespace satchel::rules
