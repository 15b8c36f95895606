#include "rules/yaml_cursor.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace satchel::rules {
namespace {

// Printable and short enough to stand in one line of a message.
std::string Quoted(std::string_view text) {
  constexpr size_t kMost = 60;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kMost)) {
    quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  if (text.size() > kMost) quoted += "...";
  return quoted + "\"";
}

const char* KindText(YamlNode::Kind kind) {
  switch (kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return "a value";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
  }
  return "";
}

// Optimal string alignment: swapped neighbours count as one mistake.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({change, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

bool IsVariableName(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

}  // namespace

std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
  if (word.size() > 64) return {};
  std::string_view best;
  size_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    const size_t longest = std::max(word.size(), candidate.size());
    const size_t distance = EditDistance(word, candidate);
    // Two mistakes in a short word make it another word.
    if (distance > (longest <= 4 ? 1U : longest <= 7 ? 2U : 3U) || distance >= longest) continue;
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string OneOf(const std::vector<std::string_view>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

std::string JoinToFolderOf(const std::string& file, const std::string& path) {
  const size_t slash = file.rfind('/');
  if (path.starts_with('/') || slash == std::string::npos) return path;
  return file.substr(0, slash + 1) + path;
}

void Cursor::Error(std::string what) const {
  if (context_->errors.size() >= ParseContext::kMaxDiagnostics) return;
  context_->errors.push_back({*file_, node_->line, node_->column, path_, std::move(what)});
}

void Cursor::Warn(std::string what) const {
  if (context_->warnings.size() >= ParseContext::kMaxDiagnostics) return;
  context_->warnings.push_back({*file_, node_->line, node_->column, path_, std::move(what)});
}

void Cursor::BadValue(const ScalarText& value, const std::string& what) const {
  if (value.substituted) {
    Error("the value of " + Quoted(node_->text) + " " + what);
  } else {
    Error(Quoted(value.text) + " " + what);
  }
}

Cursor Cursor::Child(const YamlNode* node, std::string_view key) const {
  std::string path = path_;
  if (!path.empty()) path += '.';
  path += key;
  return {context_, file_, node, std::move(path)};
}

Cursor Cursor::Item(size_t index) const {
  return {context_, file_, node_->items[index].get(), path_ + "[" + std::to_string(index) + "]"};
}

bool Cursor::Substitute(std::string_view from, ScalarText* to) const {
  while (!from.empty()) {
    const size_t at = from.find("${");
    if (at == std::string_view::npos) {
      to->text += from;
      return true;
    }
    if (at > 0 && from[at - 1] == '$') {
      to->text += from.substr(0, at - 1);
      to->text += "${";
      from.remove_prefix(at + 2);
      continue;
    }
    to->text += from.substr(0, at);
    from.remove_prefix(at + 2);
    const size_t end = from.find('}');
    if (end == std::string_view::npos) {
      Error("${ without }; write ${NAME}, ${NAME:-default} or ${file:path}, or $${ for the text");
      return false;
    }
    const std::string_view inside = from.substr(0, end);
    from.remove_prefix(end + 1);
    to->substituted = true;
    if (inside.starts_with("file:")) {
      const std::string path(inside.substr(5));
      auto content = path.empty()
                         ? cache::Fail(cache::ErrorSource::kInternal, "no file is named")
                         : loader().ReadFile(JoinToFolderOf(*file_, path), kMaxSecretBytes);
      if (!content) {
        Error("cannot read " + Quoted(path) + ": " + content.error().message +
              "; name a file that the process may read");
        return false;
      }
      while (content->ends_with('\n') || content->ends_with('\r')) content->pop_back();
      to->text += *content;
      continue;
    }
    const size_t dash = inside.find(":-");
    const std::string name(inside.substr(0, dash));
    if (!IsVariableName(name)) {
      Error(Quoted(name) + " is not the name of a variable; write ${NAME}, ${NAME:-default} or " +
            "${file:path}");
      return false;
    }
    const auto value = loader().Environment(name);
    if (value && (!value->empty() || dash == std::string_view::npos)) {
      to->text += *value;
    } else if (dash != std::string_view::npos) {
      to->text += inside.substr(dash + 2);
    } else {
      Error("the variable " + name + " is not set; set it or write ${" + name + ":-default}");
      return false;
    }
  }
  return true;
}

std::optional<ScalarText> Cursor::Scalar(std::string_view expected) const {
  if (!IsScalar()) {
    if (node_->kind == YamlNode::Kind::kNull) {
      Error("has no value; write " + std::string(expected) + " or remove the key");
    } else {
      Error("is " + std::string(KindText(node_->kind)) + "; write " + std::string(expected));
    }
    return std::nullopt;
  }
  ScalarText value;
  if (!Substitute(node_->text, &value)) return std::nullopt;
  return value;
}

std::optional<std::string> Cursor::Text() const {
  const auto value = Scalar("a text");
  if (!value) return std::nullopt;
  if (value->text.empty()) {
    BadValue(*value, "is empty; write a text or remove the key");
    return std::nullopt;
  }
  return value->text;
}

std::optional<bool> Cursor::Bool() const {
  const auto value = Scalar("true or false");
  if (!value) return std::nullopt;
  if (value->text == "true") return true;
  if (value->text == "false") return false;
  const bool means_yes = value->text == "yes" || value->text == "on" || value->text == "True";
  const bool means_no = value->text == "no" || value->text == "off" || value->text == "False";
  BadValue(*value, std::string("is not a boolean; write ") + (means_yes  ? "true"
                                                              : means_no ? "false"
                                                                         : "true or false"));
  return std::nullopt;
}

namespace {

template <typename T>
std::optional<T> Checked(const Cursor& cursor, const std::optional<ScalarText>& value,
                         UnitResult<T> (*parse)(std::string_view)) {
  if (!value) return std::nullopt;
  auto result = parse(value->text);
  if (result) return *result;
  cursor.BadValue(*value, result.error());
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> Cursor::Number(uint64_t low, uint64_t high) const {
  const auto value = Scalar("a whole number");
  if (!value) return std::nullopt;
  const auto number = ParseNumber(value->text, low, high);
  if (number) return *number;
  BadValue(*value, number.error());
  return std::nullopt;
}

std::optional<Millis> Cursor::Duration() const {
  return Checked(*this, Scalar("a duration such as 30s"), &ParseDuration);
}

std::optional<uint64_t> Cursor::Size() const {
  return Checked(*this, Scalar("a size such as 64MiB"), &ParseSize);
}

std::optional<double> Cursor::Ratio() const {
  return Checked(*this, Scalar("a ratio such as 10%"), &ParseRatio);
}

std::optional<std::vector<std::string>> Cursor::Texts() const {
  std::vector<std::string> texts;
  if (!IsList()) {
    auto text = Text();
    if (!text) return std::nullopt;
    texts.push_back(std::move(*text));
    return texts;
  }
  bool good = true;
  for (size_t i = 0; i < node_->items.size(); ++i) {
    auto text = Item(i).Text();
    if (text) {
      texts.push_back(std::move(*text));
    } else {
      good = false;
    }
  }
  if (!good) return std::nullopt;
  return texts;
}

std::optional<std::string> Cursor::Path() const {
  const auto text = Text();
  if (!text) return std::nullopt;
  return JoinToFolderOf(*file_, *text);
}

MapReader::MapReader(const Cursor& cursor, std::string_view what, bool show_keys)
    : cursor_(cursor), show_keys_(show_keys) {
  if (!cursor.IsMap()) {
    cursor.Error("is " + std::string(KindText(cursor.node().kind)) + ", not " + std::string(what) +
                 "; write a map");
    return;
  }
  ok_ = true;
  const auto& items = cursor.node().items;
  std::unordered_map<std::string_view, uint32_t> lines;  // of keys already seen
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    const YamlNode* key = items[i].get();
    if (key->kind != YamlNode::Kind::kScalar) {
      Cursor(&cursor.context(), &cursor.file(), key, cursor.path())
          .Error("a key is " + std::string(KindText(key->kind)) + "; write a plain word");
      continue;
    }
    const auto [first, is_new] = lines.emplace(key->text, key->line);
    if (!is_new) {
      cursor.Child(key, Shown(key->text))
          .Error("stands twice, first in line " + std::to_string(first->second) +
                 "; keep one of them");
      continue;
    }
    if (key->text == "<<") {
      cursor.Child(key, key->text).Error("merge keys are not supported; write the keys out");
      continue;
    }
    pairs_.push_back({key, items[i + 1].get()});
  }
}

std::optional<Cursor> MapReader::Take(std::string_view key) {
  asked_.emplace_back(key);
  for (Pair& pair : pairs_) {
    if (pair.key->text != key) continue;
    pair.known = true;
    Cursor child = cursor_.Child(pair.value, key);
    // An empty value has no place of its own.
    if (pair.value->kind == YamlNode::Kind::kNull) {
      cursor_.Child(pair.key, key).Error("has no value; write one or remove the key");
      return std::nullopt;
    }
    return child;
  }
  return std::nullopt;
}

bool MapReader::Has(std::string_view key) const {
  return std::any_of(pairs_.begin(), pairs_.end(),
                     [&](const Pair& pair) { return pair.key->text == key; });
}

std::optional<Cursor> MapReader::Require(std::string_view key, std::string_view example) {
  auto value = Take(key);
  if (ok_ && !Has(key)) {
    cursor_.Error("\"" + std::string(key) + "\" is missing; write " + std::string(example));
  }
  return value;
}

bool MapReader::Text(std::string_view key, std::string* to) {
  const auto value = Take(key);
  auto text = value ? value->Text() : std::nullopt;
  if (text) *to = std::move(*text);
  return text.has_value();
}

bool MapReader::Bool(std::string_view key, bool* to) {
  const auto value = Take(key);
  const auto flag = value ? value->Bool() : std::nullopt;
  if (flag) *to = *flag;
  return flag.has_value();
}

bool MapReader::Duration(std::string_view key, Millis* to, Millis low) {
  const auto value = Take(key);
  const auto duration = value ? value->Duration() : std::nullopt;
  if (!duration) return false;
  if (*duration < low) {
    value->Error("is shorter than " + DurationText(low) + "; write " + DurationText(low) +
                 " or more");
    return false;
  }
  *to = *duration;
  return true;
}

bool MapReader::Size(std::string_view key, uint64_t* to, uint64_t low) {
  const auto value = Take(key);
  const auto size = value ? value->Size() : std::nullopt;
  if (!size) return false;
  if (*size < low) {
    value->Error("is smaller than " + SizeText(low) + "; write " + SizeText(low) + " or more");
    return false;
  }
  *to = *size;
  return true;
}

bool MapReader::Ratio(std::string_view key, double* to) {
  const auto value = Take(key);
  const auto ratio = value ? value->Ratio() : std::nullopt;
  if (ratio) *to = *ratio;
  return ratio.has_value();
}

bool MapReader::Texts(std::string_view key, std::vector<std::string>* to) {
  const auto value = Take(key);
  auto texts = value ? value->Texts() : std::nullopt;
  if (texts) *to = std::move(*texts);
  return texts.has_value();
}

bool MapReader::Path(std::string_view key, std::string* to) {
  const auto value = Take(key);
  auto path = value ? value->Path() : std::nullopt;
  if (path) *to = std::move(*path);
  return path.has_value();
}

std::optional<size_t> MapReader::WordOf(const Cursor& value,
                                        const std::vector<std::string_view>& names) {
  const auto text = value.Scalar(OneOf(names));
  if (!text) return std::nullopt;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text->text) return i;
  }
  const std::string_view near = Nearest(text->text, names);
  value.BadValue(*text, near.empty() ? "is none of the choices; write " + OneOf(names)
                                     : "is unknown; did you mean " + std::string(near) + "? (" +
                                           OneOf(names) + ")");
  return std::nullopt;
}

std::vector<std::pair<std::string, Cursor>> MapReader::All() {
  std::vector<std::pair<std::string, Cursor>> all;
  for (Pair& pair : pairs_) {
    pair.known = true;
    all.emplace_back(pair.key->text, cursor_.Child(pair.value, Shown(pair.key->text)));
  }
  return all;
}

void MapReader::Finish() {
  std::vector<std::string_view> names(asked_.begin(), asked_.end());
  for (const Pair& pair : pairs_) {
    if (pair.known) continue;
    const std::string_view near = Nearest(pair.key->text, names);
    std::vector<std::string_view> sorted = names;
    std::sort(sorted.begin(), sorted.end());
    cursor_.Child(pair.key, pair.key->text)
        .Error(near.empty() ? "unknown key; known here: " + OneOf(sorted)
                            : "unknown key; did you mean \"" + std::string(near) + "\"?");
  }
}

}  // namespace satchel::rules
