// Structured Fields: what parses can be written, and reads back as the same value.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cache/http/structured.h"

namespace {

namespace sf = satchel::cache::sf;

template <typename Parse>
void RoundTrip(std::string_view text, Parse parse) {
  const auto value = parse(text);
  if (!value) return;
  const std::optional<std::string> written = sf::Serialize(*value);
  if (!written) std::abort();
  const auto again = parse(*written);
  if (!again || *again != *value || sf::Serialize(*again) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  RoundTrip(text, sf::ParseItem);
  RoundTrip(text, sf::ParseList);
  RoundTrip(text, sf::ParseDictionary);
  return 0;
}
