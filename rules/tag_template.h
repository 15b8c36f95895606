#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"

namespace satchel::rules {

struct Captures;

// A text with variables, such as "product:{id}" or "geo:{query.lat},{query.lon}". Made by the
// parser, const afterwards.
class TagTemplate {
 public:
  enum class Source : uint8_t {
    kLiteral,
    kCapture,         // {id}: of match.path
    kQuery,           // {query.NAME}, decoded
    kRequestHeader,   // {request.header.NAME}
    kResponseHeader,  // {response.header.NAME}
    kHost,            // {host}: with its port, as the request names it
  };
  struct Part {
    Source source;
    std::string text;  // the literal, or the variable's name
    bool operator==(const Part&) const = default;
  };

  // The error says what is wrong and what to write instead.
  static std::expected<TagTemplate, std::string> Compile(std::string_view text);

  const std::string& text() const { return text_; }
  const std::vector<Part>& parts() const { return parts_; }

  // `lookup(source, name, &value)` is false where there is no such value, or an empty one. False,
  // if one is missing: there is no such tag then.
  template <typename Lookup>
  bool Fill(const Lookup& lookup, std::string* out) const {
    out->clear();
    std::string value;
    for (const Part& part : parts_) {
      if (part.source == Source::kLiteral) {
        out->append(part.text);
        continue;
      }
      value.clear();
      if (!lookup(part.source, part.text, &value) || value.empty()) return false;
      out->append(value);
    }
    return !out->empty();
  }
  // From an exchange. `response` may be null: then its fields are missing.
  bool Fill(const cache::RequestHead& request, const Captures& captures,
            const cache::HeaderMap* response, std::string* out) const;

  bool operator==(const TagTemplate&) const = default;

 private:
  std::string text_;
  std::vector<Part> parts_;
};

}  // namespace satchel::rules
