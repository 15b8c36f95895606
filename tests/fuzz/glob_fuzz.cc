// A pattern, a line break, a text: never a crash; captures lie inside the text; a pattern that
// covers another matches what the other matches. The text is also a path to be normalised.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "rules/glob.h"
#include "rules/path.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel::rules;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t first = input.find('\n');
  if (first == std::string_view::npos) return 0;
  const size_t second = input.find('\n', first + 1);
  const std::string_view pattern = input.substr(0, first);
  const std::string_view text = input.substr(first + 1, second - first - 1);
  const std::string_view other =
      second == std::string_view::npos ? pattern : input.substr(second + 1);

  for (const Glob::Kind kind : {Glob::Kind::kPath, Glob::Kind::kHost, Glob::Kind::kValue}) {
    const auto glob = Glob::Compile(pattern, kind);
    if (!glob) {
      Require(!glob.error().empty());
      continue;
    }
    Glob::Spans spans{};
    const bool matches = glob->Match(text, &spans);
    Require(matches == glob->Matches(text));
    for (size_t i = 0; matches && i < glob->capture_names().size(); ++i) {
      Require(spans[i].begin <= text.size() && spans[i].size <= text.size() - spans[i].begin);
    }
    const auto wider = Glob::Compile(other, kind);
    if (wider && matches && wider->Covers(*glob)) Require(wider->Matches(text));
  }

  const auto normal = NormalisePath(text);
  if (normal && text.starts_with('/')) {
    // One decoding may uncover another escape; apart from those the form is final.
    Require(normal->starts_with('/'));
    Require(normal->find("//") == std::string::npos);
    Require(normal->find("/../") == std::string::npos && !normal->ends_with("/.."));
    if (!NeedsNormalising(text)) Require(*normal == text);
  }
  std::string escaped;
  AppendPathEscaped(text, &escaped);
  const auto back = PercentDecode(escaped);
  Require(back && *back == text);
  return 0;
}
