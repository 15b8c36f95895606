#include "proxy/json_tags.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "cache/http/message.h"

namespace satchel::proxy {
namespace {

using nlohmann::json;

constexpr size_t kMaxVisits = 100'000;  // of values, for all pointers of one body together

// "~1" is "/", "~0" is "~".
std::string Unescape(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
      out += token[++i] == '0' ? '~' : '/';
    } else {
      out += token[i];
    }
  }
  return out;
}

class Walk {
 public:
  Walk(std::string_view before, cache::TagSet& tags, size_t& visits)
      : before_(before), tags_(tags), visits_(visits) {}

  // As deep as the pointer is long.
  void Go(const json& value, std::string_view pointer) {
    if (++visits_ > kMaxVisits) {
      tags_.AddId(cache::kAnyTag);
      return;
    }
    if (pointer.empty()) {
      Take(value);
      return;
    }
    pointer.remove_prefix(1);  // the "/"
    const size_t end = std::min(pointer.find('/'), pointer.size());
    const std::string_view token = pointer.substr(0, end);
    const std::string_view rest = pointer.substr(end);
    if (token == "*") {
      if (!value.is_structured()) return;
      for (const json& member : value) {
        if (visits_ > kMaxVisits) return;
        Go(member, rest);
      }
    } else if (value.is_object()) {
      const auto found = value.find(Unescape(token));
      if (found != value.end()) Go(*found, rest);
    } else if (value.is_array()) {
      size_t index = 0;
      const char* const last = token.data() + token.size();
      const auto parsed = std::from_chars(token.data(), last, index);
      if (parsed.ec == std::errc() && parsed.ptr == last && index < value.size()) {
        Go(value[index], rest);
      }
    }
  }

 private:
  void Take(const json& value) {
    if (value.is_string()) {
      const auto& text = value.get_ref<const std::string&>();
      if (!text.empty()) tags_.Add(std::string(before_) + text);
    } else if (value.is_number() || value.is_boolean()) {
      tags_.Add(std::string(before_) + value.dump());
    }
  }

  std::string_view before_;
  cache::TagSet& tags_;
  size_t& visits_;
};

}  // namespace

bool AddJsonTags(std::string_view body, const std::vector<std::string>& pointers,
                 cache::TagSet& tags) {
  const json document = json::parse(body, nullptr, false);
  if (document.is_discarded()) return false;
  size_t visits = 0;
  for (const std::string& pointer : pointers) {
    const std::string_view text = pointer;
    const size_t slash = std::min(text.find('/'), text.size());
    Walk(text.substr(0, slash), tags, visits).Go(document, text.substr(slash));
  }
  return true;
}

bool IsJsonType(std::string_view content_type) {
  const std::string_view type = cache::TrimOws(content_type.substr(0, content_type.find(';')));
  return cache::EqualsIgnoreCase(type, "application/json") ||
         (type.size() > 5 && cache::EqualsIgnoreCase(type.substr(type.size() - 5), "+json"));
}

}  // namespace satchel::proxy
