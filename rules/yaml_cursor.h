#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/config_parser.h"
#include "rules/units.h"
#include "rules/yaml_tree.h"

namespace satchel::rules {

// What all cursors of one parse share.
struct ParseContext {
  const Loader* loader = nullptr;
  std::vector<Diagnostic> errors;
  std::vector<Diagnostic> warnings;

  static constexpr size_t kMaxDiagnostics = 200;
};

// A scalar after substitution.
struct ScalarText {
  std::string text;
  bool substituted = false;  // then it may hold a secret and is never quoted in a message
};

// A place in a file: a node, its path such as "rules[2].cache.ttl", and where mistakes go. The
// readers below report a mistake at this place and return nothing. Cheap to copy; valid as long
// as the tree and the context.
class Cursor {
 public:
  Cursor(ParseContext* context, const std::string* file, const YamlNode* node, std::string path)
      : context_(context), file_(file), node_(node), path_(std::move(path)) {}

  const YamlNode& node() const { return *node_; }
  const std::string& path() const { return path_; }
  const std::string& file() const { return *file_; }
  const Loader& loader() const { return *context_->loader; }
  ParseContext& context() const { return *context_; }
  bool IsScalar() const { return node_->kind == YamlNode::Kind::kScalar; }
  bool IsList() const { return node_->kind == YamlNode::Kind::kList; }
  bool IsMap() const { return node_->kind == YamlNode::Kind::kMap; }

  void Error(std::string what) const;
  void Warn(std::string what) const;
  // Reports `"value" what`, without the value where it may be a secret.
  void BadValue(const ScalarText& value, const std::string& what) const;

  Cursor Child(const YamlNode* node, std::string_view key) const;
  Cursor Item(size_t index) const;  // of a list

  // The scalar with ${NAME}, ${NAME:-default}, ${file:path} and $${ replaced.
  std::optional<ScalarText> Scalar(std::string_view expected) const;
  std::optional<std::string> Text() const;  // a scalar that is not empty
  std::optional<bool> Bool() const;
  std::optional<uint64_t> Number(uint64_t low, uint64_t high) const;
  std::optional<Millis> Duration() const;
  std::optional<uint64_t> Size() const;
  std::optional<double> Ratio() const;
  // A scalar, or a list of scalars.
  std::optional<std::vector<std::string>> Texts() const;
  // A file name, joined to the folder of this file.
  std::optional<std::string> Path() const;

 private:
  bool Substitute(std::string_view from, ScalarText* to) const;

  ParseContext* context_;
  const std::string* file_;
  const YamlNode* node_;
  std::string path_;
};

// Reads a map key by key. Reports a node that is no map, keys that are no scalars, duplicate keys,
// and in Finish() every key that nobody asked for, with what was probably meant.
class MapReader {
 public:
  // `what` names the thing, for messages: "a listener". Keys that may be secrets are shown as '*'.
  MapReader(const Cursor& cursor, std::string_view what, bool show_keys = true);

  bool ok() const { return ok_; }  // false: no map; every reader below returns nothing
  const Cursor& cursor() const { return cursor_; }

  bool Has(std::string_view key) const;
  std::optional<Cursor> Take(std::string_view key);
  // Reports that the key is missing.
  std::optional<Cursor> Require(std::string_view key, std::string_view example);

  // Each leaves *to alone if the key is absent or wrong; true if it was set.
  bool Text(std::string_view key, std::string* to);
  bool Bool(std::string_view key, bool* to);
  bool Duration(std::string_view key, Millis* to, Millis low = Millis(0));
  bool Size(std::string_view key, uint64_t* to, uint64_t low = 0);
  bool Ratio(std::string_view key, double* to);
  bool Texts(std::string_view key, std::vector<std::string>* to);
  bool Path(std::string_view key, std::string* to);
  template <typename T>
  bool Number(std::string_view key, T* to, uint64_t low, uint64_t high) {
    const auto value = Take(key);
    const auto number = value ? value->Number(low, high) : std::nullopt;
    if (number) *to = static_cast<T>(*number);
    return number.has_value();
  }
  template <typename T>
  bool Word(std::string_view key, T* to,
            std::initializer_list<std::pair<std::string_view, T>> words) {
    const auto value = Take(key);
    if (!value) return false;
    const auto index =
        WordIndex(*value, words.size(), [&](size_t i) { return (words.begin() + i)->first; });
    if (index) *to = (words.begin() + *index)->second;
    return index.has_value();
  }

  // The keys as written, for maps whose keys are names. Marks all as known.
  std::vector<std::pair<std::string, Cursor>> All();
  void Finish();

 private:
  struct Pair {
    const YamlNode* key;
    const YamlNode* value;
    bool known = false;
  };
  template <typename NameAt>
  static std::optional<size_t> WordIndex(const Cursor& value, size_t count, NameAt name_at) {
    std::vector<std::string_view> names;
    for (size_t i = 0; i < count; ++i) names.push_back(name_at(i));
    return WordOf(value, names);
  }
  static std::optional<size_t> WordOf(const Cursor& value,
                                      const std::vector<std::string_view>& names);

  std::string_view Shown(std::string_view key) const { return show_keys_ ? key : "*"; }

  Cursor cursor_;
  bool show_keys_;
  bool ok_ = false;
  std::vector<Pair> pairs_;
  std::vector<std::string> asked_;
};

// The candidate nearest to `word` if it is near enough to be meant, else empty.
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& candidates);

// "a", "a or b", "a, b or c".
std::string OneOf(const std::vector<std::string_view>& words);

// `path` seen from the folder of `file`; absolute paths stay.
std::string JoinToFolderOf(const std::string& file, const std::string& path);

}  // namespace satchel::rules
