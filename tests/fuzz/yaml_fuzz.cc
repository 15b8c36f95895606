// Any bytes as a rule file: never a crash, a hang or an exception. What is accepted can be built,
// checked, printed, and parsed again to the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "rules/check.h"
#include "rules/config_parser.h"
#include "rules/rule_set.h"
#include "tests/fuzz/require.h"

namespace {

using satchel::cache::ErrorSource;
using satchel::cache::Fail;
using satchel::cache::Result;

class FuzzLoader : public satchel::rules::Loader {
 public:
  explicit FuzzLoader(std::string_view content) : content_(content) {}

  std::optional<std::string> Environment(const std::string& name) const override {
    if (name == "SET") return "7s";
    return std::nullopt;
  }
  Result<std::string> ReadFile(const std::string& path, uint64_t max_bytes) const override {
    if (path != "a" || content_.size() > max_bytes) return Fail(ErrorSource::kInternal, "no");
    return std::string(content_);
  }
  Result<std::vector<std::string>> ListFiles(const std::string& pattern) const override {
    if (pattern != "*") return std::vector<std::string>();
    return std::vector<std::string>{"a", "b"};
  }

 private:
  std::string_view content_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel::rules;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const FuzzLoader loader(text);
  const ParseResult result = ParseConfig(text, "fuzz.yaml", loader);
  Require(result.config.has_value() == result.errors.empty());
  std::string printed = DiagnosticsJson(result.errors, result.warnings);
  for (const Diagnostic& error : result.errors) printed += error.ToString();
  Require(!printed.empty());
  if (!result.config) return 0;

  const auto set = RuleSet::Build(result.config->rules, result.config->rate_limits);
  Require(set.has_value());
  satchel::cache::RequestHead request;
  request.method_text = "GET";
  request.authority = "shop.example.com:8080";
  request.target = "/api/%70roducts/7/../8?q=1&page=2";
  request.fields.Add("Cookie", "sid=1; lang=de");
  request.fields.Add("X-API-Key", "k");
  Captures captures;
  const MatchResult match = set->Match(request, &captures);
  Require(match.status == set->Match(request).status);
  if (match.rule != nullptr) Require(!RewriteTarget(*match.rule, captures, request).empty());
  set->Explain(request);

  const std::string effective = EffectiveYaml(*result.config);
  const ParseResult again = ParseConfig(effective, "fuzz.yaml", loader);
  Require(again.config.has_value());
  Require(EffectiveYaml(*again.config) == effective);
  return 0;
}
