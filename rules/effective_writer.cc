#include "rules/effective_writer.h"

namespace satchel::rules {

std::string Quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += "\\x";
      quoted += kHex[byte >> 4];
      quoted += kHex[byte & 15];
    } else if (c == '$' && text.substr(i).starts_with("${")) {
      quoted += "$$";
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string List(const std::vector<std::string>& texts) {
  std::string list = "[";
  for (size_t i = 0; i < texts.size(); ++i) list += (i > 0 ? ", " : "") + Quote(texts[i]);
  return list + "]";
}

std::string Map(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string map = "{";
  for (size_t i = 0; i < pairs.size(); ++i) {
    map += (i > 0 ? ", " : "") + pairs[i].first + ": " + pairs[i].second;
  }
  return map + "}";
}

std::string Templates(const std::vector<TagTemplate>& templates) {
  std::vector<std::string> texts;
  for (const TagTemplate& tag : templates) texts.push_back(tag.text());
  return List(texts);
}

std::string Bool(bool value) { return value ? "true" : "false"; }

}  // namespace satchel::rules
