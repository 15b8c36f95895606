// The canonical form of JSON: it exists only for JSON, white space does not change it, and it is
// that of the same text read and written again.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "proxy/canonical_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto canonical = satchel::proxy::CanonicalJson(text);
  if (!canonical) return 0;
  if (!nlohmann::json::accept(text)) std::abort();
  if (satchel::proxy::CanonicalJson("\n " + std::string(text) + "\t ") != canonical) std::abort();
  // Fractions are written in another way.
  if (text.find_first_of(".eE") != std::string_view::npos) return 0;
  const std::string again = nlohmann::json::parse(text).dump();
  if (again.find_first_of(".eE") != std::string::npos) return 0;
  if (satchel::proxy::CanonicalJson(again) != canonical) std::abort();
  return 0;
}
