// The rule files that are shipped mean something, and nothing in them is doubtful.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "rules/rule_set.h"
#include "tests/rules/fake_loader.h"

namespace satchel::rules {
namespace {

// Real files, no environment: the defaults in the files must do.
class FileLoader : public FakeLoader {
 public:
  cache::Result<std::string> ReadFile(const std::string& path, uint64_t max_bytes) const override {
    std::ifstream file(path, std::ios::binary);
    if (!file) return cache::Fail(cache::ErrorSource::kInternal, "no such file");
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.size() > max_bytes) return cache::Fail(cache::ErrorSource::kInternal, "too large");
    return text;
  }
};

TEST(ExamplesTest, EveryShippedRuleFileIsGoodAndHasNoWarnings) {
  const std::filesystem::path root = SATCHEL_SOURCE_DIR;
  size_t files = 0;
  for (const char* folder : {"examples", "deploy"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (entry.path().filename() != "rules.yaml") continue;
      ++files;
      const FileLoader loader;
      const auto text = loader.ReadFile(entry.path(), kMaxConfigBytes);
      ASSERT_TRUE(text.has_value()) << entry.path();
      FileLoader with_tokens;
      // Variables that have no default on purpose.
      for (const char* name : {"ADMIN_TOKEN", "REDIS_PASSWORD"}) {
        with_tokens.environment[name] = "x";
      }
      const ParseResult result = ParseConfig(*text, entry.path(), with_tokens);
      for (const Diagnostic& error : result.errors) ADD_FAILURE() << error.ToString();
      for (const Diagnostic& warning : result.warnings) ADD_FAILURE() << warning.ToString();
      if (!result.config) continue;
      EXPECT_TRUE(RuleSet::Build(result.config->rules, result.config->rate_limits).has_value());
    }
  }
  EXPECT_GE(files, 2U);
}

}  // namespace
}  // namespace satchel::rules
