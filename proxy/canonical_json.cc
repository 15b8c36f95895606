#include "proxy/canonical_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace satchel::proxy {
namespace {

constexpr size_t kMaxDepth = 64;

// Writes while it reads: numbers keep their digits and nothing recurses.
class Canonicalizer final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::string Take() { return std::move(out_); }

  bool null() override { return Value("n"); }
  bool boolean(bool value) override { return Value(value ? "t" : "f"); }
  bool number_integer(number_integer_t value) override { return Value(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Value(std::to_string(value)); }
  // Also integers that 64 bits do not hold.
  bool number_float(number_float_t, const string_t& text) override { return Value("d" + text); }
  bool string(string_t& value) override { return Value(Sized(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(true); }
  bool start_array(size_t) override { return Open(false); }
  bool key(string_t& name) override {
    levels_.back().members.emplace_back(name, std::string());
    return true;
  }
  bool end_object() override {
    auto members = std::move(levels_.back().members);
    levels_.pop_back();
    std::sort(members.begin(), members.end());
    std::string text = "{";
    for (size_t i = 0; i < members.size(); ++i) {
      if (i > 0 && members[i].first == members[i - 1].first) return false;
      text.append(Sized(members[i].first)).append(members[i].second);
    }
    text.push_back('}');
    return Value(text);
  }
  bool end_array() override {
    const std::string text = "[" + levels_.back().elements + "]";
    levels_.pop_back();
    return Value(text);
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  struct Level {
    bool object;
    std::vector<std::pair<std::string, std::string>> members;
    std::string elements;
  };

  static std::string Sized(const std::string& text) {
    return "s" + std::to_string(text.size()) + ":" + text;
  }
  bool Open(bool object) {
    if (levels_.size() >= kMaxDepth) return false;
    levels_.push_back({object, {}, {}});
    return true;
  }
  bool Value(const std::string& text) {
    if (levels_.empty()) {
      out_ = text;
    } else if (levels_.back().object) {
      levels_.back().members.back().second = text;
    } else {
      levels_.back().elements.append(text).push_back(',');
    }
    return true;
  }

  std::vector<Level> levels_;
  std::string out_;
};

}  // namespace

std::optional<std::string> CanonicalJson(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) return std::nullopt;
  Canonicalizer canonicalizer;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &canonicalizer)) return std::nullopt;
  return canonicalizer.Take();
}

}  // namespace satchel::proxy
