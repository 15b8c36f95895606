#include "tests/rules/fake_loader.h"

#include <gtest/gtest.h>

namespace satchel::rules {

Config MustParse(std::string_view text, const FakeLoader& loader) {
  ParseResult result = ParseConfig(text, "rules.yaml", loader);
  for (const Diagnostic& error : result.errors) ADD_FAILURE() << error.ToString();
  return result.config ? std::move(*result.config) : Config();
}

}  // namespace satchel::rules
